"""What a method learned on a GPU is what it learns on a CPU, and moves between the two.

In float64, so that what sums in another order still answers alike.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmark.method import Method
from benchmark.running.building import prepare_device
from tests import tiny

everywhere = tiny.everywhere()
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
SHORT = {"epochs": 1, "batch_size": 4}
TASKS = 3


def fresh(key: str, kind: str, device: str) -> Method:
    stream = tiny.tasks(kind, TASKS, rows=4)
    return tiny.make_method(key, kind, torch.float64, stream, SHORT, device=device)


def answers(method: Method, t: int) -> list[Any]:
    """Return the predictions of a task's test rows."""
    taken = tiny.whole(tiny.rows(method, t, "test")).to(method.task_model.device)
    return list(method.predict(taken, t if method.needs.task_id else None))


def answers_of_all(method: Method) -> list[list[Any]]:
    return [answers(method, t) for t in range(TASKS)]


@everywhere
def test_what_one_device_learned_answers_alike_on_the_other(key: str, kind: str) -> None:
    for home, abroad in (("cuda", "cpu"), ("cpu", "cuda")):
        learned = fresh(key, kind, home)
        for t in range(TASKS):
            tiny.learn(learned, t)
        moved = fresh(key, kind, abroad)
        moved.restore({name: value.cpu() for name, value in learned.state().items()})
        assert answers_of_all(moved) == answers_of_all(learned), f"learned on {home}"


@everywhere
def test_learning_goes_on_after_a_stop_as_without_one(key: str, kind: str) -> None:
    undisturbed, stopped = fresh(key, kind, "cuda"), fresh(key, kind, "cuda")
    for t in range(TASKS - 1):
        tiny.learn(undisturbed, t)
    stopped.restore({name: value.cpu() for name, value in undisturbed.state().items()})
    for method in (undisturbed, stopped):
        tiny.learn(method, TASKS - 1)
    first, second = undisturbed.state(), stopped.state()
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(
            second[name], value, rtol=1e-9, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )


@everywhere
def test_equal_runs_give_equal_bytes(key: str, kind: str) -> None:
    prepare_device("cuda")
    first, second = fresh(key, kind, "cuda"), fresh(key, kind, "cuda")
    for method in (first, second):
        for t in range(TASKS):
            tiny.learn(method, t)
    assert tiny.same(first.state(), second.state())


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_a_seed_starts_alike_on_both_devices(kind: str) -> None:
    here, there = (fresh("inc-lora", kind, device) for device in ("cpu", "cuda"))
    for method in (here, there):
        tiny.begin(method, 0)
    state = {name: value.cpu() for name, value in there.state().items()}
    assert tiny.same(here.state(), state)
