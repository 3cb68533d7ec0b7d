"""Scales that a method learns for its adapters: computed once a pass, and asked for by every layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmark.data.batches import send_to
from benchmark.lora.layer import LayerScales
from benchmark.models.checkpointing import current_region, outside_of_regions

LearnedScales = Callable[[], tuple[Tensor | None, Tensor | None]]
"""Returns the scales of the frozen adapters, `(M, frozen)` or `(M, n, frozen)` for a batch of n rows, and of
the current one, `(M,)` or `(M, n)`, at each of M layers; None in either place for ones."""


class ScaleTable:
    """The scales of all layers in the pass at hand.

    A method computes them together, when the first layer asks. They are computed anew when the model is
    called or, where only a part of it is, when a layer asks a second time: nobody has to say that one begins.

    Attributes:
        learned: says what the scales are; None for ones.
    """

    def __init__(self) -> None:
        """Start with ones."""
        self.learned: LearnedScales | None = None
        self._not_asked_for: dict[int, LayerScales] = {}
        self._with_gradient = False

    def forget(self, *_: object) -> None:
        """Compute the scales anew when a layer asks next; also a hook before the model's forward pass."""
        self._not_asked_for = {}

    def ask(self, index: int, ranks: list[int], layers: int, like: Tensor, in_pass: bool) -> LayerScales:
        """Return the scales of one layer.

        Args:
            ranks: of the frozen adapters; each scale is repeated for its adapter's rows of lora_A.
            layers: M.
            like: gives device and number format.
            in_pass: whether the layer answers; else the scales are computed for it alone.
        """
        assert self.learned is not None
        region = current_region()
        if region is None or not in_pass:
            return self._ask(index, ranks, layers, like, in_pass)
        place = id(self), index
        if not region.again:
            # Made for all layers at once, of which the others lie outside of this block.
            with outside_of_regions():
                region.kept[place] = self._ask(index, ranks, layers, like, in_pass)
        return region.kept[place]

    def _ask(self, index: int, ranks: list[int], layers: int, like: Tensor, in_pass: bool) -> LayerScales:
        assert self.learned is not None
        if not in_pass:
            return by_layer(*self.learned(), ranks, layers, like)[index]
        if self._with_gradient != torch.is_grad_enabled() or index not in self._not_asked_for:
            self._with_gradient = torch.is_grad_enabled()
            self._not_asked_for = dict(enumerate(by_layer(*self.learned(), ranks, layers, like)))
        return self._not_asked_for.pop(index)


def by_layer(
    frozen: Tensor | None, current: Tensor | None, ranks: list[int], layers: int, like: Tensor
) -> list[LayerScales]:
    """Return what `LearnedScales` gives for each layer, shaped as a layer takes it."""
    of_frozen: list[Tensor | None] = [None] * layers
    of_current: list[Tensor | None] = [None] * layers
    # Scales may be kept in float32 beside a bfloat16 backbone.
    if frozen is not None and ranks:
        # With its size, which else is asked of the device.
        repeats = send_to(torch.tensor(ranks), frozen.device)
        rows = frozen.repeat_interleave(repeats, dim=-1, output_size=sum(ranks))
        of_frozen = list(rows.to(like).unbind())
    if current is not None:
        of_current = list((current if current.dim() == 1 else current.to(like)[..., None]).unbind())
    return list(zip(of_frozen, of_current, strict=True))
