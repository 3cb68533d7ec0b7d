"""The adapter stack of a model: every continual LoRA method is a policy over this one class.

An adapter spans all adapted layers of the model (see `benchmark.lora.layer` for what a layer computes). A
task's adapter is added, trained, and then frozen onto the stack. Where the scales of frozen adapters are
fixed, `merge_frozen` puts them into a copy of the weights, and a step's cost does not grow with the number of
tasks. A method with one adapter by design ends a task with `merge_current`: the adapter becomes part of
the weight for good, which peft calls merge and unload.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchmark import initialisation
from benchmark.errors import UserError
from benchmark.lora.layer import PARTS, Adapter, LayerScales, LoraLinear
from benchmark.lora.scales import LearnedScales, ScaleTable
from benchmark.lora.targets import block_of, find_targets
from benchmark.state import Sizes


class AdapterStack:
    """The adapters of all tasks at all adapted layers of one model.

    Attributes:
        layers: the adapted layers by dotted name, in model order; M of them.
        frozen_tasks: task index of each frozen adapter, in stacking order.
        frozen_ranks: rank of each frozen adapter.
        current_task: task index of the adapter under training, or None.
        rank: r of a new adapter.
        scaling: alpha / r, which the layers multiply every adapter by.
        merged_rank: the sum of the ranks of all adapters merged into the weights for good.
    """

    def __init__(
        self,
        model: nn.Module,
        targets: tuple[str, ...],
        rank: int,
        scaling: float = 1.0,
        dropout: float = 0.0,
        blocks: Collection[int] | None = None,
        choice: str = "all",
    ) -> None:
        """Wrap the model's target layers in place and freeze the whole model.

        Args:
            model: any transformers model, or a module with linear layers.
            targets: roles, see `benchmark.lora.targets`.
            scaling: fixed factor of every adapter, alpha / r.
            dropout: on the input of the adapters, not of W.
            blocks: the transformer blocks to adapt, counted from 0; None for all of the choice.
            choice: which blocks may be adapted, see `benchmark.models.blocks`.

        Raises:
            UserError: no layer matches, or the rank exceeds a layer's smaller side.
        """
        model.requires_grad_(False)
        linears = find_targets(model, targets, choice)
        self.layers: dict[str, LoraLinear] = {}
        # Adapters lie where the inputs come in, also those of layers on other GPUs.
        home = next(model.parameters())
        for name, linear in linears.items():
            if blocks is None or block_of(name) in blocks:
                dtype = linear.weight.dtype if linear.weight.is_floating_point() else home.dtype
                like = torch.empty(0, dtype=dtype, device=home.device)
                ask = self._asking(len(self.layers))
                self.layers[name] = LoraLinear(linear, scaling, dropout, ask, like)
        self._check(rank)
        for name, layer in self.layers.items():
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, layer)
        self.rank = rank
        self.scaling = scaling
        self.frozen_tasks: list[int] = []
        self.frozen_ranks: list[int] = []
        self.current_task: int | None = None
        self.merged_rank = 0
        self._scales = ScaleTable()
        model.register_forward_pre_hook(self._scales.forget)

    def _check(self, rank: int) -> None:
        for name, layer in self.layers.items():
            sides = layer.base.in_features, layer.base.out_features
            if rank > min(sides):
                raise UserError(
                    f"rank {rank} exceeds the layer {name} of {sides[0]} x {sides[1]}; "
                    "set a smaller one with --set rank=..."
                )

    # --- learned scales

    @property
    def learned_scales(self) -> LearnedScales | None:
        """What a method multiplies its adapters by on top of alpha / r; None for ones."""
        return self._scales.learned

    @learned_scales.setter
    def learned_scales(self, scales: LearnedScales | None) -> None:
        self._scales.learned = scales
        self._scales.forget()

    def forget_scales(self) -> None:
        """Ask for the learned scales anew, where they change and the next pass is of a part of the model."""
        self._scales.forget()

    def _asking(self, index: int) -> Callable[[bool], LayerScales]:
        """Return how the layer of that number asks for its scales."""

        def ask(in_pass: bool) -> LayerScales:
            if self._scales.learned is None:
                return None, None
            return self._scales.ask(index, self.frozen_ranks, len(self.layers), self._example(), in_pass)

        return ask

    def _example(self) -> Tensor:
        return next(iter(self.layers.values())).frozen.lora_A

    # --- adding and ending adapters

    def add(self, task: int, rank: int | None = None) -> None:
        """Start the adapter of `task` at every layer: lora_A Kaiming-uniform with a = sqrt 5, lora_B zero.

        Raises:
            RuntimeError: an adapter is still under training; it would be lost.
            UserError: the rank exceeds a layer's smaller side.
        """
        if self.current_task is not None:
            raise RuntimeError(
                f"the adapter of task {self.current_task} would be lost by adding one for task {task}: call "
                "freeze_current() first (or merge_current() or discard_current())"
            )
        self._check(rank or self.rank)
        self.current_task = task
        for layer in self.layers.values():
            lora_a = initialisation.kaiming_uniform(
                layer.like, rank or self.rank, layer.base.in_features, a=5**0.5
            )
            layer.current = Adapter(lora_a, layer.like.new_zeros(layer.base.out_features, len(lora_a)))

    def freeze_current(self) -> None:
        """Put the current adapter, if there is one, onto the frozen ones; nothing trains it any more."""
        if self.current_task is None:
            return
        rank = 0
        for layer, current in self.current_adapters():
            frozen, rank = layer.frozen, len(current.lora_A)
            frozen.lora_A = torch.cat([frozen.lora_A, current.lora_A.detach()])
            frozen.lora_B = torch.cat([frozen.lora_B, current.lora_B.detach()], dim=1)
        self.frozen_tasks.append(self.current_task)
        self.frozen_ranks.append(rank)
        self.discard_current()

    def discard_current(self) -> None:
        """Drop the current adapter."""
        self.current_task = None
        self._scales.forget()
        for layer in self.layers.values():
            layer.current = None

    def merge_current(self) -> None:
        """Add the current adapter to the weights for good and drop it: peft's merge and unload."""
        if self.current_task is None:
            return
        self.merged_rank += len(self.lora_a()[0])
        for layer in self.layers.values():
            delta = layer.delta("current").detach().to(layer.device, layer.like.dtype)
            layer.merged = delta if layer.merged is None else layer.merged + delta
            layer.answer_with(None)
        self.discard_current()

    # --- reading adapters

    def current_adapters(self) -> Iterator[tuple[LoraLinear, Adapter]]:
        """Yield every layer that has an adapter under training, with it."""
        for layer in self.layers.values():
            if layer.current is not None:
                yield layer, layer.current

    def lora_a(self) -> list[nn.Parameter]:
        """Return the current adapter's A `(r, d_in)` of each layer, in layer order."""
        return [adapter.get_parameter("lora_A") for _, adapter in self.current_adapters()]

    def lora_b(self) -> list[nn.Parameter]:
        """Return the current adapter's B `(d_out, r)` of each layer, in layer order."""
        return [adapter.get_parameter("lora_B") for _, adapter in self.current_adapters()]

    def parameters(self) -> list[nn.Parameter]:
        """Return the current adapter's parameters: A and B of each layer, in layer order."""
        return [matrix for both in zip(self.lora_a(), self.lora_b(), strict=True) for matrix in both]

    def frozen_adapter(self, layer: LoraLinear, index: int) -> tuple[Tensor, Tensor]:
        """Return one frozen adapter at a layer: A (r, d_in) and B (d_out, r)."""
        start = sum(self.frozen_ranks[:index])
        rows = slice(start, start + self.frozen_ranks[index])
        return layer.frozen.lora_A[rows], layer.frozen.lora_B[:, rows]

    def tasks(self) -> list[int]:
        """Return the task index of every adapter: the frozen ones in order, then the current one."""
        return [*self.frozen_tasks, *([] if self.current_task is None else [self.current_task])]

    def count(self) -> int:
        """Return how many adapters there are, the current one included."""
        return len(self.tasks())

    def snapshot(self) -> list[Tensor]:
        """Return copies of the current adapter's matrices, in the order of `parameters`."""
        return [matrix.detach().clone() for matrix in self.parameters()]

    @contextmanager
    def using(self, matrices: list[Tensor]) -> Iterator[None]:
        """Within the context, let the layers answer with these matrices instead of the current adapter's."""
        own = {name: layer.current for name, layer in self.layers.items()}
        for layer, a, b in zip(self.layers.values(), matrices[::2], matrices[1::2], strict=True):
            layer.current = Adapter(a, b, trained=False)
        try:
            yield
        finally:
            for name, adapter in own.items():
                self.layers[name].current = adapter

    def factor_norms(self) -> Tensor:
        """Return |B_k|_F |A_k|_F of every frozen adapter, `(M, frozen)`."""
        return self._of_frozen(lambda a, b: a.norm() * b.norm())

    def product_norms(self) -> Tensor:
        """Return |B_k A_k|_F of every frozen adapter, `(M, frozen)`, without forming the product.

        |B A|_F^2 = trace(A A^T B^T B), an r x r computation.
        """
        return self._of_frozen(lambda a, b: ((a @ a.t()) * (b.t() @ b)).sum().clamp(min=0).sqrt())

    def _of_frozen(self, value: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        layers, indices = self.layers.values(), range(len(self.frozen_tasks))
        if not indices:
            return self._example().new_zeros(len(layers), 0)
        return torch.stack(
            [
                torch.stack([value(*self.frozen_adapter(layer, index)) for index in indices])
                for layer in layers
            ]
        )

    def sum(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Return, by layer name, one adapter (A (R, d_in), B (d_out, R)) equal to the sum of all.

        Scales are those of the next pass, put into A.
        """
        result = {}
        with torch.no_grad():
            for name, layer in self.layers.items():
                both = [(term.scale_a(), term.lora_b) for term in layer.terms()]
                if layer.merged is not None:
                    both.insert(0, _factors(layer.merged.to(layer.like.device), self.merged_rank))
                none = (
                    layer.like.new_zeros(0, layer.base.in_features),
                    layer.like.new_zeros(layer.base.out_features, 0),
                )
                lora_as, lora_bs = zip(none, *both, strict=True)
                result[name] = torch.cat(lora_as), torch.cat(lora_bs, dim=1)
        return result

    # --- merging into copies of the weights

    @torch.no_grad()
    def merge_frozen(self) -> None:
        """Answer with copies of the weights that hold the frozen adapters: steps then cost the same at any T.

        Only right while their scales do not change and no dropout acts on their input; `unmerge` ends it.
        """
        self.unmerge()
        if self.frozen_tasks:
            for layer in self.layers.values():
                layer.merge("frozen")

    def leave_out_frozen(self) -> None:
        """Answer without the frozen adapters, at no cost, until `unmerge`."""
        for layer in self.layers.values():
            layer.answer_with(None, beside=("current",))

    def unmerge(self) -> None:
        """Return to the weights without copies, and to all adapters beside them."""
        for layer in self.layers.values():
            layer.answer_with(None)

    @contextmanager
    def merged_for_prediction(self) -> Iterator[None]:
        """Within the context, answer with one weight a layer that holds all adapters as they are now.

        Only right while nothing is trained.

        Raises:
            ValueError: a method scales its adapters row by row.
        """
        before = [layer.answering() for layer in self.layers.values()]
        try:
            with torch.no_grad():
                for layer in self.layers.values():
                    layer.merge(*PARTS)
            yield
        finally:
            for layer, (weight, beside) in zip(self.layers.values(), before, strict=True):
                layer.answer_with(weight, beside)

    # --- what is stored

    def sizes(self) -> Sizes:
        """Return how many numbers the adapters hold; those merged for good are stored, but need no memory."""
        matrices = [x for layer in self.layers.values() for x in (layer.frozen.lora_A, layer.frozen.lora_B)]
        beside = sum(matrix.numel() for matrix in (*matrices, *self.parameters()))
        merged = sum(layer.merged.numel() for layer in self.layers.values() if layer.merged is not None)
        return Sizes(beside + merged, beside)

    def state(self) -> dict[str, Tensor]:
        """Return all matrices and the bookkeeping, as tensors."""
        current = -1 if self.current_task is None else self.current_task
        state = {"frozen_tasks": _integers(self.frozen_tasks), "frozen_ranks": _integers(self.frozen_ranks)}
        state |= {"current_task": torch.tensor(current), "merged_rank": torch.tensor(self.merged_rank)}
        for name, layer in self.layers.items():
            state[f"{name}.frozen.lora_A"] = layer.frozen.lora_A
            state[f"{name}.frozen.lora_B"] = layer.frozen.lora_B
            if layer.current is not None:
                state[f"{name}.lora_A"] = layer.current.lora_A.detach()
                state[f"{name}.lora_B"] = layer.current.lora_B.detach()
            if layer.merged is not None:
                state[f"{name}.merged"] = layer.merged
        return state

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned.

        Raises:
            UserError: the state is of another backbone or of other targets.
        """
        self.frozen_tasks = state["frozen_tasks"].tolist()
        self.frozen_ranks = state["frozen_ranks"].tolist()
        current = int(state["current_task"])
        self.current_task = None if current < 0 else current
        self.merged_rank = int(state["merged_rank"])
        self._scales.forget()
        suffix = ".frozen.lora_A"
        saved = {name.removesuffix(suffix) for name in state if name.endswith(suffix)}
        for name in sorted(saved ^ set(self.layers)):
            raise _foreign(name)
        for name, layer in self.layers.items():
            own = {
                key: value.to(layer.device if key == f"{name}.merged" else layer.like.device)
                for key, value in state.items()
                if key.startswith(f"{name}.")
            }
            lora_a, lora_b = own[f"{name}.frozen.lora_A"], own[f"{name}.frozen.lora_B"]
            layer.frozen = Adapter(lora_a, lora_b, trained=False)
            trained = f"{name}.lora_A" in own
            layer.current = Adapter(own[f"{name}.lora_A"], own[f"{name}.lora_B"]) if trained else None
            layer.merged = own.get(f"{name}.merged")
            if not layer.fits(self.frozen_ranks) or len(self.frozen_tasks) != len(self.frozen_ranks):
                raise _foreign(name)
        self.unmerge()


def _factors(product: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return A (r, d_in) and B (d_out, r) of a matrix of rank at most `rank`."""
    left, values, right = torch.linalg.svd(product.float() if product.dtype == torch.bfloat16 else product)
    kept = min(rank, len(values))
    lora_a = values[:kept, None] * right[:kept]
    return lora_a.to(product), left[:, :kept].to(product)


def _foreign(layer: str) -> UserError:
    return UserError(f"the adapters were saved from another backbone: they do not fit layer {layer}")


def _integers(values: list[int]) -> Tensor:
    return torch.tensor(values, dtype=torch.int64)
