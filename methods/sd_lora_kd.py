"""SD-LoRA-KD: SD-LoRA that drops a direction which earlier ones already span (arXiv 2501.13198, ICLR 2025).

Idea: after a task, the new direction is fitted by least squares with the earlier ones. If next to nothing is
left over, the coefficients go into the earlier magnitudes and the adapter is dropped. Otherwise `sd-lora`,
with all its differences between official code and paper; official repository: WuYichen-97/SD-Lora-CL, which
does not contain this variant. Trained, frozen and stored as there, but for dropped adapters. Needs neither
task id, old data nor statistics. Works on every kind of backbone.

Choices where the paper is silent: a magnitude is shared by all layers, so one fit is made over all of them;
the coefficients are multiplied by the new direction's own magnitude, so that a direction fitted exactly is
dropped without changing the function; the residual is relative to the new direction's length, which is 1 in
every layer of the paper's form. tau is the paper's 9e-4. With `variant=official` all magnitudes restart at
the next task, so the coefficients last until then; with `variant=paper` they are carried over.

Defaults that differ from the released program: the variant is not released; those of `sd-lora` are its
program's.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import BaseModel, Field
from torch import Tensor, nn

from benchmark.data.batches import Rows
from benchmark.lora.layer import exact
from methods.sd_lora import SDHyperparameters, SDLoRA


class DistillingHyperparameters(SDHyperparameters):
    """The tolerance beside SD-LoRA's settings."""

    residual: float = Field(
        9e-4, ge=0, description="tau, the relative residual up to which an adapter is dropped"
    )


class SDLoRAWithKnowledgeDistillation(SDLoRA):
    """SD-LoRA with a least-squares test of each new direction.

    Attributes:
        last_residual: of the task just learned; None for the first.
    """

    Hyperparameters: ClassVar[type[BaseModel]] = DistillingHyperparameters
    last_residual: float | None = None

    def end_task(self, t: int, rows: Rows) -> None:
        """Fit the new direction with the earlier ones and drop it where nothing is left over."""
        if not self.stack.frozen_tasks:
            return
        coefficients, self.last_residual = self.fit()
        if self.last_residual <= self.hyperparameters.residual:
            magnitudes = self.magnitudes.detach().clone()
            magnitudes[:-1] += magnitudes[-1] * coefficients.to(magnitudes)
            self.magnitudes = nn.Parameter(magnitudes)
            self.drop_current()

    @torch.no_grad()
    def fit(self) -> tuple[Tensor, float]:
        """Return the coefficients `(frozen,)` of the earlier directions and the relative residual.

        Products of directions are traces of small matrices: <B A, D C> = sum of (B^T D) * (A C^T).
        """
        _, own = self.scales()
        assert own is not None
        scales = torch.cat([1 / self.norms, (own / self.magnitudes[-1])[:, None]], dim=1).double()
        count = len(self.stack.frozen_tasks) + 1
        gram = torch.zeros(count, count, dtype=torch.float64, device=scales.device)
        for number, layer in enumerate(self.stack.layers.values()):
            assert layer.current is not None
            adapters = [self.stack.frozen_adapter(layer, index) for index in range(count - 1)]
            adapters.append((layer.current.lora_A, layer.current.lora_B))
            downs, ups = ([exact(factor).double() for factor in side] for side in zip(*adapters, strict=True))
            products = torch.stack(
                [
                    torch.stack([((u.t() @ v) * (a @ b.t())).sum() for b, v in zip(downs, ups, strict=True)])
                    for a, u in zip(downs, ups, strict=True)
                ]
            )
            gram += products * scales[number][:, None] * scales[number]
        # On the CPU, whose solver allows dependent directions; CUDA's asks for independent ones.
        gram = gram.cpu()
        coefficients = torch.linalg.lstsq(gram[:-1, :-1], gram[:-1, -1:]).solution[:, 0]
        length = gram[-1, -1]
        if length == 0:
            return coefficients, 0.0
        left = length - 2 * coefficients @ gram[:-1, -1] + coefficients @ gram[:-1, :-1] @ coefficients
        return coefficients, float((left / length).clamp(min=0).sqrt())

    def report(self, t: int) -> dict[str, Any]:
        """Return the residual beside SD-LoRA's report."""
        return {"residual": self.last_residual} | super().report(t)


METHOD = SDLoRAWithKnowledgeDistillation
