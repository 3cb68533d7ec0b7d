"""The search for hyper-parameters: its space, its judge worked by hand, and what survives a stop."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.publishing import leaderboard, report
from benchmark.publishing.collect import sections
from benchmark.registry import METHODS
from benchmark.results import Tuned, read
from benchmark.running.catalogue import load_method
from benchmark.running.events import Callback, Event, TaskDone
from benchmark.running.job import Conditions, Job, Outcome
from benchmark.running.plan import plan
from benchmark.running.run import Run
from benchmark.running.sweep_folder import SweepFolder
from benchmark.running.worker import run_job
from benchmark.tuning import search as tuning
from benchmark.tuning.search import OptunaJudge, Search, tune
from benchmark.tuning.search_space import RATES, Between, drop_fixed, points, space_of
from benchmark.tuning.tuning_file import by_place, set_flags
from benchmark.tuning.tuning_file import read as read_search
from tests import factories
from tests.command import invoke

SMALL = ["stream.planes=null", "stream.tasks=4", "stream.train_rows=16", "stream.test_rows=16", "epochs=2"]


@pytest.fixture
def optuna_is_there() -> None:
    """Skip where the extra `tune` is not installed."""
    if importlib.util.find_spec("optuna") is None:
        reason = "needs Optuna, the extra `tune`"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


def search(trials: int, method: str = "litelora") -> Search:
    return Search(method, "toy", trials, settings=SMALL)


def run_search(asked: Search, out: Path, callback: Any = lambda event: None) -> Path:
    return tune(asked, out, None, "cpu", Conditions(), callback)


@pytest.mark.parametrize("key", METHODS.names())
def test_every_method_accepts_every_value_of_its_space(key: str) -> None:
    method = load_method(key)
    space = space_of(method)
    assert space or "learning_rate" not in method.Hyperparameters.model_fields
    for name, values in space.items():
        assert name in method.Hyperparameters.model_fields
        for value in (values.low, values.high) if isinstance(values, Between) else values:
            assert getattr(method.Hyperparameters(**{name: value}), name) == value


def test_a_space_is_listed_only_where_it_is_finite_and_small() -> None:
    space = {"a": (1, 2), "b": ("x", "y")}
    # 2 x 2 points, the last name moving first.
    expected = [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]
    assert points(space, 4) == expected
    assert points(space, 3) is None
    assert points({"a": (1,), "b": Between(0.1, 1)}, 100) is None


def test_what_is_set_is_not_searched() -> None:
    space = {"learning_rate": RATES, "orthogonal": Between(0.05, 5)}
    assert list(drop_fixed(space, ["epochs=3", "o-lora.orthogonal=1"], "o-lora")) == ["learning_rate"]
    with pytest.raises(UserError, match="--set fixes all"):
        drop_fixed(space, ["learning_rate=1", "orthogonal=1"], "o-lora")
    with pytest.raises(UserError, match="nothing to tune in ncm"):
        Search("ncm", "toy", 3).space()


@pytest.mark.parametrize(("low", "high", "log"), [(1, 1, False), (2, 1, False), (0, 1, True)])
def test_a_span_must_be_one(low: float, high: float, log: bool) -> None:
    with pytest.raises(ValueError, match="no span"):
        Between(low, high, log)


class FakeTrial:
    """Stands in for a trial: remembers what is reported and gives up when a value is below a half."""

    def __init__(self) -> None:
        self.values: dict[int, float] = {}

    def report(self, value: float, step: int) -> None:
        self.values[step] = value

    def should_prune(self) -> bool:
        return self.values[max(self.values)] < 0.5


def test_a_trial_of_two_runs_is_judged_by_the_mean_of_both() -> None:
    reporting = FakeTrial()
    judge = OptunaJudge(trial=reporting)  # type: ignore[arg-type]
    assert not judge.hopeless(0, 2, 0.75)
    assert not judge.hopeless(1, 2, 0.25), "the last task of a run is never the end"
    judge.complete([[0.75], [0.0, 0.5]])
    # Third task of the trial: (0.25 + 0.5) / 2 = 0.375, which the stand-in gives up.
    assert judge.hopeless(0, 2, 0.5)
    assert reporting.values == {1: 0.75, 2: 0.25, 3: 0.375}
    assert judge.latest == (3, 0.375)
    assert not judge.hopeless(1, 3, None), "what is not measured is not judged"


def test_a_stopped_search_goes_on_and_a_repeated_one_runs_nothing(
    tmp_path: Path, optuna_is_there: None
) -> None:
    first = run_search(search(8), tmp_path / "a")
    learned: list[str] = []

    def stop_at_eleven(event: Event) -> None:
        if isinstance(event, TaskDone):
            learned.append(f"{event.run.identity} {event.task}")
            if len(learned) == 11:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_search(search(8), tmp_path / "b", stop_at_eleven)
    path = run_search(search(8), tmp_path / "b", stop_at_eleven)
    assert path.read_bytes() == first.read_bytes()
    assert len(learned) == len(set(learned)), "no task is learned twice"
    before = len(learned)
    run_search(search(8), tmp_path / "b", stop_at_eleven)
    assert len(learned) == before
    states = [trial.state for trial in read_search(path).trials]
    assert "pruned" in states and "complete" in states
    # Trials that are added later stand behind the same first ones.
    longer = run_search(search(9), tmp_path / "b")
    assert read_search(longer).trials[:8] == read_search(first).trials


def test_a_stop_that_the_user_asked_for_is_no_pruning(tmp_path: Path, optuna_is_there: None) -> None:
    stop = tmp_path / "stop"

    def ask(event: Event) -> None:
        if isinstance(event, TaskDone):
            stop.touch()

    with pytest.raises(KeyboardInterrupt):
        tune(search(8), tmp_path / "runs", None, "cpu", Conditions(stop=stop), ask)
    assert not (tmp_path / "runs" / "tuning").exists()


def test_a_trial_that_breaks_loses_and_the_others_go_on(
    tmp_path: Path, optuna_is_there: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_at_one_rate(job: Job, callback: Callback) -> Outcome:
        if job.run.hyperparameters["learning_rate"] != 0.003:
            return run_job(job, callback)
        SweepFolder(job.out).note_failure(job.run, "the loss is not finite")
        return Outcome(job.run, error="the loss is not finite")

    monkeypatch.setattr(tuning, "run_job", break_at_one_rate)
    found = read_search(run_search(search(5, "seq-lora"), tmp_path))
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert [trial.values for trial in failed] == [{"learning_rate": 0.003}]
    assert failed[0].error == "the loss is not finite" and failed[0].score is None
    assert found.chosen.values != failed[0].values
    # What failed is remembered, and is not tried again.
    monkeypatch.setattr(tuning, "run_job", lambda job, callback: pytest.fail("run again"))
    again = read_search(run_search(search(5, "seq-lora"), tmp_path))
    assert [trial.state for trial in again.trials] == [trial.state for trial in found.trials]


def test_the_choice_is_the_best_complete_trial_on_validation_rows(
    tmp_path: Path, optuna_is_there: None
) -> None:
    path = run_search(search(20, "seq-lora"), tmp_path)
    assert path == tmp_path / "tuning" / "toy" / "smoke" / "seq-lora.json"
    found = read_search(path)
    # Five rates and no more: each once, whatever the number of trials allowed.
    assert [trial.values["learning_rate"] for trial in found.trials] == list(RATES)
    assert found.chosen.trials == 5
    complete = [trial for trial in found.trials if trial.state == "complete"]
    best = max(trial.score or 0 for trial in complete)
    assert found.chosen.values == next(trial.values for trial in complete if trial.score == best)
    rate = found.chosen.values["learning_rate"]
    (run,) = plan(
        "seq-lora", "toy", seeds="1000", settings=[*SMALL, f"learning_rate={rate}", "score_on=validation"]
    )
    (path,) = [path for path in (tmp_path / "toy" / "smoke").glob("*.json") if Run.of(read(path)) == run]
    assert read(path).headline["average_performance"] == best


def test_fewer_trials_than_points_try_as_many_different_points(tmp_path: Path, optuna_is_there: None) -> None:
    # The sampler, which knows nothing of grids, names one of the five rates again among the first four.
    found = read_search(run_search(search(4, "seq-lora"), tmp_path))
    tried = [trial.values["learning_rate"] for trial in found.trials]
    assert len(tried) == len(set(tried)) == found.chosen.trials == 4


def tuned_file(folder: Path, **changes: Any) -> Path:
    """Write what a search of two trials would have chosen."""
    chosen = {"trials": 2, "sampler": "s", "pruner": "p", "selection": "validation", "space": {}}
    data = {
        "tuning_version": 1,
        "method": "seq-lora",
        "stream": "toy",
        "protocol": "smoke",
        "backbone": "linear",
        "orders": ["1"],
        "seeds": [1000],
        "settings": [],
        "chosen": {**chosen, "values": {"learning_rate": 0.02}},
        "trials": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"search-{len(list(folder.iterdir()))}.json"
    path.write_text(json.dumps(data | changes), encoding="utf-8")
    return path


def test_tuned_and_default_runs_stand_in_rows_of_their_own(tmp_path: Path) -> None:
    file, out = tuned_file(tmp_path / "found"), tmp_path / "runs"
    flags = ["run", "--method", "seq-lora", "--stream", "toy", "--out", out]
    flags += [part for text in SMALL for part in ("--set", text)]
    for extra in ([], ["--seed", 1, "--tuned", file], ["--seed", 2, "--set", "learning_rate=0.02"]):
        assert invoke(*flags, *extra).exit_code == 0
    results = sorted((read(path) for path in out.rglob("*.json")), key=lambda result: result.seed)
    marks = [result.provenance.tuned and result.provenance.tuned.mark for result in results]
    assert marks == [None, "tuned, 2 trials", None]
    assert results[1].config["hyperparameters"]["learning_rate"] == 0.02
    (section,) = sections(results)
    assert [row.label for row in section.rows if len(row.results) == 1] == [row.label for row in section.rows]
    default = results[0].config["hyperparameters"]["learning_rate"]
    # The values of seeds 1 and 2 are the same; only one of them was searched for.
    assert sorted(row.label for row in section.rows) == sorted(
        [
            f"seq-lora (learning_rate={default})",
            "seq-lora (learning_rate=0.02)",
            "seq-lora (learning_rate=0.02; tuned, 2 trials)",
        ]
    )


def test_a_choice_that_a_setting_replaces_is_not_called_tuned(tmp_path: Path) -> None:
    tuned = by_place([tuned_file(tmp_path)])
    (kept,) = plan("seq-lora", "toy", tuned=tuned)
    assert isinstance(kept.tuned, Tuned) and kept.hyperparameters["learning_rate"] == 0.02
    (given,) = plan("seq-lora", "toy", settings=["learning_rate=0.02"])
    assert given.identity == kept.identity, "how a value was found is no part of the run"
    (replaced,) = plan("seq-lora", "toy", settings=["learning_rate=0.03"], tuned=tuned)
    assert replaced.tuned is None and replaced.hyperparameters["learning_rate"] == 0.03


def test_the_test_rows_as_judge_are_named() -> None:
    facts: dict[str, Any] = {"sampler": "s", "pruner": "p", "space": {}, "values": {}}
    assert Tuned(trials=1, selection="validation", **facts).mark == "tuned, 1 trial"
    assert Tuned(trials=20, selection="paper", **facts).mark == "tuned, 20 trials on TEST rows"
    (run,) = Search("seq-lora", "toy", 1, selection="paper").runs({"learning_rate": 0.5})
    assert run.protocol.score_on == "test" and run.hyperparameters["learning_rate"] == 0.5
    with pytest.raises(UserError, match="--selection"):
        Search("seq-lora", "toy", 1, settings=["protocol.score_on=test"]).space()


def test_flags_give_back_what_was_chosen() -> None:
    assert set_flags("er-lora", {"buffer": "reservoir", "rehearsed": 4, "learning_rate": 0.01}) == (
        "--set er-lora.buffer=reservoir --set er-lora.rehearsed=4 --set er-lora.learning_rate=0.01"
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stream": "digits"}, "none of the runs"),
        ({"tuning_version": 7}, "tuning_version 7"),
        ({"trials": 3}, "trials: "),
        ({"extra": 1}, "extra: "),
    ],
)
def test_a_file_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    file = tuned_file(tmp_path, **change)
    flags = ["--method", "seq-lora", "--stream", "toy", "--out", tmp_path / "runs"]
    done = invoke("run", *flags, "--tuned", file)
    assert done.exit_code == 2
    assert words in done.stderr and done.stderr.count("\n") == 1


def test_values_of_another_method_are_refused(tmp_path: Path) -> None:
    chosen = {"trials": 2, "sampler": "s", "pruner": "p", "selection": "validation", "space": {}}
    file = tuned_file(tmp_path, chosen={**chosen, "values": {"learning_rat": 0.02}})
    with pytest.raises(UserError, match="did you mean 'learning_rate'"):
        plan("seq-lora", "toy", tuned=by_place([file]))
    with pytest.raises(UserError, match="second file"):
        by_place([file, file])


def test_without_optuna_one_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = invoke("tune", "--method", "seq-lora", "--stream", "toy", "--out", tmp_path)
    assert done.exit_code == 2
    assert "pip install optuna" in done.stderr and done.stderr.count("\n") == 1


def test_trials_without_validation_rows_end_the_search(tmp_path: Path, optuna_is_there: None) -> None:
    with pytest.raises(UserError, match="has none"):
        run_search(Search("seq-lora", "toy", 5, settings=[*SMALL, "validation=0"]), tmp_path)


def test_the_number_of_runs_is_known_before(optuna_is_there: None) -> None:
    # Five rates, then 20 points of a span; two seeds each.
    assert tuning.runs(Search("seq-lora", "toy", 20, seeds="0-1")) == 10
    assert tuning.runs(Search("o-lora", "toy", 20, seeds="0-1")) == 40


def test_pages_tell_the_search_and_reports_take_no_search_for_a_result(tmp_path: Path) -> None:
    facts: dict[str, Any] = {"selection": "validation", "sampler": "TPE, seed 0", "pruner": "halving"}
    chosen = Tuned(trials=20, space={"rate": [1, 2]}, values={"rate": 2}, **facts)
    found = factories.result("alpha", provenance=factories.provenance(tuned=chosen))
    factories.save(tmp_path, found, factories.result("beta"))
    leaderboard.build(tmp_path, tmp_path)
    page = (tmp_path / f"{found.stream}.md").read_text(encoding="utf-8")
    assert "| alpha (tuned, 20 trials) " in page and "| beta  " in page
    expected = (
        '- **alpha (tuned, 20 trials)**: TPE, seed 0, halving; space {"rate": \\[1, 2]}; chosen {"rate": 2}'
    )
    assert expected in page
    folder = tmp_path / "results"
    tuned_file(folder / "tuning" / "toy" / "smoke")
    report.build(folder, tmp_path / "report.html")
    assert "alpha (tuned, 20 trials)" in (tmp_path / "report.html").read_text(encoding="utf-8")
