"""Gradients of batches: their squares, which are diagonal empirical Fisher information, and their mean."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmark.data.batches import Batch
from benchmark.lora.layer import exact
from benchmark.lora.stack import AdapterStack

Loss = Callable[[Batch], Tensor]


def of_parameters(loss: Loss, parameters: list[nn.Parameter], given: list[Batch]) -> list[Tensor]:
    """Return, by parameter, the mean over rows of the squared gradient of their batch's mean loss."""
    sums = [torch.zeros_like(exact(parameter)) for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    for batch in given:
        for total, gradient in zip(sums, torch.autograd.grad(loss(batch), parameters), strict=True):
            total += len(batch) * exact(gradient).square()
    count = sum(len(batch) for batch in given)
    return [total / count for total in sums]


def of_weights(loss: Loss, stack: AdapterStack, given: list[Batch]) -> dict[str, Tensor]:
    """Return the same of each adapted layer's whole weight, `(d_out, d_in)`, by layer."""
    return _mean(loss, stack, given, Tensor.square)


def mean_gradient(loss: Loss, stack: AdapterStack, given: list[Batch]) -> dict[str, Tensor]:
    """Return the mean gradient of each adapted layer's whole weight, `(d_out, d_in)`, by layer."""
    return _mean(loss, stack, given, lambda gradient: gradient)


def _mean(
    loss: Loss, stack: AdapterStack, given: list[Batch], value: Callable[[Tensor], Tensor]
) -> dict[str, Tensor]:
    """Return the mean over rows of a function of their batch's weight gradients.

    A layer's weight has no gradient of its own; it is the sum over tokens of output gradient times input.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    sums: dict[str, Tensor] = {}

    def remember(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            seen[name] = (inputs[0].detach(), output)

        return hook

    for parameter in stack.parameters():
        parameter.requires_grad_(True)
    handles = [layer.register_forward_hook(remember(name)) for name, layer in stack.layers.items()]
    try:
        for batch in given:
            seen.clear()
            total = loss(batch)
            gradients = torch.autograd.grad(total, [output for _, output in seen.values()])
            for (name, (x, _)), gradient in zip(seen.items(), gradients, strict=True):
                weight = exact(gradient.flatten(0, -2).t() @ x.flatten(0, -2))
                weight = weight.to(stack.layers[name].like.device)
                sums[name] = sums.get(name, 0) + len(batch) * value(weight)
    finally:
        for handle in handles:
            handle.remove()
    count = sum(len(batch) for batch in given)
    return {name: total / count for name, total in sums.items()}
