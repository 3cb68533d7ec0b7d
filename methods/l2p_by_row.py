"""L2P by row: every row picks its own prompts, so no answer depends on its batch (arXiv 2112.08654).

L2P as its paper describes it, without the majority vote over a batch that the official code takes; see l2p.

Defaults that differ from the released program: a choice by row (there by batch), and those of l2p.
"""

from __future__ import annotations

from pydantic import Field

from benchmark.method import Needs
from methods.l2p import LearningToPrompt, PoolHyperparameters


class ByRowHyperparameters(PoolHyperparameters):
    """The pool's settings, with a choice for each row."""

    batchwise: bool = Field(False, description="one choice a batch, by majority, at test too")


class LearningToPromptByRow(LearningToPrompt):
    """See the module."""

    Hyperparameters = ByRowHyperparameters
    needs = Needs()


METHOD = LearningToPromptByRow
