"""The search that a protocol states: its grid and its extension by hand, what it writes, what it resumes."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.publishing.collect import is_searched
from benchmark.registry import METHODS, STREAMS
from benchmark.result_files import read_all
from benchmark.running import tuned_values
from benchmark.running.catalogue import load_method
from benchmark.running.events import TaskDone
from benchmark.running.job import Conditions
from benchmark.running.plan import plan
from benchmark.space import BY_RULE, SearchRule
from benchmark.tuning import tuned_section
from benchmark.tuning.rule_search import (
    EXTENSIONS,
    BoundJudge,
    as_search,
    grid_of,
    in_order,
    next_point,
    search_by_rule,
    why_not,
)
from benchmark.tuning.tuned_section import without_section
from benchmark.tuning.tuning_file import TrialFacts, read
from tests.factories import provenance, result, tuned

RULE = {"rates": {"sgd": [0.01, 0.1], "adamw": [0.001, 0.01]}, "orders": ["1"], "seeds": [1000], "tasks": 2}
SETTINGS = ["stream.tasks=3", "stream.train_rows=16", "stream.test_rows=16", "epochs=1"]
SETTINGS.append(f"protocol.search={json.dumps(RULE)}")


def rule() -> SearchRule:
    return SearchRule.model_validate(RULE)


def trial(rate: float, score: float | None, optimiser: str = "sgd") -> TrialFacts:
    values = {"optimizer": optimiser, "learning_rate": rate}
    return TrialFacts(values=values, state="pruned" if score is None else "complete", score=score, tasks=2)


def run_search(out: Path, method: str = "seq-lora", callback: Any = lambda event: None) -> Path:
    asked = as_search(rule(), method, "toy", None, None, SETTINGS)
    return search_by_rule(rule(), asked, out, None, "cpu", Conditions(), callback)


@pytest.mark.parametrize("rates", [(0.1,), (0.1, 0.01), (0.0, 0.1), (0.001, 0.01, 0.02)])
def test_a_grid_rises_evenly_on_a_log_scale(rates: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="log scale"):
        SearchRule.model_validate(RULE | {"rates": {"sgd": rates}})
    # 1, 3, 10, 30 rises by 3 and 3.33, which is even to one digit.
    SearchRule.model_validate(RULE | {"rates": {"sgd": (0.01, 0.03, 0.1, 0.3)}})


def test_every_optimiser_has_its_rates_and_a_method_of_one_optimiser_has_them_all() -> None:
    points = grid_of(load_method("seq-lora"), rule())
    assert [tuple(point.values()) for point in points] == [
        ("sgd", 0.01),
        ("sgd", 0.1),
        ("adamw", 0.001),
        ("adamw", 0.01),
    ]
    assert rule().trials == 4
    assert grid_of(load_method("ncm"), rule()) == []


@pytest.mark.parametrize("key", METHODS.names())
def test_every_method_accepts_every_point(key: str) -> None:
    method = load_method(key)
    for point in grid_of(method, rule()):
        method.Hyperparameters(**point)


def test_the_grid_goes_on_beyond_its_end_by_its_own_ratio() -> None:
    low = [trial(0.01, 0.9), trial(0.03, 0.8), trial(0.1, 0.7)]
    # 0.01 x 0.01 / 0.03 = 0.00333
    assert next_point(low) == {"optimizer": "sgd", "learning_rate": 0.00333}
    high = [trial(0.01, 0.7), trial(0.03, 0.8), trial(0.1, 0.9)]
    # 0.1 x 0.1 / 0.03 = 0.333
    assert next_point(high) == {"optimizer": "sgd", "learning_rate": 0.333}
    inside = [trial(0.01, 0.7), trial(0.03, 0.9), trial(0.1, 0.9)]
    assert next_point(inside) is None, "an inner rate is as good as that at the end"
    # A pruned trial is never the best, and the rates of another optimiser are another grid.
    assert next_point([trial(0.01, None), trial(0.03, None)]) is None
    other = [trial(0.001, 0.5, "adamw"), trial(0.01, 0.6, "sgd"), trial(0.1, 0.5, "sgd")]
    assert next_point(other) == {"optimizer": "sgd", "learning_rate": 0.001}


def test_a_trial_ends_that_could_no_longer_be_chosen() -> None:
    judge = BoundJudge(best=0.5)
    # One task of three is learned: (0 + 1 + 1) / 3 = 0.67 can still be reached.
    assert not judge.hopeless(0, 3, 0.0)
    # Two of three: (0.3 + 0.3 + 1) / 3 = 0.53, and (0.2 + 0.2 + 1) / 3 = 0.47.
    assert not judge.hopeless(1, 3, 0.3)
    assert judge.hopeless(1, 3, 0.2) and judge.latest == (2, 0.2)
    assert not BoundJudge().hopeless(1, 3, 0.0), "the first trial has none to stay below"


def test_the_lower_score_after_two_tasks_may_be_the_higher_one_after_three() -> None:
    # A high rate reads 0.32 after two tasks, the last learned to 0.64 and the first forgotten, and in the end
    # 0.12; a low one 0.22 after two tasks, and may end above that.
    assert not BoundJudge(best=0.12).hopeless(1, 3, 0.22)


def test_average_incremental_accuracy_counts_every_stage() -> None:
    judge = BoundJudge(objective="average_anytime", best=0.6)
    # 0.4 after one task, then at best (0.4 + 1) / 2 = 0.7 and (0.4 + 2) / 3 = 0.8, in the mean 0.63
    assert not judge.hopeless(0, 3, 0.4)
    # 0.3 after two, then at best (0.6 + 1) / 3 = 0.53: (0.4 + 0.3 + 0.53) / 3 = 0.41
    assert judge.hopeless(1, 3, 0.3) and judge.latest == (2, pytest.approx(0.35))
    judge.complete([[0.4], [0.1, 0.5], [0.0, 0.1, 0.8]])
    assert judge.score == pytest.approx((0.4 + 0.3 + 0.3) / 3)
    # What learned all tasks at once has one stage.
    at_once = BoundJudge(objective="average_anytime")
    at_once.complete([[None, None], [0.2, 0.6]])
    assert at_once.score == pytest.approx(0.4)


def test_the_objective_is_in_no_key_since_the_values_that_it_chooses_are() -> None:
    def identity(**changes: str) -> dict[str, Any]:
        search = SearchRule.model_validate(RULE | changes)
        return Protocol(name="x", source="x", backbone="x", search=search).identity()

    assert identity() == identity(objective="average_anytime")
    assert identity()["search"]["objective"] == "average_performance"


def test_of_a_trial_of_two_runs_the_second_may_be_perfect() -> None:
    judge = BoundJudge(best=0.6, runs=2)
    # (0.2 x 1/2 + 1/2 + 1) / 2 = 0.8
    assert not judge.hopeless(0, 2, 0.2)
    judge.complete([[0.2], [0.3, 0.3]])
    # (0.3 + 0.9 x 1/2 + 1/2) / 2 = 0.625, then (0.3 + 0.7 x 1/2 + 1/2) / 2 = 0.575
    assert not judge.hopeless(0, 2, 0.9)
    assert judge.hopeless(0, 2, 0.7)


def test_references_are_searched_first() -> None:
    assert in_order(["o-lora", "joint", "sd-lora", "frozen"]) == ["frozen", "joint", "o-lora", "sd-lora"]


def test_a_search_learns_the_first_tasks_and_extends_at_most_twice(tmp_path: Path) -> None:
    found = read(run_search(tmp_path))
    assert 4 <= len(found.trials) <= 6
    assert all(facts.tasks <= 2 for facts in found.trials)
    assert found.chosen.sampler == BY_RULE and found.chosen.tuned_on == ["1/1000"]
    runs = [run for _, run in read_all(tmp_path / "toy")[0]]
    assert {len(run.tasks) for run in runs} == {2}
    assert {run.config["protocol"]["score_on"] for run in runs} == {"validation"}
    best = max(facts.score or 0 for facts in found.trials if facts.state == "complete")
    chosen = next(facts for facts in found.trials if facts.score == best and facts.state == "complete")
    assert found.chosen.values == chosen.values


def test_a_repeated_search_runs_nothing_and_writes_the_same(tmp_path: Path) -> None:
    first = run_search(tmp_path).read_bytes()
    learned: list[Any] = []

    def note(event: Any) -> None:
        if isinstance(event, TaskDone):
            learned.append(event)

    assert run_search(tmp_path, callback=note).read_bytes() == first
    assert learned == []


def ask(out: Path, *flags: str) -> str:
    """Return what `bench tune --dry-run` prints; it leaves nothing behind."""
    before = sorted(out.rglob("*"))
    done = CliRunner().invoke(app, ["tune", "--stream", "toy", "--out", str(out), "--dry-run", *flags])
    assert done.exit_code == 0, done.output
    assert sorted(out.rglob("*")) == before
    return " ".join(done.stdout.split())


def test_a_dry_run_counts_the_trials_and_what_is_left_of_them(tmp_path: Path) -> None:
    flags = ["--method", "ncm,seq-lora", *(part for text in SETTINGS for part in ("--set", text))]
    before = ask(tmp_path, *flags)
    assert before.startswith("ncm: nothing to search, it has no learning rate")
    assert "seq-lora toy 4 0 " in before and "1 search: " in before and f"up to {EXTENSIONS} more" in before
    run_search(tmp_path)
    # Pruned trials have no result; that they ended stands in the file of the search.
    after = ask(tmp_path, *flags)
    assert "seq-lora toy 4 4 0 s" in after and after.endswith("1 search: all done")


def test_a_dry_run_of_sampled_points_knows_none_before(tmp_path: Path) -> None:
    assert "litelora toy 7 0 " in ask(tmp_path, "--method", "litelora", "--trials", "7")


def test_joint_training_is_searched_on_the_first_tasks_too(tmp_path: Path) -> None:
    found = read(run_search(tmp_path, "joint"))
    assert all(facts.state == "complete" and facts.tasks == 2 for facts in found.trials)


def test_what_cannot_be_searched_is_reported() -> None:
    def reason(method: str) -> str:
        return why_not(as_search(rule(), method, "toy", None, None, ()), rule())

    assert "no learning rate" in reason("ncm")
    assert reason("seq-lora") == ""
    with pytest.raises(UserError, match="give --trials to search freely"):
        as_search(rule(), "seq-lora", "toy", None, None, ["seq-lora.learning_rate=0.1"])


def test_the_choice_becomes_the_protocols_and_other_sections_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "tuned"
    for module in (tuned_values, tuned_section):
        monkeypatch.setattr(module, "folders", lambda method: iter([kept]))
    file = kept / "toy" / "smoke.toml"
    file.parent.mkdir(parents=True)
    other = '# By hand.\n[o-lora]\nvalues = { learning_rate = 0.5 }\nsource = "a paper"\n'
    file.write_text(f'{other}\n[seq-lora]\nvalues = {{ learning_rate = 0.7 }}\nsource = "old"\n')
    flags = ["tune", "--method", "ncm,seq-lora", "--stream", "toy", "--out", tmp_path / "runs"]
    flags += [part for text in SETTINGS for part in ("--set", text)]
    done = CliRunner().invoke(app, [str(flag) for flag in [*flags, "--write"]])
    assert done.exit_code == 0, done.output
    assert "ncm: nothing to search" in done.stdout
    assert file.read_text().startswith(other) and "0.7" not in file.read_text()
    section = tuned_values.read_tuned(file)["seq-lora"]
    assert section.search is not None and 4 <= len(section.trials) <= 6
    assert {"optimizer", "learning_rate", "state", "validation_ap"} <= section.trials[0].keys()
    # A run takes the values and says that they were searched for; a rate by hand says that it was not.
    (run,) = plan("seq-lora", "toy")
    assert run.tuned is not None and run.tuned.sampler == BY_RULE
    assert section.values.items() <= run.hyperparameters.items()
    (by_hand,) = plan("seq-lora", "toy", settings=["learning_rate=0.0123"])
    assert by_hand.tuned is None
    (published,) = plan("o-lora", "toy")
    assert published.tuned is None and published.hyperparameters["learning_rate"] == 0.5


def test_only_a_protocols_own_search_is_written() -> None:
    flags = ["tune", "--method", "seq-lora", "--stream", "toy", "--write"]
    done = CliRunner().invoke(app, flags)
    assert done.exit_code == 2 and "--write" in done.stderr and done.stderr.count("\n") == 1


def test_searches_that_end_side_by_side_lose_no_section(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuned_section, "folders", lambda method: iter([tmp_path]))
    found = read(run_search(tmp_path / "runs"))
    methods = ("inc-lora", "o-lora", "sd-lora", "seq-lora")
    written = tuned_section.write_section(found)

    def read_slowly(path: Path) -> Any:
        time.sleep(0.05)  # what another writes meanwhile would be lost
        return tuned_values.read_tuned(path)

    monkeypatch.setattr(tuned_section, "read_tuned", read_slowly)
    with ThreadPoolExecutor(len(methods)) as pool:
        list(pool.map(tuned_section.write_section, (found.model_copy(update={"method": m}) for m in methods)))
    assert sorted(tuned_values.read_tuned(written)) == sorted(methods)


def test_sections_are_cut_with_what_lies_below_them() -> None:
    text = '[a]\nx = [\n    1,\n]\n[a.search]\ny = 1\n["b"]\nz = 2\n'
    assert without_section(text, "a") == '["b"]\nz = 2\n'
    assert without_section(text, "b") == "[a]\nx = [\n    1,\n]\n[a.search]\ny = 1\n"


def test_a_search_beside_the_protocols_rule_does_not_count() -> None:
    protocol = Protocol(name="standard", source="made up", backbone="seed", search=rule())
    free = result(protocol=protocol, provenance=provenance(tuned=tuned()))
    by_rule = tuned().model_copy(update={"sampler": BY_RULE})
    assert not is_searched(free)
    assert is_searched(result(protocol=protocol, provenance=provenance(tuned=by_rule)))


def test_a_protocol_without_a_rule_keeps_its_keys() -> None:
    smoke = Protocol(name="smoke", source="made up", backbone="seed")
    assert not {"search", "first_tasks"} & smoke.identity().keys()
    assert {"search", "first_tasks"} <= smoke.model_copy(
        update={"search": rule(), "first_tasks": 2}
    ).identity().keys()


@pytest.mark.parametrize("key", ["standard-cl", "cifar100"])
def test_a_standard_protocol_searches_eight_points_beside_the_reported_runs(key: str) -> None:
    stream = STREAMS.load(key)
    protocol = stream.protocols["standard"]
    stated = protocol.search
    assert stated is not None and stated.trials == 8 and stated.tasks == 3
    assert sorted(stated.rates) == ["adamw", "sgd"]
    assert set(stated.orders) <= set(stream.orders) and not set(stated.orders) & {"1", "2", "3"}
    assert min(stated.seeds) >= 1000, "run i has seed i"
    assert stated.orders[0] in protocol.source and str(stated.seeds[0]) in protocol.source
    assert stream.default_protocol == "smoke"
    assert protocol.validation > 0, "rows to choose by"


def test_the_standard_image_protocol_keeps_images_at_the_side_of_its_backbone() -> None:
    stream = STREAMS.load("cifar100")
    assert stream.published["standard"] == {"size": 56}
    # 60 and 10 rows of each of a task's 10 classes.
    assert (stream.protocols["standard"].train_limit, stream.protocols["standard"].test_limit) == (600, 100)


def test_a_probe_of_a_language_model_is_searched_and_its_zero_shot_score_is_not() -> None:
    def said(method: str) -> str:
        # A preset of the hub: resolving it needs no file here, as that of a fetched one would.
        backbone = "smollm2-135m-instruct"
        return why_not(as_search(rule(), method, "standard-cl", backbone, "standard", ()), rule())

    assert said("linear-probe") == ""
    assert "no head to train" in said("frozen")
