"""Sequential HRA: each weight multiplied by a chain of Householder reflections (arXiv 2405.17484).

Idea: r reflections give an orthogonal matrix and, at once, a low-rank change of the weight. `HRAConfig` of
peft.

Configuration: as many reflections as the protocol's rank, not orthogonalised; they cancel in pairs at the
start where the rank is even.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: the reflections' vectors. Needs neither task id, old data nor
statistics. Works on every kind of backbone (measured: bench list --check). The learning rate is this suite's
default, not a published one.

Defaults that differ from the released program: of peft's configuration the number of reflections, which is
the protocol's rank (there 8).
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialHRA(PeftTuner):
    """See the module."""

    tuner = "hra"


METHOD = SequentialHRA
