"""What a gate weighs: how much worse a task's rows are answered without the new adapter.

The selection phase, given enough steps, closes a gate where lambda, its penalty, is more than the adapter's
worth: the cross-entropy without the adapter less the cross-entropy with it, in nats. Measured once before the
phase, on the rows that it selects on, the worth shows what any lambda would decide, as far as the loss is
straight in the gate; on held-out rows it shows whether the adapter is worth as much where it was not trained.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor

from benchmark.data.batches import Batch, Rows
from benchmark.lora.inputs import read_in_order


@torch.no_grad()
def measure_worth(
    loss: Callable[[Batch], Tensor],
    gated: Callable[[bool], AbstractContextManager[None]],
    rows: Rows,
    batch_size: int,
    device: torch.device,
) -> dict[str, float]:
    """Return the mean cross-entropy `with` and `without` the adapter, and its `worth`, the difference; nats.

    Takes two forward passes a row and leaves the generators of random numbers as they were. Rows are seen as
    training sees them, augmented alike in both passes; nothing is dropped out.

    Args:
        loss: the mean cross-entropy of a batch.
        gated: a context in which the adapter answers (True) or does not (False).
        rows: at least one.
    """
    sums = {True: 0.0, False: 0.0}
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for batch in read_in_order(rows, batch_size, device):
            for is_open in sums:
                with gated(is_open):
                    sums[is_open] += float(loss(batch)) * len(batch)
    with_adapter, without = sums[True] / len(rows), sums[False] / len(rows)
    return {"with": with_adapter, "without": without, "worth": without - with_adapter}
