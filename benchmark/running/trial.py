"""Whether a method works on a kind of backbone, by doing it: a task on a small model, saved and restored."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.batches import ImageRows, Rows, TokenRows, VectorRows
from benchmark.data.images import ImageSettings
from benchmark.errors import UserError
from benchmark.method import Context, Method
from benchmark.models.backbone import LoadedBackbone
from benchmark.models.linear import INPUTS, VISIBLE
from benchmark.models.make import make_task_model
from benchmark.models.small_models import HIDDEN, small_model
from benchmark.protocol import Protocol
from benchmark.running.checkpoint import reseed
from benchmark.running.task_loop import learn_task
from benchmark.running.training import train
from benchmark.stream import Examples, Task

ARCHITECTURES = {"vector": "linear", "image": "ViT", "encoder": "BERT", "seq2seq": "T5", "causal": "Llama"}
ROWS, VOCABULARY = 4, 16


def trial(make: type[Method], kind: str) -> str | None:
    """Return why a method cannot be trained, saved and restored on a kind of backbone; None where it can.

    Args:
        make: the method; its hyper-parameters are the defaults.
    """
    try:
        method, rows = _build(make, kind), _rows(kind, make.probes)
        before: list[Tensor] = []

        def train_phase(method: Method, *rest: Any) -> int:
            before.append(_answers(method, rows))
            return train(method, *rest)

        learn_task(method, 0, lambda t: rows, 0, train_phase)
        again = _build(make, kind)
        again.restore(method.state())
        first, second = (_answers(each, rows) for each in (method, again))
    except UserError as error:
        return str(error)
    except Exception as error:  # whatever a library raises is what the trial is for
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    if not before or torch.equal(first, before[0]):
        return "a step changes nothing"
    return None if torch.equal(first, second) else "restored, it answers otherwise"


@torch.no_grad()
def _answers(method: Method, rows: Rows) -> Tensor:
    return method.task_model.outputs(rows.batch(range(ROWS), training=True))[1]


def _build(make: type[Method], kind: str) -> Method:
    reseed(0, "trial")
    module = small_model(kind, VOCABULARY).eval()
    module.requires_grad_(False)
    backbone = LoadedBackbone(kind, module, VISIBLE if kind == "vector" else HIDDEN)  # type: ignore[arg-type]
    targets = ("projection",) if kind == "vector" else ("query", "value")
    settings: dict[str, Any] = {"name": "trial", "source": "ours", "backbone": "linear", "rank": 2}
    # The small models have few positions.
    protocol = Protocol(**settings, targets=targets, source_length=16, target_length=8)
    nothing = Examples(np.zeros(0))
    tasks = [Task("trial", nothing, nothing, classes=("a", "b"))]
    task_model = make_task_model(backbone, tasks, protocol, make.probes)
    return make(Context(task_model, protocol, 1), make.Hyperparameters())


def _rows(kind: str, probe: bool) -> Rows:
    """Return rows that differ from one another."""
    labels = torch.arange(ROWS) % 2
    if kind == "vector":
        return VectorRows(torch.eye(ROWS, INPUTS), labels)
    if kind == "image":
        pixels = np.arange(ROWS * 16 * 16 * 3).reshape(ROWS, 16, 16, 3) % 251
        return ImageRows(pixels.astype(np.uint8), labels, ImageSettings(16, (0.5,) * 3, (0.5,) * 3))
    prompts = [[4 + row, 5, 6 + row][: 2 + row % 2] for row in range(ROWS)]
    if kind == "encoder" or (probe and kind == "causal"):
        return TokenRows(prompts, 0, labels)
    return TokenRows(prompts, 0, None, [[8 + row, 2] for row in range(ROWS)], kind == "causal")
