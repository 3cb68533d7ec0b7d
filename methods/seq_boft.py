"""Sequential BOFT: each weight turned by butterfly-shaped orthogonal matrices (arXiv 2311.06243).

Idea: as OFT, but a product of block-diagonal matrices with shuffles between them mixes all inputs with few
numbers. `BOFTConfig` of peft.

Configuration: two butterfly factors, blocks of 4 (peft's default), less where twice 4 does not divide a
layer's inputs. peft's default of one factor would be OFT.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: blocks and output scales. Needs neither task id, old data nor
statistics. Works on every kind of backbone (measured: bench list --check). The learning rate is this suite's
default, not a published one.

Defaults that differ from the released program: of peft's configuration two butterfly factors (there 1).
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialBOFT(PeftTuner):
    """See the module."""

    tuner = "boft"


METHOD = SequentialBOFT
