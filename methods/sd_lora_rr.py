"""SD-LoRA-RR: SD-LoRA whose later directions have fewer ranks (arXiv 2501.13198, ICLR 2025).

Idea: early directions of SD-LoRA matter most, so later tasks get smaller adapters. Otherwise `sd-lora`, with
all its differences between official code and paper; official repository: WuYichen-97/SD-Lora-CL. Trained,
frozen and stored as there. Needs neither task id, old data nor statistics. Works on every kind of backbone.

The paper has rank 10, 8 from task mu = 4 and 6 from task nu = 8; the official code has the schedule as a
comment and switches at tasks 4 and 8 counted from 0, which is followed here. Ranks are shares of the
protocol's rank, rounded, at least 1.

Defaults that differ from the released program: the schedule of ranks stands there in a comment; the rest is
as `sd-lora`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, Field

from methods.sd_lora import SDHyperparameters, SDLoRA


class ReducingHyperparameters(SDHyperparameters):
    """The schedule beside SD-LoRA's settings."""

    first_cut: int = Field(4, ge=0, description="mu, the first task of the middle rank, counted from 0")
    second_cut: int = Field(8, ge=0, description="nu, the first task of the last rank, counted from 0")
    middle_share: float = Field(0.8, gt=0, le=1, description="of the protocol's rank, from mu on")
    last_share: float = Field(0.6, gt=0, le=1, description="of the protocol's rank, from nu on")


class SDLoRAWithReducedRanks(SDLoRA):
    """SD-LoRA with a rank schedule."""

    Hyperparameters: ClassVar[type[BaseModel]] = ReducingHyperparameters

    def rank(self, t: int) -> int:
        """Return the rank of task t's adapter."""
        chosen = self.hyperparameters
        share = 1.0
        if t >= chosen.first_cut:
            share = chosen.middle_share
        if t >= chosen.second_cut:
            share = chosen.last_share
        return max(1, round(share * self.protocol.rank))


METHOD = SDLoRAWithReducedRanks
