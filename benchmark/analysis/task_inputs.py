"""What the adapted layers of a finished run see of each task's own rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.analysis.leave_one_out import with_stack
from benchmark.analysis.redundancy import Inputs
from benchmark.data.batches import batch_by_length
from benchmark.lora.inputs import observe_inputs, real_tokens, token_masks
from benchmark.lora.stack import AdapterStack
from benchmark.method import Method
from benchmark.results import read
from benchmark.running.readings import visible_task_id

ROWS = 64
TOKENS = 512
"""The most rows that are read of a task, and the most tokens of them that are kept for a layer."""


def task_inputs(path: Path, data_dir: Path | None, stream_files: Sequence[Path] = ()) -> Inputs:
    """Return the inputs of adapted layers while a finished run predicts each task's training rows.

    The run is as it was after its last task, with all its adapters. Rows, and then their tokens, are taken
    at even distances, so the same file gives the same inputs. Images are not augmented.

    Args:
        stream_files: that describe streams, where the result's is not a registered one.
    """
    method, stack, loaded = with_stack(read(path), path, data_dir, "there is no effect to fit", stream_files)
    return {task: _inputs(method, stack, task) for task in range(len(loaded.tasks))}


@torch.no_grad()
def _inputs(method: Method, stack: AdapterStack, index: int) -> dict[str, np.ndarray]:
    task_model, task = method.task_model, method.task_model.tasks[index]
    seen: dict[str, list[Tensor]] = {}
    masks: list[Tensor] = []

    def see(layer: str, x: Tensor) -> None:
        seen.setdefault(layer, []).append(real_tokens(x, masks).float().cpu())

    rows = task_model.encode(task, task.train.take(evenly(len(task.train), ROWS)))
    with observe_inputs(stack, see):
        for batch in batch_by_length(rows, method.protocol.evaluation_batch_size, task_model.device):
            masks[:] = token_masks(batch)
            method.predict(batch, visible_task_id(method, index))
    tokens = {layer: torch.cat(parts).numpy() for layer, parts in seen.items()}
    return {layer: found[evenly(len(found), TOKENS)] for layer, found in tokens.items()}


def evenly(count: int, most: int) -> np.ndarray:
    """Return at most `most` of `count` places at even distances, the first among them."""
    kept = min(count, most)
    return np.arange(kept) * count // max(1, kept)
