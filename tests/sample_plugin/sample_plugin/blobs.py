"""Sample blobs: two tasks of two Gaussian classes in 48 dimensions; a stream from outside the suite."""

from __future__ import annotations

from pydantic import BaseModel, Field

from benchmark.protocol import Protocol
from benchmark.stream import Examples, LoadedStream, Request, Stream, Task, protocols

ORDERS = {"forward": ("near", "far"), "backward": ("far", "near")}
DISTANCE = {"near": 1.0, "far": 3.0}


class Blobs(BaseModel):
    """The stream's own settings."""

    rows: int = Field(40, ge=8, description="training rows of a task")


def load(request: Request) -> LoadedStream:
    """Return the tasks in the order asked for."""
    rows = request.parameters.rows
    tasks = [_task(name, rows) for name in ORDERS[request.order]]
    return LoadedStream(tasks, "drawn by the sample plugin")


def _task(name: str, rows: int) -> Task:
    import numpy as np

    random = np.random.default_rng(len(name))
    centres = DISTANCE[name] * random.standard_normal((2, 48)).astype(np.float32)

    def draw(count: int, split: str) -> Examples:
        labels = np.arange(count) % 2
        noise = random.standard_normal((count, 48)).astype(np.float32)
        return Examples(centres[labels] + noise, labels, ids=[f"{name}-{split}-{i}" for i in range(count)])

    return Task(name, draw(rows, "train"), draw(20, "test"), classes=(f"{name} a", f"{name} b"))


STREAM = Stream(
    name="sample-blobs",
    title="Sample blobs, 2 tasks of 2 classes",
    kind="vector",
    licence="public domain",
    citation="none",
    homepage="none",
    orders=ORDERS,
    protocols=protocols(
        Protocol(
            name="smoke",
            source="the sample plugin",
            backbone="linear",
            batch_size=8,
            rank=2,
            targets=("projection",),
        )
    ),
    load=load,
    parameters=Blobs,
)
