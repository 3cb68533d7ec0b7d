"""Sequential DoRA: length and direction of each weight apart, the direction moved by LoRA (arXiv 2402.09353).

Idea: a weight's columns are split into lengths and directions. LoRA moves the directions, a vector learns the
lengths. `LoraConfig(use_dora=True)` of peft.

Configuration: the protocol's rank, alpha and dropout, as for LoRA. peft has no dropout on the length.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: the adapters and the lengths. Needs neither task id, old data nor
statistics. Works on every kind of backbone (measured: bench list --check). The learning rate is this suite's
default, not a published one.

Defaults that differ from the released program: of peft's configuration rank and alpha, which are the
protocol's (there 8 and 8).
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialDoRA(PeftTuner):
    """See the module."""

    tuner = "dora"


METHOD = SequentialDoRA
