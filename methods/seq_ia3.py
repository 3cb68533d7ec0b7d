"""Sequential IA3: one learned factor for each number a layer puts out (arXiv 2205.05638).

Idea: activations are rescaled by learned vectors that start at 1. `IA3Config` of peft.

Configuration: a layer in the role `down` has its inputs scaled, every other one its outputs. The paper scales
keys, values and the inputs of `down` (--set targets=key,value,down); here the protocol's targets are scaled.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: the vectors. Needs neither task id, old data nor statistics. Works
on every kind of backbone (measured: bench list --check). The learning rate is this suite's default, not a
published one.

Defaults that differ from the released program: of peft's configuration the targets, which are the protocol's
(there by architecture: keys, values and `down`).
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialIA3(PeftTuner):
    """See the module."""

    tuner = "ia3"


METHOD = SequentialIA3
