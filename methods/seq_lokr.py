"""Sequential LoKr: a Kronecker product with a low-rank factor (arXiv 2309.14859).

Idea: the update is a small matrix Kronecker a larger one, which is a low-rank product where that saves
numbers. `LoKrConfig` of peft.

Configuration: the protocol's rank and alpha, sides split by peft; it has no dropout on its input.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: the factors. Needs neither task id, old data nor statistics. Works
on every kind of backbone (measured: bench list --check). The learning rate is this suite's default, not a
published one.

Defaults that differ from the released program: of peft's configuration rank and alpha, which are the
protocol's (there 8 and 8).
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialLoKr(PeftTuner):
    """See the module."""

    tuner = "lokr"


METHOD = SequentialLoKr
