"""Sequential FourierFT: a few learned coefficients of the update's Fourier transform (arXiv 2405.03003).

Idea: the update is the inverse transform of a spectrum with few learned entries at random places.
`FourierFTConfig` of peft.

Configuration: 1000 coefficients per layer (peft's default), at most a quarter of a weight; places from peft's
fixed seed, scaling 150.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: the coefficients; their places follow from the seed. Needs neither
task id, old data nor statistics. Works on every kind of backbone (measured: bench list --check). The learning
rate is this suite's default, not a published one.

Defaults that differ from the released program: of peft's configuration none where a weight has 4000 entries
or more.
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialFourierFT(PeftTuner):
    """See the module."""

    tuner = "fourierft"


METHOD = SequentialFourierFT
