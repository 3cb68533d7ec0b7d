"""The classification head: one linear layer whose rows are appended as classes come, never copied."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark import initialisation
from benchmark.errors import UserError


class GrowingHead(nn.Module):
    """Rows for the classes seen so far, kept in one block per growth so that old rows can be left alone."""

    def __init__(self, width: int) -> None:
        """Start without classes; `width` is the size of a feature."""
        super().__init__()
        self.width = width
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()

    def __len__(self) -> int:
        return sum(len(bias) for bias in self.biases)

    def grow(self, count: int, like: Tensor) -> None:
        """Append rows for `count` new classes: Kaiming-uniform weights of gain 1, zero biases."""
        if count <= 0:
            return
        weight = initialisation.kaiming_uniform(like, count, self.width, nonlinearity="linear")
        self.weights.append(nn.Parameter(weight))
        self.biases.append(nn.Parameter(like.new_zeros(count)))

    def train_only(self, columns: list[int]) -> None:
        """Let only the blocks that hold one of `columns` change."""
        start = 0
        for weight, bias in zip(self.weights, self.biases, strict=True):
            wanted = any(start <= column < start + len(bias) for column in columns)
            weight.requires_grad_(wanted)
            bias.requires_grad_(wanted)
            start += len(bias)

    def trainable(self) -> list[nn.Parameter]:
        """Return the parameters that may change now."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def forward(self, features: Tensor) -> Tensor:
        """Map features `(n, width)` to logits `(n, classes seen)`."""
        return functional.linear(features, torch.cat(list(self.weights)), torch.cat(list(self.biases)))

    def state(self) -> dict[str, Tensor]:
        """Return the blocks as tensors."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Take over what `state` returned.

        Raises:
            UserError: a block is of other shapes than a head over features of this width has.
        """
        blocks = sum(name.startswith("biases.") for name in state)
        for index in range(blocks):
            weight, bias = state[f"weights.{index}"], state[f"biases.{index}"]
            if weight.dim() != 2 or weight.shape[1] != self.width or bias.shape != weight.shape[:1]:
                raise UserError(f"block {index} of the saved head has other shapes than the backbone's head")
        make = lambda name: nn.Parameter(state[name].to(device))  # noqa: E731
        self.weights = nn.ParameterList([make(f"weights.{index}") for index in range(blocks)])
        self.biases = nn.ParameterList([make(f"biases.{index}") for index in range(blocks)])
