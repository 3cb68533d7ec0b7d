"""One result that cannot be used costs a folder no page and no table: it is named, and the exit code is 1."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.result_files import pack
from tests.command import invoke
from tests.factories import keep_adapters, result, save

HALF = "is not complete JSON: cut in half"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two good results with adapters, a third one cut in half, and a search, which is no result."""
    *good, bad = save(tmp_path, *(result(seed=seed) for seed in range(3)))
    for path in good:
        keep_adapters(path, tasks=2)
    bad.write_bytes(bad.read_bytes()[:100])
    search = tmp_path / "results" / "tuning" / "orchard" / "tiny" / "alpha.json"
    search.parent.mkdir(parents=True)
    search.write_text("{}", encoding="utf-8")
    return tmp_path


def the_bad(root: Path) -> Path:
    (path,) = (root / "results").rglob("alpha-forward-2-*.json")
    return path


def verbs(root: Path) -> dict[str, list[object]]:
    """Return the commands that read a folder, by the name of what they write or print."""
    return {
        "page.html": ["analyse", "report", root / "results", "--out", root / "page.html"],
        "orchard.md": ["leaderboard", "--root", root, "--out", root],
        "orchard.html": ["site", "build", "--root", root, "--out", root / "site", "--no-pictures"],
        "task": ["show", root / "results"],
        "average performance": ["metrics", root / "results"],
        '"overlaps"': ["redundancy", root / "results", "--json"],
    }


@pytest.mark.parametrize("shown", verbs(Path()))
def test_the_good_ones_are_shown_and_the_bad_one_is_named(root: Path, shown: str) -> None:
    done = invoke(*verbs(root)[shown])
    assert done.exit_code == 1, done.output
    assert shown in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"left out: {the_bad(root)} {HALF}")


def test_pages_hold_the_runs_that_can_be_used(root: Path) -> None:
    for verb in ("page.html", "orchard.md"):
        invoke(*verbs(root)[verb])
    # Two of the three runs: AP (0.6 + 0.6 + 0.9) / 3 = 0.7 each.
    assert "<td>70.0 ± 0.0</td>" in (root / "page.html").read_text(encoding="utf-8")
    assert "70.0 ± 0.0" in (root / "orchard.md").read_text(encoding="utf-8")


def test_each_bad_one_has_a_line_of_its_own(root: Path) -> None:
    second = the_bad(root).with_name("edited.json")
    second.write_text("[]", encoding="utf-8")
    lines = invoke("show", root / "results").stderr.splitlines()
    assert len(lines) == 2 and all(line.startswith("left out: ") for line in lines)


def test_a_bad_line_of_a_packed_file_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "tiny.jsonl"
    path.write_bytes(pack([result(seed=0), result(seed=1)]) + b'{"half": \n')
    done = invoke("metrics", path)
    assert done.exit_code == 1 and "seed 0" in done.stdout and "seed 1" in done.stdout
    assert done.stderr == f"left out: {path}, line 3 {HALF}, or not a result file\n"


def test_where_none_can_be_used_nothing_is_shown(root: Path) -> None:
    for path in (root / "results" / "orchard").rglob("*.json"):
        path.write_text("{", encoding="utf-8")
    for arguments in verbs(root).values():
        done = invoke(*arguments)
        assert done.exit_code == 2 and done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ") and line.count(HALF) == 3
    assert not (root / "page.html").exists() and not (root / "orchard.md").exists()
