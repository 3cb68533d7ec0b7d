"""Measures what a training step of each method costs at its last task, over its first."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch

from benchmark.data.batches import Rows
from benchmark.data.images import ImageSettings
from benchmark.method import Context, Method, Phase
from benchmark.models.backbone import LoadedBackbone, quiet
from benchmark.models.make import make_task_model
from benchmark.profiling.speed import Size, print_times
from benchmark.profiling.step_timer import Mark, StepTimer, Times
from benchmark.protocol import Protocol
from benchmark.registry import METHODS
from benchmark.running.building import prepare_device
from benchmark.running.checkpoint import reseed
from benchmark.running.task_loop import begin_task, learn_task
from benchmark.running.training import train
from benchmark.stream import Examples, Task

ROUNDS = 8


def main(methods: list[str], tasks: int, size: Size, device: str = "cpu") -> None:
    """Print a markdown table: seconds of a step at task 1, least and most, and the ratio at task `tasks`.

    The two take turns, so that drift of the machine hits both. Steps are those of a task's first phase. A
    method that trains on all tasks at once has no first task and is left out.
    """
    place = prepare_device(device)
    timer, rows = StepTimer(place), []
    for name in methods:
        first, last = (at_task(name, t, tasks, size, place) for t in (0, tasks - 1))
        if first is None or last is None:
            continue
        one, many = compare(timer, first, last)
        ratio = f"{many.median / one.median:.2f}"
        rows.append(
            {
                "method": name,
                f"{timer.clock} at T = 1": one.describe(),
                f"T = {tasks}": ratio,
                "passes per prediction": f"{last[0].accounting().passes_per_prediction:g}",
            }
        )
        print(f"{name}: {ratio}", flush=True)
    print_times(rows, timer)


def at_task(
    name: str, t: int, count: int, size: Size, device: torch.device
) -> tuple[Method, Phase, Rows] | None:
    """Return a method that has begun task t, its first phase and the task's rows; None if nothing trains."""
    stream = [make_up_task(task, size) for task in range(count)]
    settings: dict[str, Any] = {"name": "speed", "source": "this suite", "backbone": "ViT", "epochs": 1}
    protocol = Protocol(**settings, batch_size=size.batch, rank=size.rank, targets=("query", "value"))
    make = METHODS.load(name)
    if "image" not in make.kinds:
        return None
    loaded = vision_transformer(size)
    loaded.module.to(device)
    reseed(0, "build")
    method = make(Context(make_task_model(loaded, stream, protocol), protocol, count), make.Hyperparameters())

    def encode(task: int) -> Rows:
        return method.task_model.encode(stream[task], stream[task].train)

    if any(list(method.training_tasks(task)) != [task] for task in range(t + 1)):
        return None
    for earlier in range(t):
        learn_task(method, earlier, encode, seed=0)
    rows, phases = begin_task(method, t, encode, seed=0)
    first = next(iter(phases), None)
    return None if first is None else (method, first, rows)


def vision_transformer(size: Size) -> LoadedBackbone:
    """Return a random ViT of that size: what a step costs does not depend on the weights."""
    import transformers

    quiet(transformers)
    torch.manual_seed(0)
    module = transformers.ViTModel(size.shape(), add_pooling_layer=False).eval()
    settings = ImageSettings(size.side, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return LoadedBackbone("image", module, size.width, images=settings)


def compare(
    timer: StepTimer, first: tuple[Method, Phase, Rows], last: tuple[Method, Phase, Rows]
) -> tuple[Times, Times]:
    """Return the times of a step of the first and of the last, which take turns."""
    times = timer.new(), timer.new()
    for turn in range(ROUNDS + 1):
        for taken, (method, phase, rows) in zip(times, (first, last), strict=True):
            marks: list[Mark] = [timer.mark()]
            train(method, phase, rows, (turn,), lambda share, marks=marks: marks.append(timer.mark()))  # type: ignore[misc]
            if turn:  # the first turn warms up
                for start, end in pairwise(marks):
                    timer.between(taken, start, end)
    return times


def make_up_task(t: int, size: Size) -> Task:
    """Return a task of two classes of random pictures: what a step costs does not depend on what is seen."""
    generator = np.random.RandomState(t)
    pixels = generator.randint(0, 256, (size.batch, size.side, size.side)).astype(np.uint8)
    examples = Examples(pixels, np.arange(size.batch) % 2, None, [str(row) for row in range(size.batch)])
    return Task(f"task {t}", examples, examples, classes=(f"{t}a", f"{t}b"))
