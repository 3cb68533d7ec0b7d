"""Loggers of outside packages, with stand-ins for them: what is sent, by run and task, and what is not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.registry import LOGGERS
from benchmark.running.events import Event, RunDone, TaskDone
from benchmark.running.job import Outcome
from benchmark.running.logged_runs import LoggedRuns, facts
from benchmark.running.plan import plan
from benchmark.running.run import Run

Sent = list[tuple[Any, ...]]


def runs() -> list[Run]:
    return plan("seq-lora", "toy", seeds="0-1")


def story(first: Run, second: Run) -> list[Event]:
    """Two runs at work at the same time: one complete, one failed; a third event for none of them."""
    return [
        TaskDone(first, 0, 2, "pears", 0.5, 0.5, 1.0),
        TaskDone(second, 0, 2, "pears", None, None, 2.0),
        TaskDone(first, 1, 2, "plums", 0.25, 0.375, 1.5),
        RunDone(second, Outcome(second, error="broke")),
        RunDone(first, Outcome(first, Path("first.json"))),
        RunDone(first, Outcome(first, skipped=True)),
    ]


EXPECTED = [
    ("open", 0),
    ("log", 0, {"score": 0.5, "mean": 0.5, "seconds": 1.0}, 1),
    ("open", 1),
    ("log", 1, {"seconds": 2.0}, 1),
    ("log", 0, {"score": 0.25, "mean": 0.375, "seconds": 1.5}, 2),
    ("finish", 1, False),
    ("finish", 0, True),
]
"""By the run's seed; what was not measured is not sent, and a run that was skipped has no run."""


class Wandb(SimpleNamespace):
    """Stands in for `wandb`."""

    def __init__(self, sent: Sent) -> None:
        def init(**options: Any) -> Any:
            seed = options["config"]["seed"]
            sent.append(("open", seed))
            self.options = options
            assert options["reinit"] == "create_new" and options["resume"] == "allow"

            def log(values: dict[str, float]) -> None:
                step = values.pop("task")
                sent.append(("log", seed, values, step))

            def finish(exit_code: int) -> None:
                sent.append(("finish", seed, exit_code == 0))

            return SimpleNamespace(define_metric=lambda name, step_metric: None, log=log, finish=finish)

        super().__init__(init=init, Settings=lambda **options: options)


class Trackio(SimpleNamespace):
    """Stands in for `trackio`."""

    def __init__(self, sent: Sent) -> None:
        current: ContextVar[str | None] = ContextVar("current", default=None)

        def init(project: str, name: str, config: dict[str, Any], resume: str, embed: bool) -> Any:
            seed = config["seed"]
            # As the package does, which has one current run in a context.
            assert current.get() is None, "another run would be ended here"
            current.set(name)
            print("Trackio project initialized")
            sent.append(("open", seed))
            return SimpleNamespace(
                log=lambda values, step: sent.append(("log", seed, values, step)),
                # The package does not take how it ended; the run with seed 1 is the one that failed.
                finish=lambda: sent.append(("finish", seed, seed == 0)),
            )

        super().__init__(init=init)


class Mlflow(SimpleNamespace):
    """Stands in for `mlflow`."""

    def __init__(self, sent: Sent) -> None:
        made: list[str] = []
        params: dict[str, dict[str, Any]] = {}
        now: dict[str, tuple[int, dict[str, float]]] = {}

        class Client:
            def __init__(self, uri: str) -> None:
                assert uri.startswith("sqlite:///") and uri.endswith(".sweep/mlflow.db")

            def get_experiment_by_name(self, name: str) -> Any:
                return SimpleNamespace(experiment_id="7") if made else None

            def create_experiment(self, name: str) -> str:
                made.append(name)
                return "7"

            def create_run(self, experiment: str, run_name: str, tags: dict[str, str]) -> Any:
                assert experiment == "7" and len(made) == 1
                params[run_name] = {}
                return SimpleNamespace(info=SimpleNamespace(run_id=run_name))

            def log_param(self, run_id: str, name: str, value: Any) -> None:
                params[run_id][name] = value
                if name == "seed":
                    sent.append(("open", value))

            def log_metric(self, run_id: str, name: str, value: float, step: int) -> None:
                seed = params[run_id]["seed"]
                if name in ("score",) or (name == "seconds" and now.get(run_id, (0, {}))[0] != step):
                    now[run_id] = (step, {})
                    sent.append(("log", seed, now[run_id][1], step))
                now[run_id][1][name] = value

            def set_terminated(self, run_id: str, status: str) -> None:
                sent.append(("finish", params[run_id]["seed"], status == "FINISHED"))

        super().__init__(MlflowClient=Client)


PACKAGES: dict[str, Callable[[Sent], Any]] = {"wandb": Wandb, "trackio": Trackio, "mlflow": Mlflow}


@pytest.mark.parametrize("name", PACKAGES)
def test_each_run_has_a_run_with_a_point_for_each_task(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: Sent = []
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setitem(sys.modules, name, PACKAGES[name](sent))
    callback = LOGGERS.load(name)(tmp_path)
    for event in story(*runs()):
        callback(event)
    assert sent == EXPECTED
    assert capsys.readouterr().out == "", "what a package prints is no data of ours"


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_package_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=f"--log {name} needs .*: pip install {name}"):
        LOGGERS.load(name)(tmp_path)


def test_what_wandb_would_collect_unasked_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Wandb([])
    monkeypatch.setitem(sys.modules, "wandb", package)
    LOGGERS.load("wandb")(tmp_path)(story(*runs())[0])
    given = package.options["settings"]
    assert given["console"] == "off" and given["disable_git"] and given["disable_code"]
    assert given["x_disable_meta"] and given["x_disable_machine_info"]
    assert Path(package.options["dir"]).is_relative_to(tmp_path)


def test_facts_are_the_settings_and_nothing_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "do-not-tell")
    found = facts(runs()[0])
    assert found["method"] == "seq-lora" and found["seed"] == 0
    assert found["protocol.name"] == "smoke" and "hyperparameters.learning_rate" in found
    assert found["zero_shot"] is False
    assert "do-not-tell" not in str(found)


def test_a_package_that_fails_is_reported_once_and_stops_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    def log(values: Mapping[str, float], step: int) -> None:
        raise ConnectionError("no\nroute")

    def finish(complete: bool) -> None:
        raise AssertionError("not asked any more")

    callback = LoggedRuns("broken", lambda run: (log, finish))
    for event in story(*runs()):
        callback(event)
    assert capsys.readouterr().err == "--log broken failed, nothing more is sent to it: no route\n"
