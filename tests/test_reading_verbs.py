"""Every command that reads results takes the result of every registered method, on every kind of backbone."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import Result

from benchmark.registry import METHODS
from tests import tiny
from tests.command import invoke
from tests.factories import stream_file

pytestmark = pytest.mark.slow
SMALL = ("--set", "protocol.epochs=1", "--set", "protocol.rank=1", "--set", "protocol.batch_size=8")
# What cannot be done for a method is refused in one line; whatever else a verb says, it says of every result.
MAY_REFUSE = {"export", "redundancy"}


def methods_for(kind: str) -> list[str]:
    return [key for key in METHODS.names() if kind in METHODS.load(key).kinds]


def stream_of(kind: str, folder: Path) -> list[object]:
    """Return the flags of a stream of two or more tasks that a kind of backbone learns in a second."""
    if kind == "vector":
        return ["--stream", "toy", "--set", "tasks=2", "--set", "train_rows=6", "--set", "test_rows=3"]
    backbone = str(tiny.folder(kind))
    if kind == "image":
        limits = ["--set", "train_limit=8", "--set", "test_limit=4"]
        return ["--stream", "digits", "--backbone", backbone, *limits]
    with (folder / "things.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "split", "text", "label"])
        for task in tiny.tasks("encoder", 2):
            for split, rows in (("train", task.train), ("test", task.test)):
                assert rows.labels is not None
                for text, label in zip(rows.texts, rows.labels, strict=True):
                    writer.writerow([task.name, split, text, task.classes[label]])
    (folder / "things.toml").write_text(stream_file(backbone), encoding="utf-8")
    # The tiny models have few positions.
    short = ["--set", "protocol.source_length=16", "--set", "protocol.target_length=8"]
    return ["--stream", folder / "things.toml", *short]


@pytest.fixture(scope="module", params=tiny.KINDS)
def learned(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder whose `results` hold one of every method on one kind of backbone."""
    folder = tmp_path_factory.mktemp(request.param)
    asked = stream_of(request.param, folder)
    done = invoke(
        "run", "--method", ",".join(methods_for(request.param)), *asked, *SMALL, "--out", folder / "results"
    )
    assert done.exit_code == 0, done.output
    yield folder


def results_in(folder: Path) -> list[Path]:
    found = sorted((folder / "results").rglob("*-order-*.json"))
    assert len(found) > 20, "a result for each method"
    return found


def reported(verb: str, done: Result) -> str:
    """Return what is wrong with the way a verb ended, or ""."""
    if done.exit_code == 0:
        return ""
    lines = [line for line in done.output.splitlines() if line.startswith("error: ")]
    if verb in MAY_REFUSE and done.exit_code == 2 and len(lines) == 1:
        return ""
    return f"exit {done.exit_code}: {done.output[-300:]}"


@pytest.mark.timeout(1800)
def test_every_verb_reads_every_result_and_a_folder_of_them_becomes_page_board_and_site(
    learned: Path, tmp_path: Path
) -> None:
    wrong = []
    stream = learned / "things.toml"
    known = ["--stream", stream] if stream.exists() else []
    for path in results_in(learned):
        for verb, arguments in {
            "show": ["show", path],
            "metrics": ["analyse", "metrics", path],
            "score": ["score", path, *known],
            "redundancy": ["analyse", "redundancy", path],
            "export": ["export", path, tmp_path / path.stem, "--card"],
        }.items():
            complaint = reported(verb, invoke(*arguments))
            if complaint:
                wrong.append(f"{verb} {path.stem}: {complaint}")
    assert wrong == []
    # In the same test: another might run in another process, and its fixture would make the runs again.
    page, boards, site = tmp_path / "report.html", tmp_path / "boards", tmp_path / "site"
    for verb, arguments in {
        "report": ["analyse", "report", learned, "--out", page],
        "leaderboard": ["leaderboard", "--root", learned, "--out", boards],
        "site": ["develop", "site", "build", "--root", learned, "--out", site, "--no-pictures"],
    }.items():
        assert reported(verb, invoke(*arguments)) == ""
    text = page.read_text(encoding="utf-8")
    for path in results_in(learned):
        assert path.stem.partition("-order-")[0] in text, "every method has its place on the page"
