"""Results that agree with themselves and are none: each is refused by what the registry and the stream know.

What no check can tell without the data or the adapters is attested, and said to be.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.publishing.checksums import NAME, record
from benchmark.publishing.claims import ATTESTED_SENTENCE
from benchmark.publishing.submission import recheck, submit
from benchmark.results import read, write
from scripts.forge import genuine, outcome
from scripts.forgeries import ATTESTED, FORGERIES


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of a small run that nobody touched, but for the commit."""
    return genuine(tmp_path_factory.mktemp("genuine"))


@pytest.fixture
def boards(sound: Path, tmp_path: Path) -> Path:
    """A folder of boards with the genuine result."""
    assert submit([sound], tmp_path).refused == ()
    assert (
        CliRunner().invoke(app, ["leaderboard", "--root", str(tmp_path), "--out", str(tmp_path)]).exit_code
        == 0
    )
    return tmp_path


def checked(root: Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["leaderboard", "--root", str(root), "--out", str(root), "--check"])
    return done.exit_code, done.output


def test_there_are_forty_ways_and_more() -> None:
    assert len(FORGERIES) >= 40


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forgery_is_refused_or_attested(sound: Path, tmp_path: Path, name: str) -> None:
    kind, line = outcome(FORGERIES[name], sound, tmp_path)
    if FORGERIES[name].expected == ATTESTED:
        assert kind == "attested", line
    else:
        assert kind == "refused" and FORGERIES[name].expected in line and "\n" not in line


def test_what_is_genuine_is_up_to_date(boards: Path) -> None:
    assert checked(boards) == (0, "leaderboards are up to date\n")


def test_an_edited_page_is_out_of_date(boards: Path) -> None:
    (boards / "toy.md").write_text("edited", encoding="utf-8")
    code, told = checked(boards)
    assert code == 1 and "out of date" in told and "toy.md" in told.replace("\n", "")


def test_a_result_that_the_list_does_not_hold_fails_the_check(boards: Path) -> None:
    listed = boards / "results" / NAME
    listed.write_text("", encoding="utf-8")
    code, told = checked(boards)
    assert code == 1 and "smoke.jsonl is not listed in" in told
    listed.unlink()
    code, told = checked(boards)
    assert code == 1 and f"{listed} is missing" in told.replace("\n", "")


def test_a_result_without_the_hash_of_its_adapters_fails_the_check(sound: Path, tmp_path: Path) -> None:
    place = tmp_path / "results" / "toy" / "smoke" / "one.json"
    write(read(sound).model_copy(update={"adapters_sha256": None}), place)
    record(tmp_path / "results", [place])
    code, told = checked(tmp_path)
    assert code == 1 and "states no hash of its adapters" in told


def test_a_board_of_nothing_has_nothing_to_check(tmp_path: Path) -> None:
    assert recheck(tmp_path) == []


def test_a_result_and_a_board_say_what_is_attested(sound: Path, boards: Path) -> None:
    assert ATTESTED_SENTENCE in CliRunner().invoke(app, ["show", str(sound)]).output
    assert "Attested by whoever ran it" in (boards / "toy.md").read_text(encoding="utf-8")


def test_missing_and_cut_adapters_are_said(sound: Path, tmp_path: Path) -> None:
    path, file = tmp_path / "one.json", tmp_path / "one.safetensors"
    path.write_bytes(sound.read_bytes())
    whole = sound.with_suffix(".safetensors").read_bytes()

    def told() -> str:
        return CliRunner().invoke(app, ["show", str(path)]).output

    assert f"no adapters at {file}" in told()
    file.write_bytes(whole[:-1])
    assert "is not a whole safetensors file" in told()
    file.write_bytes(whole)
    assert "one.safetensors is whole and of this run" in told()


def test_a_finished_run_without_its_adapters_is_skipped_with_a_word(tmp_path: Path) -> None:
    path = genuine(tmp_path)
    file = path.with_suffix(".safetensors")
    whole = file.read_bytes()
    file.unlink()
    assert "no adapters at" in again(tmp_path)
    file.write_bytes(whole[:-1])
    assert "is not a whole safetensors file" in again(tmp_path)
    file.write_bytes(whole)
    assert "but" not in again(tmp_path)


def again(out: Path) -> str:
    settings = ["--set", "stream.tasks=2", "--set", "stream.train_rows=10", "--set", "stream.test_rows=7"]
    command = ["run", "--method", "seq-lora", "--stream", "toy", *settings, "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    return done.output
