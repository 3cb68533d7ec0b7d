"""Results that agree with themselves and are none: each is refused by what the registry and the stream know.

What no check can tell without the data or the adapters is attested, and said to be.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.publishing.checksums import NAME, record
from benchmark.publishing.claims import ATTESTED_SENTENCE
from benchmark.publishing.collect import Row
from benchmark.publishing.ran import find_runs, runs_of_row
from benchmark.publishing.side_files import RAN, RESCORED
from benchmark.publishing.submission import recheck, submit
from benchmark.results import read, write
from scripts.forge import genuine, mark_of, outcome
from scripts.forgeries import ATTESTED, FORGERIES
from scripts.side_forgeries import SIDE_FORGERIES, side_outcome


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


@pytest.fixture(scope="module")
def two_seeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first result of a sweep of two seeds."""
    return genuine(tmp_path_factory.mktemp("two-seeds"), "0-1")


@pytest.mark.parametrize("name", SIDE_FORGERIES)
def test_a_forged_line_beside_the_results_is_refused_or_attested(
    two_seeds: Path, tmp_path: Path, name: str
) -> None:
    forgery = SIDE_FORGERIES[name]
    kind, line = side_outcome(forgery, two_seeds, mark_of(two_seeds), tmp_path)
    if forgery.expected == ATTESTED:
        assert kind == "attested", line
    else:
        assert kind == "refused" and forgery.expected in line and line.isprintable()


def score(path: Path, root: Path, *more: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["score", str(path), "--mark", "--root", str(root), *more])
    return done.exit_code, done.output


def test_a_result_that_was_scored_again_is_shown_as_re_scored(boards: Path, sound: Path) -> None:
    assert "re-scored" not in (boards / "toy.md").read_text(encoding="utf-8")
    code, reported = score(sound, boards)
    assert code == 0 and f"marked as re-scored in {boards / 'results' / 'toy' / 'smoke.rescored'}" in reported
    CliRunner().invoke(app, ["leaderboard", "--root", str(boards), "--out", str(boards)])
    assert "| re-scored |" in (boards / "toy.md").read_text(encoding="utf-8")
    assert checked(boards) == (0, "leaderboards are up to date\n")
    for form in ("markdown", "latex", "csv", "json"):
        table = ["leaderboard", "--root", str(boards), "--format", form]
        assert "re-scored" in CliRunner().invoke(app, table).output
    # Again is no second mark.
    assert score(sound, boards)[0] == 0 and checked(boards)[0] == 0
    site = ["site", "build", "--root", str(boards), "--out", str(boards / "site"), "--no-pictures"]
    assert CliRunner().invoke(app, site).exit_code == 0
    assert ">re-scored<" in (boards / "site" / "streams" / "toy.html").read_text(encoding="utf-8")


def test_a_row_of_which_some_runs_were_scored_again_says_how_many(sound: Path) -> None:
    one = read(sound)
    other = one.model_copy(update={"seed": 1, "key": "f" * 16})
    runs, marked = (one, other), frozenset({one.key})
    assert [Row("x", runs, keys).proof for keys in (frozenset[str](), marked, marked | {other.key})] == [
        *("attested", "re-scored 1 of 2", "re-scored")
    ]


def test_what_is_not_published_or_does_not_come_out_again_gets_no_mark(
    sound: Path, boards: Path, tmp_path: Path
) -> None:
    code, reported = score(sound, tmp_path / "elsewhere")
    assert code == 2 and "does not hold" in reported
    assert score(sound, boards, "--set", "protocol.decoding=labels")[0] == 2
    # Whatever the adapters give, a result that was edited after it was published is not the published one.
    copy = tmp_path / "copy" / sound.name
    copy.parent.mkdir()
    write(read(sound).model_copy(update={"report": [{"kept": True}, {}]}), copy)
    copy.with_suffix(".safetensors").write_bytes(sound.with_suffix(".safetensors").read_bytes())
    code, reported = score(copy, boards)
    assert code == 2 and "as it is here" in reported
    assert not (boards / "results" / "toy" / f"smoke{RESCORED}").exists()


def test_a_seed_that_was_run_and_is_left_out_shows(two_seeds: Path, tmp_path: Path) -> None:
    first, second = sorted(two_seeds.parent.glob("*.json"))
    assert submit([first], tmp_path).refused == ()
    CliRunner().invoke(app, ["leaderboard", "--root", str(tmp_path), "--out", str(tmp_path)])
    code, reported = checked(tmp_path)
    assert code == 1 and "seq-lora with order 1, seed 1 was run and is not published" in reported
    assert submit([make_clean(second)], tmp_path).refused == ()
    CliRunner().invoke(app, ["leaderboard", "--root", str(tmp_path), "--out", str(tmp_path)])
    assert checked(tmp_path) == (0, "leaderboards are up to date\n")


def test_a_seed_whose_result_was_deleted_shows_all_the_same(two_seeds: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    shutil.copytree(two_seeds.parents[2], out)
    first, second = sorted(out.glob("toy/smoke/*.json"))
    second.unlink()
    assert submit([first], tmp_path).refused == ()
    assert '["1", 1]' in (tmp_path / "results" / "toy" / f"smoke{RAN}").read_text(encoding="utf-8")
    # Without the folder's own notes the results that lie there are what is known.
    shutil.rmtree(out / ".sweep")
    assert runs_of_row(read(first), find_runs(first.parent, read(first))) == {("1", 0)}


def test_runs_with_other_settings_are_no_runs_of_the_row(two_seeds: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    shutil.copytree(two_seeds.parents[2], out)
    again(out, "--set", "learning_rate=0.5", "--seed", "3")
    first = sorted(out.glob("toy/smoke/*.json"))[0]
    assert runs_of_row(read(first), find_runs(first.parent, read(first))) == {("1", 0), ("1", 1)}


def make_clean(path: Path) -> Path:
    """Give a result a commit, as `genuine` does with the first one, and return its path."""
    result = read(path)
    source = result.provenance.model_copy(update={"commit": "0" * 40, "dirty": False})
    write(result.model_copy(update={"provenance": source}), path)
    return path


def test_what_is_genuine_is_up_to_date(boards: Path) -> None:
    assert checked(boards) == (0, "leaderboards are up to date\n")


def test_an_edited_page_is_out_of_date(boards: Path) -> None:
    (boards / "toy.md").write_text("edited", encoding="utf-8")
    code, reported = checked(boards)
    assert code == 1 and "out of date" in reported and "toy.md" in reported.replace("\n", "")


def test_a_result_that_the_list_does_not_hold_fails_the_check(boards: Path) -> None:
    listed = boards / "results" / NAME
    listed.write_text("", encoding="utf-8")
    code, reported = checked(boards)
    assert code == 1 and "smoke.jsonl is not listed in" in reported
    listed.unlink()
    code, reported = checked(boards)
    assert code == 1 and f"{listed} is missing" in reported.replace("\n", "")


def test_a_result_without_the_hash_of_its_adapters_fails_the_check(sound: Path, tmp_path: Path) -> None:
    place = tmp_path / "results" / "toy" / "smoke" / "one.json"
    write(read(sound).model_copy(update={"adapters_sha256": None}), place)
    record(tmp_path / "results", [place])
    code, reported = checked(tmp_path)
    assert code == 1 and "states no hash of its adapters" in reported


def test_a_board_of_nothing_has_nothing_to_check(tmp_path: Path) -> None:
    assert recheck(tmp_path) == []


def test_a_result_and_a_board_say_what_is_attested(sound: Path, boards: Path) -> None:
    assert ATTESTED_SENTENCE in CliRunner().invoke(app, ["show", str(sound)]).output
    assert "Attested by whoever ran it" in (boards / "toy.md").read_text(encoding="utf-8")


def test_missing_and_cut_adapters_are_said(sound: Path, tmp_path: Path) -> None:
    path, file = tmp_path / "one.json", tmp_path / "one.safetensors"
    path.write_bytes(sound.read_bytes())
    whole = sound.with_suffix(".safetensors").read_bytes()

    def reported() -> str:
        return CliRunner().invoke(app, ["show", str(path)]).output

    assert f"no adapters at {file}" in reported()
    file.write_bytes(whole[:-1])
    assert "is not a whole safetensors file" in reported()
    file.write_bytes(whole)
    assert "one.safetensors is whole and of this run" in reported()


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


def again(out: Path, *more: str) -> str:
    settings = ["--set", "stream.tasks=2", "--set", "stream.train_rows=10", "--set", "stream.test_rows=7"]
    command = ["run", "--method", "seq-lora", "--stream", "toy", *settings, *more, "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0
    return done.output
