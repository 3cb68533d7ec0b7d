"""One adapted layer: a frozen linear layer with its LoRA adapters beside it.

With frozen weight W it computes

    y = W x + B_f (s_f * (A_f x)) + B (s * (A x)),

where A_f (R, d_in) and B_f (d_out, R) hold the frozen adapters one above the other, R the sum of their
ranks, and A (r, d_in) and B (d_out, r) are the adapter under training. A scale is alpha / r times what the
method has learned, and multiplies the r-dimensional middle. Where R has grown so large that a step costs less
with the frozen adapters inside the weight, W + B_f (s_f * A_f) is formed instead: the same but for rounding.

A quantized W is multiplied by its own layer, which nothing can be merged into: what is merged elsewhere stays
beside it. Adapters lie on one device, whatever GPU the layer lies on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.errors import UserError
from benchmark.models.placement import is_quantized

Part = Literal["frozen", "current"]
PARTS: tuple[Part, ...] = ("frozen", "current")

LayerScales = tuple[Tensor | None, Tensor | None]
"""Learned scales of the frozen adapters, `(R,)` or `(n, R)`, and of the current one, `()` or `(n, 1)`."""


class Adapter(nn.Module):
    """Two matrices, named as peft names them, whose product B A is added to a weight.

    Attributes:
        lora_A: `(r, d_in)`.
        lora_B: `(d_out, r)`.
    """

    lora_A: Tensor
    lora_B: Tensor

    def __init__(self, lora_a: Tensor, lora_b: Tensor, trained: bool = True) -> None:
        """Hold the matrices as parameters, or as buffers where they are not trained."""
        super().__init__()
        for name, matrix in (("lora_A", lora_a), ("lora_B", lora_b)):
            if trained:
                self.register_parameter(name, nn.Parameter(matrix))
            else:
                self.register_buffer(name, matrix, persistent=False)

    def fits(self, base: nn.Linear) -> bool:
        """Return whether B A has the shape of a layer's weight."""
        lora_a, lora_b = self.lora_A.shape, self.lora_B.shape
        wanted = [len(self.lora_A), base.in_features], [base.out_features, len(self.lora_A)]
        return (list(lora_a), list(lora_b)) == wanted


class Term(NamedTuple):
    """What is added to W: B (scale * A); the scale is a number, `(R,)`, or for n rows of a batch `(n, R)`."""

    lora_a: Tensor
    lora_b: Tensor
    scale: Tensor | float

    def to(self, device: torch.device) -> Term:
        """Return the term on a device; itself where it is there."""
        scale = self.scale.to(device) if isinstance(self.scale, Tensor) else self.scale
        return Term(self.lora_a.to(device), self.lora_b.to(device), scale)

    def scale_a(self) -> Tensor:
        """Return scale * A, `(R, d_in)`.

        Raises:
            ValueError: the scale is not the same for all rows of a batch, so no one matrix holds it.
        """
        scale = self.scale
        if isinstance(scale, Tensor):
            if scale.dim() > 1:
                raise ValueError("adapters that are scaled row by row cannot be merged into one weight")
            return self.lora_a * (scale[:, None] if scale.dim() else scale)
        return self.lora_a if scale == 1.0 else self.lora_a * scale


class LoraLinear(nn.Module):
    """A frozen linear layer with adapters beside it; made by `AdapterStack`, not by hand.

    Attributes:
        frozen: the adapters of earlier tasks, stacked; of rank 0 at first.
        current: the adapter under training, or None.
        scaling: alpha / r.
        merged: what has been added to the weight for good, `(d_out, d_in)`, or None.
        quantized: the pretrained weight is stored in integers.
        like: an empty tensor of the adapters' device and number format.
    """

    like: Tensor

    def __init__(
        self,
        base: nn.Linear,
        scaling: float,
        dropout: float,
        ask_scales: Callable[[bool], LayerScales],
        like: Tensor | None = None,
    ) -> None:
        """Wrap a layer; it has no adapter until the stack adds one.

        Args:
            base: the pretrained layer.
            scaling: alpha / r.
            dropout: on the input of the adapters, not of W.
            ask_scales: returns the layer's learned scales, None for ones; True if a forward pass asks.
            like: has the device and the number format of adapters; the pretrained weight where it is None.
        """
        super().__init__()
        self.base = base
        self.quantized = is_quantized(base)
        empty = (base.weight if like is None else like).detach().new_zeros(0)
        self.register_buffer("like", empty, persistent=False)
        self.scaling = scaling
        self.dropout = dropout
        self.frozen = Adapter(
            self.like.new_zeros(0, base.in_features), self.like.new_zeros(base.out_features, 0), False
        )
        self.current: Adapter | None = None
        self.merged: Tensor | None = None
        self._ask_scales = ask_scales
        self._answering: Tensor | None = None
        self._beside = PARTS

    @property
    def weight(self) -> Tensor:
        """The pretrained weight `(d_out, d_in)`.

        Raises:
            UserError: it is quantized, so that there are no such numbers to compute with.
        """
        if self.quantized:
            raise UserError(
                "the method computes with the pretrained weights, which protocol.quantization stores in "
                "integers; the only valid value for it is none"
            )
        return self.base.weight

    @property
    def device(self) -> torch.device:
        """Where the pretrained weight lies."""
        return self.base.weight.device

    @property
    def bias(self) -> Tensor | None:
        """The pretrained bias."""
        return self.base.bias

    def fits(self, frozen_ranks: Sequence[int]) -> bool:
        """Return whether adapters of these ranks, and all other matrices, have the layer's shapes."""
        adapters = [self.frozen] if self.current is None else [self.frozen, self.current]
        shape = (self.base.out_features, self.base.in_features)
        whole = self.merged is None or self.merged.shape == shape
        same = len(self.frozen.lora_A) == sum(frozen_ranks)
        return whole and same and all(adapter.fits(self.base) for adapter in adapters)

    def merged_weight(self) -> Tensor:
        """Return the weight with what was merged into it for good; of a quantized one the latter alone."""
        if self.quantized:
            shape = (self.base.out_features, self.base.in_features)
            return self.like.new_zeros(shape, device=self.device) if self.merged is None else self.merged
        return self.base.weight if self.merged is None else self.base.weight + self.merged

    def terms(self, parts: Iterable[Part] = PARTS, in_pass: bool = False) -> list[Term]:
        """Return what the adapters add to the weight as they are now: the one place that scales them."""
        learned = dict(zip(PARTS, self._ask_scales(in_pass), strict=True))
        found = []
        for part in parts:
            adapter = self.current if part == "current" else self.frozen
            if adapter is not None and len(adapter.lora_A):
                scale = learned[part]
                times: Tensor | float = self.scaling
                if scale is not None:
                    times = scale if self.scaling == 1.0 else self.scaling * scale
                found.append(Term(adapter.lora_A, adapter.lora_B, times))
        return found

    def forward(self, x: Tensor) -> Tensor:
        """Map `(..., d_in)` to `(..., d_out)`."""
        inside: list[Term] = []
        beside: list[Term] = []
        for term in self.terms(self._beside, in_pass=True):
            chosen = inside if self._belongs_inside(term, x) else beside
            chosen.append(term.to(x.device))
        y = self._through_weight(x, inside)
        # One mask for all adapters, as O-LoRA samples it; predictions, made without gradients, get none.
        x = functional.dropout(x, self.dropout, training=torch.is_grad_enabled())
        for term in beside:
            middle = functional.linear(x, term.lora_a)
            if isinstance(term.scale, Tensor) or term.scale != 1.0:
                middle = middle * _by_row(term.scale, middle)
            y = _add_product(y, middle, term.lora_b)
        return y

    def _belongs_inside(self, term: Term, x: Tensor) -> bool:
        """Return whether a step puts the term into the weight: same values but for rounding, at less cost."""
        scale, weight = term.scale, self.base.weight
        if self.quantized or self.dropout or term.lora_a.requires_grad:
            return False
        if not isinstance(scale, Tensor) or scale.dim() > 1 or not scale.requires_grad:
            return False
        # A weight of few digits would lose what the adapters add.
        mixed = any(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda"))
        if mixed or weight.dtype not in (torch.float32, torch.float64):
            return False
        return costs_less_inside(x[..., 0].numel(), len(term.lora_a), *weight.shape)

    def _through_weight(self, x: Tensor, inside: Sequence[Term]) -> Tensor:
        if self.quantized:
            y = self.base(x)
            return y if self._answering is None else y + functional.linear(x, self._answering)
        weight = self.base.weight if self._answering is None else self._answering
        for term in inside:
            weight = torch.addmm(weight, term.lora_b, term.scale_a())
        return functional.linear(x, weight, self.base.bias)

    def delta(self, *parts: Part) -> Tensor:
        """Return what the adapters, or some, add to the weight: `(d_out, d_in)`, in float32 or float64."""
        total = exact(self.like.new_zeros(self.base.out_features, self.base.in_features))
        for number, term in enumerate(self.terms(parts or PARTS)):
            product = exact(term.lora_b) @ exact(term.scale_a())
            total = total + product if number else product
        return total

    def frozen_delta(self, lora_a: Tensor, lora_b: Tensor) -> Tensor:
        """Return what one frozen adapter adds at scale alpha / r: `(d_out, d_in)`, in float32 or float64."""
        return exact(lora_b) @ exact(Term(lora_a, lora_b, self.scaling).scale_a())

    def answer_with(self, weight: Tensor | None, beside: tuple[Part, ...] = PARTS) -> None:
        """Use a weight until the next call; None for what `merged_weight` returns.

        Args:
            weight: `(d_out, d_in)`; of a quantized layer what is added to its own.
            beside: the adapters that are still added to it.
        """
        self._beside = beside
        self._answering = weight if weight is not None or self.merged is None else self.merged_weight()

    def answering(self) -> tuple[Tensor | None, tuple[Part, ...]]:
        """Return what `answer_with` was last called with, as it takes it."""
        return self._answering, self._beside

    def merge(self, *parts: Part) -> None:
        """Answer with a copy of the weight that holds some of the adapters as they are now.

        Adapters of a quantized layer stay beside it, which is the same answer.
        """
        if self.quantized:
            self.answer_with(None)
            return
        weight = self.merged_weight().detach()
        for term in self.terms(parts):
            term = term.to(self.device)
            weight = torch.addmm(weight, term.lora_b.detach(), term.scale_a().detach())
        self.answer_with(weight, tuple(part for part in PARTS if part not in parts))


def costs_less_inside(rows: int, rank: int, d_out: int, d_in: int) -> bool:
    """Return whether a step costs less with frozen adapters of learned scales inside the weight.

    Multiply-adds of a forward and a backward pass: beside the weight N R (d_in + d_out) for what the adapters
    add, and as many for the gradient of x, of which that of the scales falls off; inside it R d_in d_out for
    B (s * A), as many for its gradient, and N d_in d_out for the gradient of the weight.

    Args:
        rows: N, how many inputs the layer gets in the step.
        rank: R, of all frozen adapters together.
    """
    return 2 * rows * rank * (d_in + d_out) > (2 * rank + rows) * d_in * d_out


def exact(tensor: Tensor) -> Tensor:
    """Return the tensor in float32, or in float64 if it is that already: a basis needs the digits."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _by_row(scale: Tensor | float, middle: Tensor) -> Tensor | float:
    """Return scales `(R,)` or, one for each row, `(n, R)`, in a shape that multiplies `(n, ..., R)`."""
    if not isinstance(scale, Tensor) or scale.dim() < 2:
        return scale
    return scale.view(len(scale), *[1] * (middle.dim() - 2), scale.shape[1])


def _add_product(y: Tensor, middle: Tensor, lora_b: Tensor) -> Tensor:
    """Return y + middle B^T in one kernel, for `(..., d_out)` and `(..., R)`."""
    flat = torch.addmm(y.flatten(0, -2), middle.flatten(0, -2), lora_b.t())
    return flat.view(y.shape)
