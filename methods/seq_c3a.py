"""Sequential C3A: a block-circulant update (arXiv 2407.19342).

Idea: each block of the update is a circulant matrix, made of one learned row and applied by fast Fourier
transforms. `C3AConfig` of peft.

Configuration: blocks of 256 (peft's default), less where 256 does not divide all sides.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: the rows. Needs neither task id, old data nor statistics. Works on
every kind of backbone (measured: bench list --check). The learning rate is this suite's default, not a
published one.

Defaults that differ from the released program: of peft's configuration none where 256 divides all sides.
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialC3A(PeftTuner):
    """See the module."""

    tuner = "c3a"


METHOD = SequentialC3A
