"""Sequential MiSS: one small matrix spread over all shards of a weight (arXiv 2409.15371).

Idea: a weight's inputs are cut into shards of equal size which share one learned matrix. `MissConfig` of
peft.

Configuration: shards of 64 (peft's default), less where 64 does not divide a layer's inputs; the protocol's
dropout.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: the shared matrices. Needs neither task id, old data nor
statistics. Works on every kind of backbone (measured: bench list --check). The learning rate is this suite's
default, not a published one.

Defaults that differ from the released program: of peft's configuration none where 64 divides a layer's
inputs.
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialMiSS(PeftTuner):
    """See the module."""

    tuner = "miss"


METHOD = SequentialMiSS
