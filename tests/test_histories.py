"""What runs share while their histories are equal changes no byte of a result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.method import Method
from benchmark.registry import METHODS
from benchmark.results import read
from benchmark.running import learner
from benchmark.running.driver import run
from benchmark.running.histories import Histories
from benchmark.running.job import Conditions
from benchmark.running.plan import plan
from benchmark.running.run import Run
from benchmark.running.sweep_folder import HISTORIES, SweepFolder
from benchmark.study.members import decisions_of
from tests.outputs import content

SMALL = ["stream.tasks=4", "stream.train_rows=24", "stream.test_rows=8", "epochs=2"]
ALIGNED = [*SMALL, "head=class-incremental", "alignment=2"]
COMMIT = ("c" * 40, False)


def path_of(*lambdas: float, **settings: Any) -> list[Run]:
    """Return runs of LiteLoRA whose gates close at once, or never, by lambda alone."""
    own = [f"{name}={value}" for name, value in settings.items()]
    texts = [*SMALL, "gate_learning_rate=1", *own]
    return [each for x in lambdas for each in plan("litelora", "toy", settings=[*texts, f"sparsity={x}"])]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the phases that are trained, in order, in a checkout without changes."""
    seen: list[str] = []
    train = learner.train

    def note(method: Any, phase: Any, *others: Any) -> int:
        seen.append(phase.name)
        return train(method, phase, *others)

    monkeypatch.setattr(learner, "train", note)
    monkeypatch.setattr(learner, "git_state", lambda: COMMIT)
    return seen


def go(runs: list[Run], out: Path, share: bool = True) -> None:
    for outcome in run(runs, out, None, 1, "cpu", False, lambda event: None, Conditions(share=share)):
        assert outcome.state == "complete", outcome.error


def kept(out: Path, one: Run) -> list[bool]:
    """Return what a run decided by task."""
    results = (read(path) for path in out.rglob("litelora-*.json"))
    (found,) = (result for result in results if Run.of(result).identity == one.identity)
    return decisions_of(found)


def load_facts(path: Path) -> dict[str, float]:
    with safe_open(path, "pt") as file:
        facts: dict[str, float] = json.loads(file.metadata()["facts"])
    return facts


def test_a_path_of_lambdas_trains_what_is_alike_once(trained: list[str], tmp_path: Path) -> None:
    runs = path_of(0.0, 1e-6, 1e3)
    go(runs, tmp_path / "alone", share=False)
    # Each: 4 tasks and 3 selections.
    assert len(trained) == 3 * 7
    trained.clear()
    go(runs, tmp_path / "shared")
    assert [kept(tmp_path / "shared", one) for one in runs] == [[True] * 4, [True] * 4, [True] + [False] * 3]
    # The first trains all 7, the second its 3 selections alone. The third drops the adapter of task 2, which
    # was trained before that: it has 3 selections and the training of tasks 3 and 4 for itself.
    assert len(trained) == 7 + 3 + 5
    assert content(tmp_path / "shared") == content(tmp_path / "alone")


def test_a_control_shares_with_the_gate_that_it_is_compared_with(trained: list[str], tmp_path: Path) -> None:
    (gate,) = path_of(1e3)
    same, other = (
        plan("keep-given", "toy", settings=[*SMALL, f"decisions={json.dumps(decisions)}"])[0]
        for decisions in ([1, 0, 0, 0], [1, 0, 1, 0])
    )
    go([gate, same, other], tmp_path / "alone", share=False)
    trained.clear()
    go([gate, same, other], tmp_path / "shared")
    # The gate kept the first alone, after 4 tasks and 3 selections; of the other only task 4 is new.
    assert len(trained) == 7 + 0 + 1
    assert content(tmp_path / "shared") == content(tmp_path / "alone")


def test_what_is_trained_after_a_decision_is_not_shared(trained: list[str], tmp_path: Path) -> None:
    # The head is aligned once a control has kept or dropped the adapter: a phase without a gate before it.
    one, other = (
        plan("keep-given", "toy", settings=[*ALIGNED, f"decisions={json.dumps(decisions)}"])[0]
        for decisions in ([1, 0, 0, 0], [1, 1, 0, 0])
    )
    go([one, other], tmp_path / "alone", share=False)
    assert "align" in trained
    go([one, other], tmp_path / "shared")
    assert content(tmp_path / "shared") == content(tmp_path / "alone")


SHARING = [key for key in METHODS.names() if METHODS.load(key).training_facts is not Method.training_facts]


@pytest.mark.slow
@pytest.mark.parametrize("key", SHARING)
def test_every_method_that_shares_takes_over_from_the_gate(
    key: str, trained: list[str], tmp_path: Path
) -> None:
    (own,) = plan(key, "toy", settings=SMALL)
    go([own], tmp_path / "alone", share=False)
    go(path_of(0.0), tmp_path / "shared")
    trained.clear()
    go([own], tmp_path / "shared")
    # Tasks 1 and 2 come before any decision of another kind.
    assert trained.count("adapt") == 0 and trained.count("magnitude") <= 2
    alone = content(tmp_path / "alone")
    assert alone.items() <= content(tmp_path / "shared").items() and alone


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"base": "inflora"}, {"base": "o-lora"}, {"scope": "module"}], ids=str)
def test_every_base_and_scope_shares_without_a_trace(
    settings: dict[str, str], trained: list[str], tmp_path: Path
) -> None:
    runs = path_of(0.0, 1e3, **settings)
    go(runs, tmp_path / "alone", share=False)
    alone = len(trained)
    trained.clear()
    go(runs, tmp_path / "shared")
    assert content(tmp_path / "shared") == content(tmp_path / "alone")
    assert len(trained) < alone


def test_the_times_are_those_of_the_work_and_not_of_the_reading(trained: list[str], tmp_path: Path) -> None:
    first, second = path_of(0.0, 1e-6)
    go([first, second], tmp_path)
    one, other = (read(path).timing for path in sorted(tmp_path.rglob("litelora-*.json")))
    for a, b in zip(one.score_seconds, other.score_seconds, strict=True):
        assert a == pytest.approx(b)  # scored once
    shared = SweepFolder(tmp_path).root / HISTORIES
    phases = [load_facts(path)["seconds"] for path in shared.glob("*.safetensors")]
    assert len(phases) == 4
    assert min(sum(one.train_seconds), sum(other.train_seconds)) >= sum(phases)


@pytest.mark.parametrize("damage", [b"", b"not safetensors", None], ids=["empty", "other", "changed"])
def test_what_is_damaged_is_trained_again(damage: bytes | None, trained: list[str], tmp_path: Path) -> None:
    first, second = path_of(0.0, 1e-6)
    go([first, second], tmp_path / "alone", share=False)
    go([first], tmp_path / "shared")
    files = [path for path in (SweepFolder(tmp_path / "shared").root / HISTORIES).iterdir() if path.is_file()]
    assert len(files) == 4 + 4  # phases and scores
    for path in files:
        data = path.read_bytes()
        # A digit of the scores, and the last byte of a tensor.
        path.write_bytes(damage if damage is not None else data[:-40] + b"7" + data[-39:])
    trained.clear()
    go([second], tmp_path / "shared")
    assert len(trained) == 7
    assert content(tmp_path / "shared") == content(tmp_path / "alone")


@pytest.mark.parametrize("source", [(None, None), ("c" * 40, True)], ids=["no checkout", "changed"])
def test_code_that_may_have_changed_shares_nothing(
    source: tuple[str | None, bool | None],
    trained: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(learner, "git_state", lambda: source)
    go(path_of(0.0, 1e-6), tmp_path)
    assert len(trained) == 2 * 7
    assert not (SweepFolder(tmp_path).root / HISTORIES).exists()


def test_another_commit_shares_nothing(
    trained: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = path_of(0.0, 1e-6)
    go([first], tmp_path)
    monkeypatch.setattr(learner, "git_state", lambda: ("d" * 40, False))
    trained.clear()
    go([second], tmp_path)
    assert len(trained) == 7


@pytest.mark.slow
def test_a_study_of_real_runs_goes_on_where_it_was_and_ends_with_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learner, "git_state", lambda: ("c" * 40, False))  # as where runs may share
    shared: list[Path] = []
    keep = Histories.keep_phase

    def note(self: Histories, *arguments: Any) -> None:
        keep(self, *arguments)
        shared.append(self.folder)

    monkeypatch.setattr(Histories, "keep_phase", note)
    file = tmp_path / "short.toml"
    file.write_text(
        'title = "Short"\nstream = "toy"\nruns = "0-1"\ntuning = "7-8"\nshuffles = 1\n'
        'set = { tasks = 3, planes = 2, train_rows = 20, test_rows = 10, "protocol.epochs" = 4 }\n'
        "settings = { litelora = { selection_epochs = 2 } }\npath = { values = 3 }\n",
        encoding="utf-8",
    )
    flags = ["study", str(file), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, flags)
    assert done.exit_code == 0, done.output
    assert shared and not any(folder.exists() for folder in shared)  # tidied once nothing reads it
    page = (tmp_path / "out" / "short.md").read_bytes()
    again = CliRunner().invoke(app, flags)
    assert again.exit_code == 0 and "task 1/3" not in again.output
    assert (tmp_path / "out" / "short.md").read_bytes() == page
