"""A transformer block with a growing mixture of adapters: router, descriptors and the test for something new.

SEMA, arXiv 2403.18886, CVPR 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark import initialisation
from benchmark.lora.layer import exact
from benchmark.lora.stack import AdapterStack
from benchmark.state import Sizes, part


class ExpandingBlock:
    """The adapters of one block, mixed by what a linear router says of the block's mean input token.

    Every adapter has a descriptor, an autoencoder of the mean tokens that the block saw when it was learned.

    Attributes:
        stack: the block's adapters, the newest as the stack's current one.
        past_router: rows of weights and bias for the frozen adapters, `(frozen, d + 1)`.
        router: the newest adapter's row, `(d + 1,)`.
        descriptors: one autoencoder an adapter.
        errors: mean and deviation of each descriptor's error on the rows it was made for, `(adapters, 2)`.
        mask: which tokens of the batch at hand are real, `(n, length)`; None where all are.
        tokens: what the block saw last, `(n, length, d)`.
    """

    past_router: Tensor
    router: nn.Parameter
    errors: Tensor

    def __init__(self, name: str, stack: AdapterStack, module: nn.Module) -> None:
        """Observe a block whose layers are in the stack."""
        self.name = name
        self.stack = stack
        self.descriptors: list[nn.Sequential] = []
        self.mask: Tensor | None = None
        self.tokens: Tensor | None = None
        self.shares: Tensor | None = None
        stack.learned_scales = self._scales
        module.register_forward_pre_hook(self._route, with_kwargs=True)

    def grow(self, task: int, width: int, hidden: int) -> None:
        """Add an adapter, its router row and its descriptor; freeze what is there."""
        device = next(iter(self.stack.layers.values())).like.device
        bound = width**-0.5
        fresh = initialisation.uniform(torch.empty(0, device=device), width + 1, low=-bound, high=bound)
        if self.stack.count():
            self.past_router = torch.cat([self.past_router, self.router.detach()[None]])
        else:
            self.past_router, self.errors = fresh.new_zeros(0, width + 1), fresh.new_zeros(0, 2)
        self.router = nn.Parameter(fresh)
        self.stack.freeze_current()
        self.stack.add(task)
        self.descriptors.append(autoencoder(width, hidden).to(device))

    def _route(self, _: nn.Module, given: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Weight the adapters by the block's input, before its layers answer."""
        tokens = given[0] if given else next(iter(named.values()))
        self.tokens = tokens[:, None] if tokens.dim() == 2 else tokens
        if not self.stack.count():
            return
        mean = self.mean_tokens()
        rows = torch.cat([self.past_router, self.router[None]]).to(mean)
        self.shares = functional.softmax(mean @ rows[:, :-1].t() + rows[:, -1], dim=1)

    def mean_tokens(self) -> Tensor:
        """Return the mean of each row's real tokens seen last, `(n, d)`, in float32 or float64."""
        assert self.tokens is not None
        return (self._importance()[..., None] * exact(self.tokens)).sum(1)

    def _importance(self) -> Tensor:
        """Return how much each token of the batch counts in a mean over a row's real ones, `(n, length)`."""
        assert self.tokens is not None
        if self.mask is None or self.mask.shape != self.tokens.shape[:2]:
            return exact(self.tokens).new_full(self.tokens.shape[:2], 1 / self.tokens.shape[1])
        real = self.mask.to(exact(self.tokens))
        return real / real.sum(1, keepdim=True)

    def _scales(self) -> tuple[Tensor | None, Tensor | None]:
        if self.shares is None:
            return None, None
        layers = len(self.stack.layers)
        past = self.shares[:, : len(self.stack.frozen_tasks)].expand(layers, -1, -1)
        return past, self.shares[:, -1].expand(layers, -1)

    def reconstruction_errors(self, number: int) -> Tensor:
        """Return a descriptor's mean squared error at each row's mean token seen last, `(n,)`."""
        mean = self.mean_tokens().detach().to(self.router.dtype)
        return (self.descriptors[number](mean) - mean).square().mean(1)

    @torch.no_grad()
    def surprise(self) -> float:
        """Return the least, over adapters, of the batch's mean distance from known errors in deviations.

        A descriptor whose errors do not vary says nothing, as one of too few rows.
        """
        means = []
        for number, (mean, deviation) in enumerate(self.errors.tolist()):
            errors = self.reconstruction_errors(number)
            means.append(float((errors - mean).abs().mean()) / deviation if deviation else 0.0)
        return min(means)

    def settle(self, errors: Tensor) -> None:
        """Note the newest descriptor's errors `(rows,)` on the rows it was made for, and freeze it."""
        deviation = errors.std() if len(errors) > 2 else errors.new_zeros(())
        self.errors = torch.cat([self.errors, torch.stack([errors.mean(), deviation])[None]])
        self.descriptors[-1].requires_grad_(False)

    def parameters(self) -> list[nn.Parameter]:
        """Return the newest adapter's factors and router row."""
        return [*self.stack.parameters(), self.router]

    def sizes(self) -> Sizes:
        """Return the sizes of adapters, router and descriptors, which are not needed while predicting."""
        networks = [value for network in self.descriptors for value in network.parameters()]
        described = sum(value.numel() for value in networks)
        router = self.past_router.numel() + self.router.numel()
        books = [value for value in self.stack.state().values() if not value.is_floating_point()]
        kept = sum(value.nbytes for value in (self.errors, *books))
        return self.stack.sizes() + Sizes(router + described, router, kept)

    def state(self) -> dict[str, Tensor]:
        """Return adapters, router, descriptors and their errors."""
        state = {f"stack.{name}": value for name, value in self.stack.state().items()}
        for number, descriptor in enumerate(self.descriptors):
            for name, value in descriptor.state_dict().items():
                state[f"descriptors.{number}.{name}"] = value
        router = {"past_router": self.past_router, "router": self.router.detach()}
        return state | router | {"errors": self.errors}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned."""
        self.stack.restore(part(state, "stack."))
        device = next(iter(self.stack.layers.values())).like.device
        self.past_router, self.errors = state["past_router"].to(device), state["errors"].to(device)
        self.router = nn.Parameter(state["router"].to(device))
        self.descriptors = []
        for number in range(len(self.errors)):
            saved = part(state, f"descriptors.{number}.")
            hidden, width = saved["0.weight"].shape
            descriptor = autoencoder(width, hidden).to(device)
            descriptor.load_state_dict(saved)
            self.descriptors.append(descriptor.requires_grad_(False))


def autoencoder(width: int, hidden: int) -> nn.Sequential:
    """Return a linear network from a token to itself through `hidden` numbers; biases start at zero.

    Without an activation, as in the official code: it reproduces the subspace that a task's inputs lie in.
    """
    layers = nn.Linear(width, hidden), nn.Linear(hidden, width)
    for layer in layers:
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)
