"""Sequential RandLoRA: many fixed random adapters, only their scales learned (arXiv 2502.00987).

Idea: a sum of fixed random low-rank adapters reaches full rank; each adapter is scaled by learned vectors.
`RandLoraConfig` of peft.

Configuration: adapters of rank 32 (peft's default), at most a quarter of the narrowest side, alpha 20 times
the rank. The random matrices come from peft's fixed seed.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: the scales. The random matrices, shared by all layers, are saved
and count as auxiliary: no task changes them. Needs neither task id, old data nor statistics. Works on every
kind of backbone (measured: bench list --check). The learning rate is this suite's default, not a published
one.

Defaults that differ from the released program: of peft's configuration none where all sides are 128 or more.
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialRandLoRA(PeftTuner):
    """See the module."""

    tuner = "randlora"


METHOD = SequentialRandLoRA
