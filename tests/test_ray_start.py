"""How Ray is started: what is reported meanwhile, and what is refused in one line. Nothing here starts it."""

from __future__ import annotations

import time
from typing import Any

import pytest
import ray

from benchmark.errors import UserError
from benchmark.running.driver import open_executor, run_in_process
from benchmark.running.executors import ray as on_ray
from benchmark.running.job import Conditions

GIB = 1024**3


def quiet(line: str) -> None:
    """Tell nobody."""


class Machines:
    """In the place of Ray: a cluster of machines with these resources."""

    def __init__(self, *resources: dict[str, float]) -> None:
        self.resources = resources

    def nodes(self) -> list[dict[str, Any]]:
        dead = {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 99.0, "memory": 999.0 * GIB}}
        return [dead, *({"Alive": True, "Resources": each} for each in self.resources)]


SMALL, LARGE = {"CPU": 2.0, "memory": 4.0 * GIB}, {"CPU": 8.0, "memory": 16.0 * GIB, "GPU": 1.0}


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        # Less than the largest machine has, if no more than all have together: 4 + 16 GiB, 2 + 8 CPUs.
        ({"memory": 16 * GIB, "cpus": 8.0, "gpus": 1.0}, None),
        ({"memory": 17 * GIB}, "--memory 17 GiB is more than the 16 that the largest machine of the cluster"),
        ({"cpus": 9.0}, "--cpus 9 is more than the 8 CPUs that the largest machine"),
        ({"gpus": 2.0}, "--gpus 2 is more than the 1 GPUs that the largest machine"),
    ],
    ids=["fits", "memory", "cpus", "gpus"],
)
def test_what_no_machine_has_is_refused(asked: dict[str, Any], refusal: str | None) -> None:
    conditions = Conditions(address="auto", **asked)
    if refusal is None:
        on_ray._check_resources(Machines(SMALL, LARGE), conditions)
        return
    with pytest.raises(UserError, match=refusal):
        on_ray._check_resources(Machines(SMALL, LARGE), conditions)


def test_more_memory_than_this_machine_has_is_refused_before_ray_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("Ray was started"))
    conditions = Conditions(memory=10**6 * GIB)
    with (
        pytest.raises(UserError, match=r"^--memory 1e\+06 GiB is more than the .* that this machine can set"),
        open_executor(2, conditions, quiet),
    ):
        pass


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (
            Conditions(),
            ["Ray did not start on this machine: no raylet;", "leave out --workers and --timeout"],
        ),
        (Conditions(address="ray://there:1"), ["no Ray cluster at --address ray://there:1: no raylet"]),
    ],
    ids=["here", "there"],
)
def test_ray_that_does_not_start_is_one_line(
    conditions: Conditions, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(*_: Any, **__: Any) -> None:
        raise Exception("no raylet\nand a long story")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(UserError) as caught, open_executor(2, conditions, quiet):
        pass
    assert "\n" not in str(caught.value) and "story" not in str(caught.value)
    assert all(word in str(caught.value) for word in words)


def test_a_wait_is_reported_at_its_start_meanwhile_and_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "REMIND_SECONDS", 0.05)
    lines: list[str] = []
    with on_ray.waiting("starting it", lines.append):
        time.sleep(0.3)
    assert lines[0] == "starting it ..." and lines[-1] == "starting it: ready after 0 s"
    assert len(lines) > 2 and set(lines[1:-1]) == {"starting it: 0 s so far"}


def test_a_wait_that_fails_is_not_told_to_be_over() -> None:
    lines: list[str] = []
    with pytest.raises(UserError), on_ray.waiting("starting it", lines.append):
        raise UserError("no")
    assert lines == ["starting it ..."]


def test_a_run_alone_needs_no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("Ray was started"))
    with open_executor(1, Conditions(), quiet) as executor:
        assert executor is run_in_process
