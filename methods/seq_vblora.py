"""Sequential VB-LoRA: low-rank factors mixed from a bank of vectors shared by all layers (arXiv 2405.15179).

Idea: each piece of each factor is a mixture of the two best-weighted vectors of one shared bank.
`VBLoRAConfig` of peft.

Configuration: 256 vectors of length 256 (peft's defaults), shorter where 256 does not divide all sides; the
protocol's rank and dropout.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: the bank and all mixture logits. Needs neither task id, old data
nor statistics. Works on every kind of backbone (measured: bench list --check). The learning rate is this
suite's default, not a published one.

Defaults that differ from the released program: of peft's configuration the rank, which is the protocol's
(there 4); no other where 256 divides all sides.
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialVBLoRA(PeftTuner):
    """See the module."""

    tuner = "vblora"


METHOD = SequentialVBLoRA
