"""A run on texts, and the cache that runs share, killed half-way: what is left is used or made again."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scripts.fuzz_inputs import ROWS, stream_of, write_rows
from scripts.mutations import toml_file
from tests import tiny
from tests.command import ROOT
from tests.outputs import content

pytestmark = pytest.mark.slow

SETTINGS = ("source_length=32", "validation=0", "epochs=30", "rank=2")


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    """Two tasks of texts and the tiny encoder that learns them."""
    shutil.copytree(tiny.folder("encoder"), tmp_path / "model")
    many = [row | {"id": f"{row['id']}-{n}", "text": f"{row['text']} {n}"} for row in ROWS for n in range(4)]
    write_rows(tmp_path, many, "csv")
    path = tmp_path / "stream.toml"
    path.write_text(toml_file(stream_of(backbone=str(tmp_path / "model"))), encoding="utf-8")
    return path


def start(stream: Path, out: Path, cache: Path, before: str = "") -> subprocess.Popen[bytes]:
    """Start a run in a process of its own.

    Args:
        before: code that the process runs first.
    """
    arguments = ["run", "--method", "inc-lora", "--stream", str(stream), "--out", str(out)]
    arguments += [part for setting in SETTINGS for part in ("--set", setting)]
    code = f"{before}\nimport sys\nfrom benchmark.cli import app\napp(sys.argv[1:])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENCH_CACHE": str(cache)}
    environment["GIT_DIR"] = str(out.parent / "no-repository")  # commits made meanwhile are kept out
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )


def finish(stream: Path, out: Path, cache: Path) -> dict[str, bytes]:
    """Run to the end and return what is left."""
    process = start(stream, out, cache)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return content(out)


def test_kills_of_a_run_on_texts_change_no_byte(stream: Path, tmp_path: Path) -> None:
    expected = finish(stream, tmp_path / "undisturbed", tmp_path / "cache")
    out, rng, kills = tmp_path / "killed", random.Random(0), 0
    for _ in range(4):
        process = start(stream, out, tmp_path / "cache")
        log = out / ".sweep" / "events"
        before = sum(path.stat().st_size for path in log.glob("*"))
        while process.poll() is None and sum(path.stat().st_size for path in log.glob("*")) == before:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills
    assert finish(stream, out, tmp_path / "cache") == expected


# Gone at a chosen point of making an entry: its arrays begun, whole, or about to get their name.
DIE = """
import os, signal
from benchmark.data import row_cache
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
row_cache.{where} = die
"""


@pytest.mark.parametrize("where", ["_Files.close", "_facts", "os.rename"])
def test_a_shared_cache_whose_maker_was_killed_is_made_again(
    where: str, stream: Path, tmp_path: Path
) -> None:
    expected = finish(stream, tmp_path / "undisturbed", tmp_path / "cache")
    shared = tmp_path / "shared"
    process = start(stream, tmp_path / "killed", shared, DIE.format(where=where))
    process.communicate(timeout=300)
    assert process.returncode == -signal.SIGKILL
    assert list(shared.rglob("*.tmp")), "it died while it made an entry"
    # Another run that shares the cache takes nothing of it for whole, and leaves nothing of it.
    assert finish(stream, tmp_path / "other", shared) == expected
    assert finish(stream, tmp_path / "killed", shared) == expected
    assert not list(shared.rglob("*.tmp"))
