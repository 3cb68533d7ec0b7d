"""A stream of a million rows that a file describes: what its loading holds in memory."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import ROOT
from tests.test_stream_files import HEAD, SMOKE, write

TOPICS = "abc"

LOADER = """
import resource, sys
from pathlib import Path
from benchmark.running.catalogue import load_stream
from benchmark.data.fingerprint import fingerprint
from benchmark.data.checks import check
from benchmark.stream import Request
import numpy, pydantic

stream = load_stream(sys.argv[1])
request = Request(stream.default_order, 0, stream.protocols["smoke"], None)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
tasks = stream.load(request).tasks
check(stream.name, tasks)
print(fingerprint(tasks), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def peak(folder: Path, count: int) -> tuple[str, int]:
    """Load a stream of `count` rows in a process of its own; return what it saw and its kilobytes more."""
    folder.mkdir(exist_ok=True)
    if not (folder / "tickets.csv").exists():
        with open(folder / "tickets.csv", "w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["id", "split", "text", "label"])
            for n in range(count):
                split = "train" if n % 100 else "test"
                lines.writerow([f"row-{n}", split, f"the thing of row {n} is not round", TOPICS[n % 3]])
    part = '[[tasks]]\nname = "all"\nsource = { path = "tickets.csv" }\n'
    columns = 'columns = { id = "id", split = "split", text = "text", label = "label" }\n'
    path = write(folder, HEAD + part + columns + SMOKE)
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    printed, kilobytes = done.stdout.split()
    return printed, int(kilobytes)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_holds_numbers_not_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    few, many = 100_000, 1_000_000
    _, small = peak(tmp_path / "few", few)
    (cold, large), (warm, again) = peak(tmp_path / "many", many), peak(tmp_path / "many", many)
    assert cold == warm
    # Of a row: task and split, label, place, the hash of its id, 24 bytes; and while rows are put in order
    # a place and a sorted hash, 16. As Python objects 900,000 rows take 400 MB.
    assert (large - small) / 1024 < 80, (small, large)
    assert (again - small) / 1024 < 40, (small, again)
