"""Gradient accumulation: a step's batch in several micro-batches, whose gradients add up to the batch's.

A batch's loss is a mean: over its rows for a head, over its answers' tokens for a language model. So the mean
of the micro-batches' losses, each weighted by its share of what is averaged, is the batch's loss, and so are
the gradients, up to the order in which numbers are added. Rows keep the padding of the whole batch. What is
sampled while the loss is computed, as dropout is, is sampled anew for each micro-batch: another draw of the
same distribution.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from benchmark.data.batches import Batch
from benchmark.errors import UserError
from benchmark.method import Method
from benchmark.protocol import Protocol


def micro_batches(batch: Batch, count: int) -> Iterator[tuple[Batch, float | Tensor]]:
    """Yield the parts of a batch, each with its share of the batch's mean loss; the shares sum to 1.

    Parts differ by at most one row; a batch of fewer rows than `count` is cut into single rows. A share is a
    tensor where it is counted in tokens, so that nobody waits for the device.
    """
    if count == 1:
        yield batch, 1.0
        return
    rows, parts = len(batch), min(count, len(batch))
    tokens = None if batch.targets is None else (batch.targets != -100).sum()
    for part in range(parts):
        chosen = slice(rows * part // parts, rows * (part + 1) // parts)
        small = part_of(batch, chosen)
        if tokens is None or small.targets is None:
            yield small, len(small) / rows
        else:
            yield small, (small.targets != -100).sum() / tokens


def part_of(batch: Batch, chosen: slice) -> Batch:
    """Return some rows of a batch, padded as the batch is."""
    return Batch(
        {name: value[chosen] for name, value in batch.inputs.items()},
        None if batch.labels is None else batch.labels[chosen],
        None if batch.targets is None else batch.targets[chosen],
        batch.rows[chosen],
        batch.left,
        batch.answers[chosen],
    )


def require_cheaper_steps(name: str, method: type[Method], protocol: Protocol, gpus: int = 1) -> None:
    """Refuse what saves memory for a method whose steps it would change.

    Accumulation needs a step on a batch to be the mean of steps on its parts, checkpointing needs a block to
    find the same when it is computed again, quantization and several GPUs that nobody asks for the numbers of
    the weights.

    Args:
        gpus: that the backbone is spread over.

    Raises:
        UserError: it is asked for and would compute something else.
    """
    if protocol.micro_batches > 1 and method.whole_batches:
        raise UserError(
            f"protocol.micro_batches={protocol.micro_batches}: the method '{name}' looks at a batch as a "
            "whole, so parts of it give another step; the only valid value is 1"
        )
    if protocol.gradient_checkpointing and not method.checkpoints:
        raise UserError(
            f"protocol.gradient_checkpointing=true: the method '{name}' gives the blocks something for one "
            "pass alone, which would be gone when they are computed again; the only valid value is false"
        )
    reads = method.reads_weights or method.changes_backbone
    if gpus > 1 and reads:
        raise UserError(
            f"--gpus {gpus}: the method '{name}' computes with the pretrained weights, which would lie on "
            "several devices; the only valid value is 1"
        )
    if protocol.quantization != "none" and reads:
        raise UserError(
            f"protocol.quantization={protocol.quantization}: the method '{name}' computes with the "
            "pretrained weights, which are then stored in integers; the only valid value is none"
        )
