"""What the adapted layers see: second moments of their inputs over a task's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from benchmark.data.batches import Batch, Rows
from benchmark.lora.layer import exact
from benchmark.lora.stack import AdapterStack


def in_order(rows: Rows, size: int, device: torch.device) -> list[Batch]:
    """Return a task's rows in order, as training sees them: images are augmented, prompts hold answers."""
    return list(read_in_order(rows, size, device))


def read_in_order(rows: Rows, size: int, device: torch.device, training: bool = True) -> Iterator[Batch]:
    """Yield what `in_order` returns, a batch at a time; without `training` as test rows are."""
    for start in range(0, len(rows), size):
        yield rows.batch(range(start, min(start + size, len(rows))), training).to(device)


@contextmanager
def observe_inputs(stack: AdapterStack, see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Within the context, call `see(layer name, input (n, ..., d_in))` before an adapted layer answers."""
    handles = []
    for name, layer in stack.layers.items():
        hook = lambda layer, given, name=name: see(name, given[0].detach().to(layer.like.device))  # noqa: E731
        handles.append(layer.register_forward_pre_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def second_moments(
    loss: Callable[[Batch], Tensor], stack: AdapterStack, given: Iterable[Batch]
) -> dict[str, Tensor]:
    """Return, by layer, the mean of x x^T over rows and tokens, `(d_in, d_in)`, in float32 or float64.

    Not centred. Padded tokens are left out; a Transformer's class token counts like any other.

    Args:
        loss: runs the model on a batch; its value is not used.
    """
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    masks: list[Tensor] = []

    def see(name: str, x: Tensor) -> None:
        x = exact(real_tokens(x, masks))
        sums[name] = sums.get(name, 0) + x.t() @ x
        counts[name] = counts.get(name, 0) + len(x)

    with observe_inputs(stack, see):
        for batch in given:
            masks[:] = token_masks(batch)
            loss(batch)
    return {name: total / counts[name] for name, total in sums.items()}


def token_masks(batch: Batch) -> list[Tensor]:
    """Return the masks `(n, length)` of a batch's prompts and answers that say which tokens are real."""
    masks = []
    if "attention_mask" in batch.inputs:
        masks.append(batch.inputs["attention_mask"].bool())
    if batch.targets is not None and not batch.left:
        masks.append(batch.targets != -100)
    return masks


def real_tokens(x: Tensor, masks: list[Tensor]) -> Tensor:
    """Return the real tokens of `(n, length, d)` as `(tokens, d)`; all of them where no mask has that length.

    Where prompt and answer are equally long, a decoder's input is judged by the prompt's mask.
    """
    if x.dim() == 3:
        for mask in masks:
            if mask.shape == x.shape[:2]:
                return x[mask]
    return x.reshape(-1, x.shape[-1])
