"""The runner: outcomes of good, bad and finished runs, the order of events, and Ray beside in-process."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.results import read
from benchmark.running import event_log, losses, sweep_folder
from benchmark.running.data_index import DataIndex
from benchmark.running.driver import run
from benchmark.running.events import Event, RunDone, RunStarted, StepDone, TaskDone
from benchmark.running.job import Job, Outcome
from benchmark.running.plan import plan
from benchmark.running.run import Run
from methods.frozen import METHOD as Frozen
from methods.seq_lora import METHOD as SequentialLoRA
from tasks import toy
from tests.outputs import content

pytestmark = pytest.mark.usefixtures("no_commit")
SMALL = ["stream.tasks=3", "stream.train_rows=16", "stream.test_rows=8", "epochs=2"]


def runs(methods: str, seeds: str = "0", **more: Any) -> list[Run]:
    return plan(methods, "toy", seeds=seeds, settings=SMALL, **more)


def go(
    asked: list[Run], out: Path, workers: int = 1, fresh: bool = False
) -> tuple[list[Outcome], list[Event]]:
    """Run runs and return the outcomes and all events."""
    events: list[Event] = []
    return run(asked, out, None, workers, "cpu", fresh, events.append), events


def test_events_come_in_order_and_fractions_never_fall(tmp_path: Path) -> None:
    asked = runs("litelora,joint")
    outcomes, events = go(asked, tmp_path)
    assert [outcome.error for outcome in outcomes] == [None, None]
    assert [event.run for event in events] == sorted([e.run for e in events], key=asked.index)
    for each, outcome in zip(asked, outcomes, strict=True):
        own = [event for event in events if event.run == each]
        assert own[0] == RunStarted(each, 3)
        assert own[-1] == RunDone(each, outcome)
        assert not any(isinstance(event, (RunStarted, RunDone)) for event in own[1:-1])
        tasks = [event.task for event in own[1:-1] if isinstance(event, (StepDone, TaskDone))]
        assert tasks == sorted(tasks)
        done = [event for event in own if isinstance(event, TaskDone)]
        assert [event.task for event in done] == [0, 1, 2]
        assert outcome.result is not None
        assert [event.name for event in done] == [facts.name for facts in outcome.result.tasks]
        assert [event.score for event in done] == [outcome.result.matrix[t][t] for t in range(3)]
        steps = [event for event in own if isinstance(event, StepDone)]
        assert len(steps) == sum(outcome.result.steps)
        fractions = [event.fraction for event in steps]
        assert fractions == sorted(fractions)
        assert 0 < fractions[0] < 1 and fractions[-1] == pytest.approx(1)
        last = {event.task: place for place, event in enumerate(own) if isinstance(event, StepDone)}
        # A joint run takes no steps before its last task.
        assert [own[place + 1] for place in last.values()] == [e for e in done if e.task in last]
    row = outcomes[0].result
    assert row is not None
    means = [event.mean for event in events if isinstance(event, TaskDone) and event.run == asked[0]]
    expected = [sum(s for s in row.matrix[t][: t + 1] if s is not None) / (t + 1) for t in range(3)]
    assert means == pytest.approx(expected)


def test_every_learned_task_is_reported_with_or_without_optimiser_steps(tmp_path: Path) -> None:
    (ranpac, joint), _ = go(runs("ranpac,joint"), tmp_path)
    assert ranpac.result is not None and joint.result is not None
    # RanPAC steps on its first task alone, and chooses a ridge on each.
    assert [steps > 0 for steps in ranpac.result.steps] == [True, False, False]
    assert [found["ridge"] > 0 for found in ranpac.result.report] == [True, True, True]
    # What joint training leaves out until its last task has nothing to report.
    assert joint.result.report[:2] == [{}, {}]


@pytest.mark.parametrize("place", ["phases", "end_task", "predict", "state"])
def test_an_exception_in_a_method_is_one_line_and_the_others_go_on(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("shapes differ:\n  2 and 3")

    monkeypatch.delenv("BENCH_DEBUG", raising=False)
    monkeypatch.setattr(SequentialLoRA, place, fail)
    outcomes, events = go(runs("frozen,seq-lora,inc-lora"), tmp_path)
    assert [outcome.run.method for outcome in outcomes] == ["frozen", "seq-lora", "inc-lora"]
    broken = outcomes.pop(1)
    assert broken.error is not None
    assert broken.error.startswith(f"RuntimeError: shapes differ: 2 and 3, in {__file__}, line ")
    assert broken.path is None and broken.result is None
    assert all(outcome.result is not None and outcome.error is None for outcome in outcomes)
    assert sum(isinstance(event, RunDone) for event in events) == 3
    assert sorted(p.name.partition("-order")[0] for p in tmp_path.rglob("*.json") if "order" in p.name) == [
        "frozen",
        "inc-lora",
    ]
    monkeypatch.setenv("BENCH_DEBUG", "1")
    with pytest.raises(RuntimeError, match="shapes differ"):
        go(runs("seq-lora"), tmp_path)


def test_a_mistake_found_in_a_run_is_reported_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise UserError("not on a\nMonday")

    monkeypatch.setattr(Frozen, "phases", refuse)
    (outcome,), _ = go(runs("frozen"), tmp_path)
    assert outcome.error == "not on a Monday"


def test_finished_runs_are_skipped_and_marked(tmp_path: Path) -> None:
    first, _ = go(runs("frozen", "0"), tmp_path)
    both, events = go(runs("frozen", "0-1"), tmp_path)
    assert [outcome.skipped for outcome in both] == [True, False]
    assert both[0].result == first[0].result
    assert both[0].path == first[0].path
    skipped = [event for event in events if event.run.seed == 0]
    assert skipped == [RunDone(both[0].run, both[0])]
    again, _ = go(runs("frozen", "0-1"), tmp_path, fresh=True)
    assert [outcome.skipped for outcome in again] == [False, False]


def change_a_test_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the toy stream have other data from now on."""
    rows, state = toy.rows, DataIndex._state

    def changed(means: Any, number: int, noise: float, split: str, generator: Any) -> Any:
        made = rows(means, number, noise, split, generator)
        if split == "test":
            made.inputs[0, 0] += 1
        return made

    monkeypatch.setattr(toy, "rows", changed)
    # A file that changed on disk, which this process cannot do to code that it has loaded.
    monkeypatch.setattr(DataIndex, "_state", lambda index, run: f"{state(index, run)} changed")


def test_a_result_of_other_data_is_named_and_replaced_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = go(runs("frozen", "0-1"), tmp_path)
    before = first[0].result
    change_a_test_row(monkeypatch)
    refused, _ = go(runs("frozen"), tmp_path)
    assert refused[0].error is not None and "\n" not in refused[0].error
    assert str(first[0].path) in refused[0].error and "--fresh" in refused[0].error
    second, _ = go(runs("frozen"), tmp_path, fresh=True)
    assert second[0].error is None and first[0].run == second[0].run
    results = [before, second[0].result]
    assert len({result.key for result in results if result}) == 2
    prints = {result.provenance.data_fingerprint for result in results if result}
    assert len(prints) == 2 and all(one in refused[0].error for one in prints)
    # The old result is gone with its adapters; that of the other seed is not touched.
    left = sorted(path.stem for path in tmp_path.rglob("*.json"))
    assert left == sorted([second[0].path.stem, first[1].path.stem])
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    again, _ = go(runs("frozen"), tmp_path)
    assert again[0].skipped


def test_a_driver_keeps_no_result_of_its_runs(tmp_path: Path) -> None:
    outcomes, _ = go(runs("frozen"), tmp_path)
    assert outcomes[0].path is not None
    assert outcomes[0].result == read(outcomes[0].path) and "matrix" not in repr(vars(outcomes[0]))
    outcomes[0].path.unlink()
    with pytest.raises(UserError, match="json"):
        print(outcomes[0].result)


def test_unfinished_work_on_other_data_is_named_and_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, TaskDone):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(runs("frozen"), tmp_path, None, 1, "cpu", False, stop)
    (started,) = tmp_path.rglob("*.partial")
    kept = (started / "progress.json").read_text(encoding="utf-8")
    change_a_test_row(monkeypatch)
    refused, _ = go(runs("frozen"), tmp_path)
    said = refused[0].error
    assert said is not None and said.startswith(f"{started} has the same settings and other data")
    assert f"of the fingerprint {json.loads(kept)['fingerprint']}, not " in said and "--fresh" in said
    assert (started / "progress.json").read_text(encoding="utf-8") == kept
    # Other settings are another run and go on beside it.
    other, _ = go(plan("frozen", "toy", settings=[*SMALL, "epochs=3"]), tmp_path)
    assert other[0].error is None and started.is_dir()
    done, _ = go(runs("frozen"), tmp_path, fresh=True)
    assert done[0].error is None and not started.exists()


def test_a_zero_shot_run_scores_every_task_at_every_stage_and_before_the_first(tmp_path: Path) -> None:
    planned = plan("seq-lora", "toy", settings=SMALL, zero_shot=True)
    (outcome,), _ = go(planned, tmp_path)
    made = outcome.result
    assert made is not None and outcome.error is None
    assert all(score is not None for row in made.matrix for score in row)
    # Before the first task the head has no class to answer with.
    assert made.untrained == [0.0] * len(made.tasks)
    plain, _ = go(runs("seq-lora"), tmp_path / "plain")
    assert plain[0].result is not None and plain[0].result.untrained is None
    # Scoring more changes nothing of what is learned.
    lower = [[score for score in row if score is not None] for row in plain[0].result.matrix]
    assert lower == [row[: t + 1] for t, row in enumerate(made.matrix)]


def test_where_a_run_runs_is_not_part_of_its_name() -> None:
    (run,) = runs("frozen")
    changes: dict[str, Any] = {
        "method": "joint",
        "stream": "digits",
        "order": "2",
        "seed": 1,
        "backbone": "other",
        "backbone_weights": "0" * 64,
        "protocol": run.protocol.model_copy(update={"epochs": 3}),
        "hyperparameters": {"learning_rate": 1.0},
        "parameters": {**run.parameters, "noise": 0.5},
        "zero_shot": True,
    }
    # Where a stream is described decides nothing: its name, protocol and data are in the key. Nor does how
    # values were found, which are in it themselves.
    assert set(changes) == set(Run.__dataclass_fields__) - {"stream_file", "tuned", "backbone_folder"}
    keys = {replace(run, **{name: value}).key("print") for name, value in changes.items()}
    keys |= {run.key("print"), run.key("another print")}
    assert len(keys) == len(changes) + 2


def test_ray_is_asked_for_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"^Ray cannot be loaded .*: pip install ray, or leave out --workers"):
        go(runs("frozen"), tmp_path, workers=2)


def test_a_worker_tells_the_same_events_through_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = runs("litelora")
    log = sweep_folder.SweepFolder(tmp_path / "there").log(run)
    tail = event_log.Tail(log, run)
    assert tail.events() == []
    monkeypatch.setattr(event_log, "STEP_SECONDS", 0.0)  # every step, however short
    outcome = losses.run_limited(Job(run, tmp_path / "there", None, "cpu", False))
    found = tail.events()
    assert tail.events() == []
    _, events = go([run], tmp_path / "here")
    assert outcome.error is None
    assert [_timeless(event) for event in found] == [_timeless(event) for event in events[:-1]]


def _timeless(event: Event) -> Event:
    return replace(event, seconds=0.0) if isinstance(event, TaskDone) else event


@pytest.mark.slow
def test_ray_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs the ray extra")
    # Workers import the suite from the folder that this process found it in.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    # A cluster that somebody else runs here is not joined unasked; this one does not even exist.
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    asked = [*runs("litelora", "0-1"), *plan("seq-lora", "toy", settings=["rank=17"])]
    here, _ = go(asked, tmp_path / "here")
    there, events = go(asked, tmp_path / "there", workers=2)
    assert here[0].result is not None and here[1].result is not None
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert [outcome.run for outcome in there] == asked
    assert "rank 17 exceeds" in str(here[2].error)
    assert there[2].error == here[2].error
    for each in asked[:2]:
        own = [event for event in events if event.run == each]
        assert isinstance(own[0], RunStarted) and isinstance(own[-1], RunDone)
        assert [event.task for event in own if isinstance(event, TaskDone)] == [0, 1, 2]
    again, _ = go(asked[:2], tmp_path / "there", workers=2)
    assert [outcome.skipped for outcome in again] == [True, True]
