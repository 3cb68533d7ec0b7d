"""Sequential OFT: each weight turned by a block-diagonal orthogonal matrix (arXiv 2306.07280).

Idea: multiplying a weight by an orthogonal matrix keeps the angles between its neurons, where most of what
was pretrained is thought to lie. `OFTConfig`, orthogonal by a truncated Cayley-Neumann series.

Configuration: blocks of 32 (peft's default), less where 32 does not divide a layer's inputs.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: the skew-symmetric blocks. Needs neither task id, old data nor
statistics. Works on every kind of backbone (measured: bench list --check). The learning rate is this suite's
default, not a published one.

Defaults that differ from the released program: of peft's configuration none where 32 divides a layer's
inputs.
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialOFT(PeftTuner):
    """See the module."""

    tuner = "oft"


METHOD = SequentialOFT
