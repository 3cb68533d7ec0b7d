"""Synthetic vectors whose tasks need hidden directions that overlap by a known amount; runs in seconds.

An input has 16 visible coordinates, pure noise, and 32 hidden ones that hold the signal. A backbone that
passes only the visible ones learns nothing without an adapter. Task t's class means lie in a plane of the
hidden space, and the cosine of both principal angles between the planes of any two tasks is `overlap`:

    U_t = sum_k L[t, k] Q_k,    L L^T = (1 - overlap) I + overlap 1 1^T,

with Q_1 .. Q_T orthonormal 32 x 2 bases, mutually orthogonal. Then U_s^T U_t = overlap I for s != t and
U_t^T U_t = I. At overlap 1 all tasks share plane and class means, so the first adapter suffices for all; at
overlap 0 no adapter serves two tasks.

With `planes` there may be fewer planes than tasks, and several tasks share a plane and its class means: the
first one of a plane needs an adapter of its own, the others can borrow it. The result holds this answer, so
that a method's decisions to keep adapters can be judged. The protocol `smoke` has three planes for six tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from benchmark.protocol import Protocol
from benchmark.stream import Examples, LoadedStream, Request, Sources, StatedTask, Stream, Task, protocols

if TYPE_CHECKING:
    import numpy as np

VISIBLE, HIDDEN, RANK = 16, 32, 2


class Parameters(BaseModel):
    """Settings of the stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    overlap: float = Field(0.5, ge=0, le=1, description="cosine of the angles between two tasks' subspaces")
    tasks: int = Field(5, ge=1, description="number of tasks")
    classes: int = Field(2, ge=2, description="new classes of each task")
    train_rows: int = Field(100, ge=2, description="training rows of a class")
    test_rows: int = Field(50, ge=1, description="test rows of a class")
    noise: float = Field(0.4, ge=0, description="deviation of the hidden noise; class means have length 1")
    planes: int | None = Field(
        None, ge=1, description="planes that the tasks share, at most one each; none: one for each task"
    )

    @model_serializer(mode="wrap")
    def _without_unset(self, given: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A run without it is the run that it was before the setting existed.
        return {name: value for name, value in given(self).items() if name != "planes" or value is not None}


def bases(overlap: float, tasks: int, generator: np.random.RandomState) -> np.ndarray:
    """Return one orthonormal basis a task, `(tasks, 32, 2)`, at the given principal cosine of any two.

    Raises:
        UserError: that many subspaces do not fit in the hidden space.
    """
    import numpy as np

    from benchmark.errors import UserError

    if overlap < 1 and tasks * RANK > HIDDEN:
        raise UserError(
            f"{tasks} tasks of rank {RANK} need {tasks * RANK} hidden dimensions and there are {HIDDEN}; "
            f"set tasks to at most {HIDDEN // RANK}, or overlap to 1"
        )
    square, upper = np.linalg.qr(generator.standard_normal((HIDDEN, HIDDEN)))
    # The signs of a QR decomposition are the library's choice; these are unique.
    square = square * np.sign(np.diag(upper))
    if overlap == 1:
        return np.stack([square[:, :RANK]] * tasks)
    mixing = np.linalg.cholesky((1 - overlap) * np.eye(tasks) + overlap)
    blocks = square[:, : tasks * RANK].reshape(HIDDEN, tasks, RANK)
    return np.einsum("tk,hkr->thr", mixing, blocks)


def directions(basis: np.ndarray, classes: int) -> np.ndarray:
    """Return unit class means `(classes, 32)`, spread evenly on a circle in the plane; for two, +u and -u."""
    import numpy as np

    angles = 2 * np.pi * np.arange(classes) / classes
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) @ basis.T


def rows(
    means: np.ndarray, count: int, noise: float, split: str, generator: np.random.RandomState
) -> Examples:
    """Sample `count` rows of each class, float32 `(classes * count, 48)`, visible coordinates first."""
    import numpy as np

    labels = np.repeat(np.arange(len(means)), count)
    visible = generator.standard_normal((len(labels), VISIBLE))
    hidden = means[labels] + noise * generator.standard_normal((len(labels), HIDDEN))
    # Rounded, so that the last bits of a machine's arithmetic do not reach the data's fingerprint.
    inputs = np.round(np.concatenate([visible, hidden], axis=1), 4).astype(np.float32)
    return Examples(inputs, labels.astype(np.int64), None, [f"{split}-{row}" for row in range(len(labels))])


def load(request: Request) -> LoadedStream:
    """Return the tasks, sampled from `RandomState(seed)`."""
    import numpy as np

    settings = request.parameters or Parameters()
    generator = np.random.RandomState(request.seed)
    tasks = []
    count = min(settings.planes or settings.tasks, settings.tasks)
    made = bases(settings.overlap, count, generator)
    planes = list(range(settings.tasks))
    if count < settings.tasks:
        planes = generator.permutation(np.arange(settings.tasks) % count).tolist()
    for number, basis in enumerate((made[plane] for plane in planes), 1):
        means = directions(basis, settings.classes)
        tasks.append(
            Task(
                f"task {number:02d}",
                train=rows(means, settings.train_rows, settings.noise, "train", generator),
                test=rows(means, settings.test_rows, settings.noise, "test", generator),
                classes=tuple(f"task {number:02d} class {k + 1}" for k in range(settings.classes)),
            )
        )
    # At overlap 1 all planes are one.
    same = [0] * len(planes) if settings.overlap == 1 else planes
    needed = tuple(plane not in same[:t] for t, plane in enumerate(same))
    return LoadedStream(tasks, f"synthetic, seed {request.seed}", needs_adapter=needed)


def state_tasks(order: str, parameters: Mapping[str, Any]) -> list[StatedTask]:
    """Return the tasks as the settings alone give them."""
    settings = Parameters.model_validate(parameters)
    return [
        StatedTask(
            f"task {number:02d}",
            tuple(f"task {number:02d} class {k + 1}" for k in range(settings.classes)),
            settings.classes * settings.train_rows,
            settings.classes * settings.test_rows,
        )
        for number in range(1, settings.tasks + 1)
    ]


SMOKE = Protocol(
    name="smoke",
    source="this suite: seconds on one CPU core",
    backbone="linear",
    # Classes of two tasks may share a mean, so only the classes of a row's own task can be told apart.
    head="task-incremental",
    epochs=20,
    batch_size=16,
    rank=2,
    targets=("projection",),
)

STREAM = Stream(
    name="toy",
    title="Synthetic vectors with a known overlap between tasks",
    kind="vector",
    licence="Apache-2.0",
    citation="this suite",
    homepage="",
    orders={"1": None},
    protocols=protocols(SMOKE),
    load=load,
    parameters=Parameters,
    sources=Sources(bundled="this package, drawn at random"),
    stated=state_tasks,
    published={SMOKE.name: {"tasks": 6, "planes": 3}},
)
