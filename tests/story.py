"""A method after a few tasks, and what was seen on the way: what the conformance suite looks at."""

from __future__ import annotations

from functools import cache
from typing import Any

from torch import Tensor

from benchmark.method import Method
from tests import tiny

TASKS = 3
# One epoch of two steps: enough for every phase to run and for momentum to matter.
SHORT = {"epochs": 1, "batch_size": 4}
ROWS = 4  # of a class; 8 of a task


class Story:
    """A method after three tasks, and what was seen on the way."""

    def __init__(self, key: str, kind: str) -> None:
        self.method = fresh(key, kind)
        self.weights = [tiny.bytes_of(self.method.task_model.backbone.module)]
        self.states: list[dict[str, Tensor]] = []
        self.steps: list[int] = []
        for t in range(TASKS):
            self.steps.append(tiny.learn(self.method, t))
            self.weights.append(tiny.bytes_of(self.method.task_model.backbone.module))
            self.states.append({name: value.clone() for name, value in self.method.state().items()})


@cache
def story(key: str, kind: str) -> Story:
    """Return the finished story; tests that change the method make their own."""
    return Story(key, kind)


def fresh(key: str, kind: str, seed: int = 0, **hyperparameters: Any) -> Method:
    stream = tiny.tasks(kind, TASKS, rows=ROWS)
    return tiny.make_method(key, kind, stream=stream, settings=SHORT, seed=seed, **hyperparameters)


def answers(method: Method, t: int, rows: list[int] | None = None, size: int = 64) -> dict[int, Any]:
    """Return the predictions of a task's test rows, by row, as the scorer asks for them."""
    taken = tiny.rows(method, t, "test")
    rows = list(range(len(taken))) if rows is None else rows
    given = t if method.needs.task_id else None
    found: dict[int, Any] = {}
    for start in range(0, len(rows), size):
        chosen = rows[start : start + size]
        found |= dict(zip(chosen, method.predict(taken.batch(chosen), given), strict=True))
    return found


def everything(method: Method) -> dict[str, Tensor]:
    """Return a copy of all that a method holds: the backbone and what is in it, the head, the state."""
    module = method.task_model.backbone.module
    held = {f"backbone.{name}": value for name, value in module.state_dict().items()}
    return {name: value.detach().clone() for name, value in (held | method.state()).items()}
