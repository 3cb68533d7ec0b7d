"""The low-rank bank: every continual LoRA method is a policy over this one module.

At each adapted linear layer with frozen weight W the bank computes

    y = W x + sum_k s_k B_k (A_k x) + c B (A x),

with A (r, d_in) and B (d_out, r) of the pair under training, and the pairs of the past stacked into one
down factor (R, d_in) and one up factor (d_out, R), R the sum of their ranks. Scales multiply the
r-dimensional middle, never a weight, so the cost of a step hardly grows with the number of tasks. Where the
past's scales are fixed, `fold` adds the past to a copy of W and the cost does not grow at all. Scales may be
one number a pair or one a pair and row of the batch. A method with one adapter by design ends a task with
`merge_current`: the pair becomes part of the weight for good.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchmark import draws
from benchmark.errors import UserError
from benchmark.models.adapted_linear import AdaptedLinear
from benchmark.models.roles import resolve

Scaling = Callable[[], tuple[Tensor | None, Tensor | None]]


class AdapterBank:
    """The pairs of all tasks at all adapted layers of one model.

    Attributes:
        layers: the adapted layers by dotted name, in model order; M of them.
        slots: task index of each past pair, in stacking order.
        ranks: rank of each past pair.
        current: task index of the pair under training, or None.
        scaling: called by `refresh`; returns the scales of the past, `(M, slots)` or `(M, n, slots)` for a
            batch of n rows, and of the current pair, `(M,)` or `(M, n)`; None in either place means the fixed
            `scale`.
        merged_rank: the sum of the ranks of all pairs merged into the weights.
    """

    def __init__(
        self,
        model: nn.Module,
        targets: tuple[str, ...],
        rank: int,
        scale: float = 1.0,
        dropout: float = 0.0,
        blocks: str = "all",
    ) -> None:
        """Wrap the model's target layers in place and freeze the whole model.

        Args:
            model: any transformers model, or a module with linear layers.
            targets: roles, see `benchmark.models.roles`.
            rank: r of a new pair.
            scale: fixed factor of every pair, alpha / r.
            dropout: on the input of the pairs, not of W.
            blocks: which blocks are adapted, see `benchmark.models.blocks`.

        Raises:
            UserError: no layer matches, or the rank exceeds a layer's smaller side.
        """
        model.requires_grad_(False)
        linears = resolve(model, targets, blocks)
        self.layers = {name: AdaptedLinear(linear, dropout) for name, linear in linears.items()}
        self._check(rank)
        for name, layer in self.layers.items():
            _put(model, name, layer)
        self.rank = rank
        self.scale = scale
        self.slots: list[int] = []
        self.ranks: list[int] = []
        self.current: int | None = None
        self.scaling: Scaling | None = None
        self.merged_rank = 0

    def _check(self, rank: int) -> None:
        for name, layer in self.layers.items():
            sides = layer.base.in_features, layer.base.out_features
            if rank > min(sides):
                raise UserError(
                    f"rank {rank} exceeds the layer {name} of {sides[0]} x {sides[1]}; "
                    "set a smaller one with --set rank=..."
                )

    def restrict(self, model: nn.Module, names: Collection[str]) -> None:
        """Adapt only the named layers of those wrapped; give the others back to the model as they were."""
        for name in [name for name in self.layers if name not in names]:
            _put(model, name, self.layers.pop(name).base)

    def refresh(self) -> None:
        """Hand each layer its scales for the next forward pass; called before every one."""
        past, current = self.scaling() if self.scaling else (None, None)
        rows: Tensor | None = None
        if past is not None and self.slots:
            rows = self.scale * past.repeat_interleave(self._ranks(), dim=-1)
        elif self.scale != 1.0:
            rows = torch.full((len(self.layers), sum(self.ranks)), self.scale)
        if rows is not None:
            # Scales may be kept in float32 beside a bfloat16 backbone.
            rows = rows.to(self._example())
        if current is not None and current.dim() > 1:
            current = current.to(self._example())
        for index, layer in enumerate(self.layers.values()):
            layer.past_scale = None if rows is None else rows[index]
            layer.scale = self.scale if current is None else self.scale * current[index]

    def _ranks(self) -> Tensor:
        return torch.tensor(self.ranks, device=self._example().device)

    def _example(self) -> Tensor:
        return next(iter(self.layers.values())).past_down

    def add(self, task: int, rank: int | None = None) -> None:
        """Start the pair of `task` at every layer: down Kaiming-uniform with a = sqrt 5, up zero.

        Raises:
            UserError: the rank exceeds a layer's smaller side.
        """
        self._check(rank or self.rank)
        self.current = task
        for layer in self.layers.values():
            down = draws.kaiming_uniform(layer.weight, rank or self.rank, layer.base.in_features, a=5**0.5)
            layer.down = nn.Parameter(down)
            layer.up = nn.Parameter(layer.weight.new_zeros(layer.base.out_features, len(down)))

    def parameters(self) -> list[nn.Parameter]:
        """Return the current pair's parameters: down and up of each layer, in layer order."""
        layers = self.layers.values()
        return [factor for layer in layers for factor in (layer.down, layer.up) if factor is not None]

    def freeze_current(self) -> None:
        """Stack the current pair, if there is one, onto the past; nothing trains it any more."""
        if self.current is None:
            return
        for layer in self.layers.values():
            assert layer.down is not None and layer.up is not None
            layer.past_down = torch.cat([layer.past_down, layer.down.detach()])
            layer.past_up = torch.cat([layer.past_up, layer.up.detach()], dim=1)
        self.slots.append(self.current)
        self.ranks.append(len(self._example()) - sum(self.ranks))
        self.discard_current()

    def discard_current(self) -> None:
        """Drop the current pair."""
        self.current = None
        for layer in self.layers.values():
            layer.down = layer.up = None

    def merge_current(self) -> None:
        """Add the current pair's scaled product to the weights for good and drop the pair."""
        if self.current is None:
            return
        for layer in self.layers.values():
            assert layer.down is not None and layer.up is not None
            product = self.scale * (layer.up.detach() @ layer.down.detach())
            layer.merged = product if layer.merged is None else layer.merged + product
            layer.whole = layer.base.weight + layer.merged
        self.merged_rank += len(next(iter(self.parameters())))
        self.discard_current()

    def snapshot(self) -> list[Tensor]:
        """Return copies of the current pair's factors, in the order of `parameters`."""
        return [factor.detach().clone() for factor in self.parameters()]

    @contextmanager
    def using(self, factors: list[Tensor]) -> Iterator[None]:
        """Within the context, let the layers answer with these factors instead of the current pair's."""
        own = self.parameters()
        self._swap([nn.Parameter(factor, requires_grad=False) for factor in factors])
        try:
            yield
        finally:
            self._swap(own)

    def _swap(self, factors: list[nn.Parameter]) -> None:
        for layer, down, up in zip(self.layers.values(), factors[::2], factors[1::2], strict=True):
            layer.down, layer.up = down, up

    def count(self) -> int:
        """Return how many pairs are held, the current one included."""
        return len(self.slots) + (self.current is not None)

    def pair(self, layer: AdaptedLinear, slot: int) -> tuple[Tensor, Tensor]:
        """Return the stored factors of one past pair: down (r, d_in) and up (d_out, r)."""
        start = sum(self.ranks[:slot])
        rows = slice(start, start + self.ranks[slot])
        return layer.past_down[rows], layer.past_up[:, rows]

    def factor_norms(self) -> Tensor:
        """Return |B_k|_F |A_k|_F of every past pair, `(M, slots)`."""
        return self._past_values(lambda down, up: down.norm() * up.norm())

    def product_norms(self) -> Tensor:
        """Return |B_k A_k|_F of every past pair, `(M, slots)`, without forming the product.

        |B A|_F^2 = trace(A A^T B^T B), an r x r computation.
        """
        return self._past_values(
            lambda down, up: ((down @ down.t()) * (up.t() @ up)).sum().clamp(min=0).sqrt()
        )

    def _past_values(self, value: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        layers = self.layers.values()
        if not self.slots:
            return self._example().new_zeros(len(self.layers), 0)
        return torch.stack(
            [torch.stack([value(*self.pair(a, k)) for k in range(len(self.slots))]) for a in layers]
        )

    def fold(self, scales: Tensor | None = None) -> None:
        """Add the past to a copy of each frozen weight, so that a step costs the same at any T.

        Only right while the past's scales do not change and no dropout is drawn on the past's input.

        Args:
            scales: `(M, slots)` on top of the fixed scale; None for ones.
        """
        self.unfold()
        if not self.slots:
            return
        for index, layer in enumerate(self.layers.values()):
            down = layer.past_down * self.scale
            if scales is not None:
                down = down * scales[index].to(down).repeat_interleave(self._ranks())[:, None]
            layer.folded = torch.addmm(layer.start, layer.past_up, down)

    def unfold(self) -> None:
        """Return to the untouched frozen weights and the stacked past."""
        for layer in self.layers.values():
            layer.folded = None

    def stored(self) -> int:
        """Return how many numbers the past and the current pair hold."""
        past = [x for layer in self.layers.values() for x in (layer.past_down, layer.past_up)]
        return self.merged_size() + sum(factor.numel() for factor in (*past, *self.parameters()))

    def merged_size(self) -> int:
        """Return how many weights differ from the backbone's for good: they are stored, but need no room."""
        return sum(layer.merged.numel() for layer in self.layers.values() if layer.merged is not None)

    def sum(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return, by layer name, one pair (down (R, d_in), up (d_out, R)) equal to the sum of all pairs.

        Scales are those of the next forward pass, put into the down factor.
        """
        with torch.no_grad():
            self.refresh()
        result = {}
        for name, layer in self.layers.items():
            down, up = layer.past_down, layer.past_up
            if layer.past_scale is not None:
                down = down * layer.past_scale.detach()[:, None]
            if layer.down is not None and layer.up is not None:
                scale = torch.as_tensor(layer.scale).detach()
                down = torch.cat([down, layer.down.detach() * scale])
                up = torch.cat([up, layer.up.detach()], dim=1)
            if layer.merged is not None:
                merged_down, merged_up = _factors(layer.merged, self.merged_rank)
                down, up = torch.cat([merged_down, down]), torch.cat([merged_up, up], dim=1)
            result[name] = (down, up)
        return result

    def state(self) -> dict[str, Tensor]:
        """Return all factors and the bookkeeping, as tensors."""
        state = {"slots": _integers(self.slots), "ranks": _integers(self.ranks)}
        state["current"] = torch.tensor(-1 if self.current is None else self.current)
        state["merged_rank"] = torch.tensor(self.merged_rank)
        for name, layer in self.layers.items():
            state[f"{name}.past_down"] = layer.past_down
            state[f"{name}.past_up"] = layer.past_up
            if layer.down is not None and layer.up is not None:
                state[f"{name}.down"] = layer.down.detach()
                state[f"{name}.up"] = layer.up.detach()
            if layer.merged is not None:
                state[f"{name}.merged"] = layer.merged
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned.

        Raises:
            UserError: the state is of another backbone or of other targets.
        """
        self.slots = [int(task) for task in state["slots"]]
        self.ranks = [int(rank) for rank in state["ranks"]]
        current = int(state["current"])
        self.current = None if current < 0 else current
        self.merged_rank = int(state["merged_rank"])
        suffix = ".past_down"
        saved = {name.removesuffix(suffix) for name in state if name.endswith(suffix)}
        for name in sorted(saved ^ set(self.layers)):
            raise _foreign(name)
        for name, layer in self.layers.items():
            down, up = state[f"{name}.past_down"], state[f"{name}.past_up"]
            if down.shape[1] != layer.base.in_features or len(up) != layer.base.out_features:
                raise _foreign(name)
            device = layer.weight.device
            layer.past_down = down.to(device)
            layer.past_up = up.to(device)
            layer.down = layer.up = layer.merged = layer.whole = None
            if f"{name}.merged" in state:
                layer.merged = state[f"{name}.merged"].to(device)
                layer.whole = layer.base.weight + layer.merged
            if f"{name}.down" in state:
                layer.down = nn.Parameter(state[f"{name}.down"].to(device))
                layer.up = nn.Parameter(state[f"{name}.up"].to(device))
        self.unfold()


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, layer)


def _factors(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return down (r, d_in) and up (d_out, r) of a matrix of rank at most `rank`."""
    left, values, right = torch.linalg.svd(product.float() if product.dtype == torch.bfloat16 else product)
    kept = min(rank, len(values))
    down = values[:kept, None] * right[:kept]
    return down.to(product), left[:, :kept].to(product)


def _foreign(layer: str) -> UserError:
    return UserError(f"the adapters were saved from another backbone: they do not fit layer {layer}")


def _integers(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)
