"""What a search makes high: rows of two objectives share no table, where it makes a difference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.protocol import Protocol
from benchmark.publishing.collect import is_searched, load_files, objective_of, same_run, sections
from benchmark.publishing.submission import validation_errors
from benchmark.results import Result
from benchmark.space import BY_RULE, SearchRule
from tests.command import ROOT
from tests.factories import provenance, result, tuned

RULE: dict[str, Any] = {"rates": {"sgd": [0.01, 0.1]}, "orders": ["x"], "seeds": [1000]}
AP, AIA = "average_performance", "average_anytime"
AT_ONCE = [[None] * 3, [None] * 3, [0.9, 0.9, 0.9]]


def searched(method: str, objective: str, **changes: Any) -> Result:
    """Return a run under a protocol that searches by an objective, as its values were."""
    rule = SearchRule.model_validate(RULE | {"objective": objective})
    protocol = Protocol(name="standard", source="made up", backbone="seed", search=rule)
    chosen = tuned().model_copy(update={"sampler": BY_RULE, "objective": objective})
    return result(method, protocol=protocol, provenance=provenance(tuned=chosen), **changes)


def published(stream: str, method: str) -> tuple[Path, Result]:
    found, problems = load_files(ROOT / "leaderboards")
    assert not problems
    return next((path, run) for path, run in found if (run.stream, run.method) == (stream, method))


def with_objective(run: Result, objective: str) -> Result:
    settings = run.protocol_settings
    search = {**settings["search"], "objective": objective}
    return run.model_copy(update={"config": {**run.config, "protocol": {**settings, "search": search}}})


def test_rows_of_two_objectives_stand_in_two_tables_and_joint_training_in_both() -> None:
    runs = [
        searched("alpha", AP),
        searched("beta", AIA),
        searched("joint", AP, scores=AT_ONCE, reference=True),
        searched("frozen", AIA, steps=[0, 0, 0], reference=True),
    ]
    parts = sections(runs)
    assert [sorted(row.first.method for row in part.rows) for part in parts] == [
        ["beta", "frozen", "joint"],
        ["alpha", "frozen", "joint"],
    ]
    assert [part.note for part in parts] == [f"search.objective={AIA}", f"search.objective={AP}"]
    # Of these alone neither asks for a table of its own.
    assert [part.note for part in sections(runs[2:])] == [""]


def test_an_objective_counts_where_several_stages_are_scored_after_training() -> None:
    assert objective_of(searched("alpha", AIA)) == AIA
    assert objective_of(searched("joint", AIA, scores=AT_ONCE)) is None
    assert objective_of(searched("frozen", AIA, steps=[0, 0, 0])) is None
    assert objective_of(result()) is None, "its protocol states no search"


def test_a_search_for_another_objective_than_the_protocols_is_none() -> None:
    run = searched("alpha", AIA)
    assert is_searched(run)
    assert not is_searched(with_objective(run, AP))
    joint = searched("joint", AIA, scores=AT_ONCE)
    assert is_searched(with_objective(joint, AP))
    # A rule that names no objective has the first there was.
    settings = run.protocol_settings
    bare = {name: value for name, value in settings["search"].items() if name != "objective"}
    unnamed = {"config": {**run.config, "protocol": {**settings, "search": bare}}}
    assert not is_searched(run.model_copy(update=unnamed))


def test_a_run_is_published_once_whatever_its_search_made_high() -> None:
    assert same_run(searched("alpha", AP)) == same_run(searched("alpha", AIA))


def test_a_published_row_has_the_registered_objective_where_it_counts() -> None:
    path, joint = published("standard-cl", "joint")
    assert joint.protocol_settings["search"]["objective"] == AP, "made before the rule named another one"
    assert list(validation_errors(joint, path)) == []
    path, row = published("cifar100", "sd-lora")
    (reason,) = validation_errors(with_objective(row, AIA), path)
    assert "not the registered 'standard'" in reason and "search.objective" in reason
