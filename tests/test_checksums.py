"""The list of what was published: an edit that keeps every number consistent is reported all the same."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.publishing import checksums
from benchmark.publishing.collect import load
from benchmark.result_files import pack
from benchmark.results import atomic_write
from tests.factories import result, save

BOARDS = Path(__file__).parents[1] / "leaderboards"


def test_an_edit_that_keeps_all_numbers_is_reported_by_file(tmp_path: Path) -> None:
    paths = save(tmp_path, result(seed=0), result(seed=1))
    checksums.record(tmp_path / "results", paths)
    assert len(load(tmp_path)[0]) == 2
    data = json.loads(paths[0].read_text())
    data["timing"]["total_seconds"] = 1.0
    paths[0].write_text(json.dumps(data))
    found, problems = load(tmp_path)
    assert [each.seed for each in found] == [1]
    assert len(problems) == 1 and str(paths[0]) in problems[0] and "was changed after" in problems[0]


def test_a_published_result_that_is_gone_is_reported(tmp_path: Path) -> None:
    paths = save(tmp_path, result(seed=0), result(seed=1))
    checksums.record(tmp_path / "results", paths)
    paths[1].unlink()
    found, problems = load(tmp_path)
    assert len(found) == 1 and [str(paths[1]) in line and "is gone" in line for line in problems] == [True]


def test_results_that_are_not_listed_are_taken_as_they_are(tmp_path: Path) -> None:
    first, second = save(tmp_path, result(seed=0), result(seed=1))
    checksums.record(tmp_path / "results", [first])
    assert second.is_file() and len(load(tmp_path)[0]) == 2


def test_a_line_that_is_none_is_reported_with_its_number(tmp_path: Path) -> None:
    (tmp_path / checksums.NAME).write_text("0" * 64 + "  a.json\nrubbish\n")
    with pytest.raises(UserError, match="SHA256SUMS, line 2: expected what sha256sum prints, not 'rubbish'"):
        checksums.read_stated(tmp_path)


def test_sha256sum_reads_the_list(tmp_path: Path) -> None:
    checksums.record(tmp_path / "results", save(tmp_path, result()))
    command = ["sha256sum", "--check", "--strict", checksums.NAME]
    assert subprocess.run(command, cwd=tmp_path / "results", capture_output=True).returncode == 0


@pytest.mark.parametrize("written", [0, 1, 2])
def test_publishing_that_is_cut_short_leaves_nothing_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """Of two new files none, one or both are there, and the list is still the old one."""
    folder = tmp_path / "results"
    places = [folder / "orchard" / f"{name}.jsonl" for name in ("smoke", "tiny")]
    runs = [[result(protocol=Protocol(name=place.stem, source="", backbone="seed"))] for place in places]
    checksums.publish(folder, {place: pack(each) for place, each in zip(places, runs, strict=True)})
    more = {
        place: pack([*each, each[0].model_copy(update={"seed": 1})])
        for place, each in zip(places, runs, strict=True)
    }
    left = iter([True] * written + [False])

    def write(path: Path, data: bytes) -> None:
        if path in more and not next(left):
            raise KeyboardInterrupt
        atomic_write(path, data)

    def replace(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(checksums, "atomic_write", write)
        patched.setattr(Path, "replace", replace)
        checksums.publish(folder, more)
    assert checksums.broken(folder) == {}
    assert [place.read_bytes() == more[place] for place in places] == [written > 0, written > 1]
    checksums.publish(folder, more)
    assert checksums.broken(folder) == {} and not (folder / checksums.NEXT).exists()
    places[0].write_bytes(b"")
    assert list(checksums.broken(folder)) == [places[0]]


def test_every_published_result_is_listed() -> None:
    results = BOARDS / "results"
    places = {path.relative_to(results).as_posix() for path in results.glob("*/*.*")}
    assert places == checksums.read_stated(results).keys()
