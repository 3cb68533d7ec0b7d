"""Sequential VeRA: fixed random matrices for all layers, learned vectors for each (arXiv 2310.11454).

Idea: a random adapter is sampled once, shared by all layers and never trained; vectors scale its rank and its
outputs. `VeraConfig` of peft.

Configuration: rank 256 (peft's default), less where a layer is narrower. The random matrices come from peft's
fixed seed, so they are the same in all runs.

Sequential: one adapter is made before the first task, at the protocol's target layers, and every task trains
it on; the optimiser starts afresh. Stored: the vectors. The random matrices are saved, so that a checkpoint
does not hang on a random number generator, and count as auxiliary: no task changes them. Needs neither task
id, old data nor statistics. Works on every kind of backbone (measured: bench list --check). The learning rate
is this suite's default, not a published one.

Defaults that differ from the released program: of peft's configuration none where all sides are 256 or more.
"""

from methods.pieces.peft_tuner import PeftTuner


class SequentialVeRA(PeftTuner):
    """See the module."""

    tuner = "vera"


METHOD = SequentialVeRA
