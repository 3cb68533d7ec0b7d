"""Sequential LoHa: the elementwise product of two low-rank products (arXiv 2108.06098).

Idea: the Hadamard product of two rank-r matrices has rank up to r squared. `LoHaConfig` of peft.

Configuration: the protocol's rank and alpha; peft has no dropout on its input.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: two products per layer. Needs neither task id, old data nor
statistics. Works on every kind of backbone (measured: bench list --check). The learning rate is this suite's
default, not a published one.

Defaults that differ from the released program: of peft's configuration rank and alpha, which are the
protocol's (there 8 and 8).
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialLoHa(PeftTuner):
    """See the module."""

    tuner = "loha"


METHOD = SequentialLoHa
