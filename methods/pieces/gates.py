"""LiteLoRA's gate: whether the adapter under training takes part, as a relaxed sample that has a gradient."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchmark import initialisation
from benchmark.lora.targets import block_of


class Gate:
    """One logit for the new adapter, or one for each of several, that opens or closes it at each of M layers.

    Attributes:
        numbers: the number of the logit that each layer obeys.
        logit: of the new adapter, `()` or `(k,)`; above zero is open.
        logits: of each task learned, `(t,)` or `(t, k)`.
        kept: the decision of each task, 1 or 0.
        noise: added to the logit at each layer, `(M,)`; None for none.
    """

    def __init__(self, numbers: list[int], shared: bool, temperature: float, device: torch.device) -> None:
        """Start without tasks.

        Args:
            shared: there is one logit without a dimension.
            temperature: tau of the sigmoid that gives the gradient.
            device: of the logit under training.
        """
        self.numbers = numbers
        self.temperature = temperature
        self.device = device
        shape = () if shared else (max(numbers) + 1,)
        self.logit = nn.Parameter(torch.zeros(shape, device=device))
        self.logits = torch.zeros(0, *shape)
        self.kept = torch.zeros(0, dtype=torch.int64)
        self.noise: Tensor | None = None

    def reset(self, logit: float) -> None:
        """Start a new adapter's gate."""
        self.logit = nn.Parameter(torch.full_like(self.logit.detach(), logit))

    def sample(self) -> None:
        """Draw Gumbel noise for each layer: -log(-log u), u uniform."""
        uniform = initialisation.uniform(self.logit.detach().float(), len(self.numbers))
        self.noise = -torch.log(-torch.log(uniform + 1e-20) + 1e-20)

    def open(self) -> Tensor:
        """Return the gate at each layer, `(M,)`: step(logit + noise) forward, a sigmoid's slope backward."""
        logit = self.logit[self.numbers] if self.logit.dim() else self.logit.expand(len(self.numbers))
        noisy = logit if self.noise is None else logit + self.noise
        soft = torch.sigmoid(noisy / self.temperature)
        # Not soft > 1/2: a sigmoid rounds to 1/2 at logits that `decide` finds above zero.
        hard = (noisy > 0).to(soft.dtype)
        # Written so that the forward value is exactly 0 or 1: hard - soft + soft would leave rounding.
        return hard + (soft - soft.detach())

    def sparsity_penalty(self) -> Tensor:
        """Return the mean of the gates over layers, 0 to 1; a closed one pays nothing and has no gradient."""
        # The absolute value has slope zero at zero.
        return self.open().abs().mean()

    def decide(self, always: bool = False) -> list[bool]:
        """Note logit and decision of the task just learned; return at which layers its adapter stays.

        Args:
            always: keep it everywhere, whatever the logits say.
        """
        logit = self.logit.detach().cpu()
        stays = torch.ones_like(logit, dtype=torch.bool) if always else logit > 0
        self.logits = torch.cat([self.logits, logit[None]])
        self.kept = torch.cat([self.kept, stays.any().long()[None]])
        return stays.expand(len(self.numbers)).tolist() if not logit.dim() else stays[self.numbers].tolist()

    def state(self) -> dict[str, Tensor]:
        """Return logits and decisions of all tasks."""
        return {"logits": self.logits, "kept": self.kept}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        self.logits, self.kept = state["logits"].cpu(), state["kept"].cpu()
        self.logit = nn.Parameter(self.logits[-1].clone().to(self.device))


def logit_numbers(layers: list[str], scope: str) -> list[int]:
    """Return, for each layer, the number of the logit that it obeys.

    A seq2seq model's encoder and decoder have blocks of their own.
    """
    if scope == "module":
        return list(range(len(layers)))
    if scope == "model":
        return [0] * len(layers)
    blocks = [(name.split(".")[0], block_of(name)) for name in layers]
    numbers = {block: number for number, block in enumerate(dict.fromkeys(blocks))}
    return [numbers[block] for block in blocks]
