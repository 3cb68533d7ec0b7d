"""Runs that are killed, and the cache that they share: what is left is used or made again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import kills
from tests.command import ROOT

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["image", "text"])
def test_random_kills_of_a_run_change_no_byte(name: str, tmp_path: Path) -> None:
    tally = kills.suffer(name, tmp_path / name, 4, seed=0)
    assert tally.kills.total() >= 4 and tally.files > 0
    assert tally.differing == []


# Gone at a chosen point of making an entry: its arrays begun, whole, or about to get their name.
DIE = """
import os, signal, sys
from benchmark.cli import app
from benchmark.data import row_cache
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
row_cache.{where} = die
app(sys.argv[1:])
"""


@pytest.mark.parametrize("where", ["_Files.close", "_facts", "os.rename"])
def test_a_shared_cache_whose_maker_was_killed_is_made_again(where: str, tmp_path: Path) -> None:
    ground = kills.Ground(tmp_path / "ground", kills.SCENARIOS["text"], random.Random(0))
    ground.lay_out()
    expected = ground.finish(tmp_path / "undisturbed", tmp_path / "cache")
    shared, command = tmp_path / "shared", [part.format(text=ground.text) for part in ground.scenario.command]
    # Commits made meanwhile are kept out of the results.
    variables = {"PYTHONPATH": str(ROOT), "BENCH_CACHE": str(shared), "GIT_DIR": str(tmp_path / "none")}
    maker = subprocess.run(
        [sys.executable, "-c", DIE.format(where=where), "run", *command, "--out", tmp_path / "killed"],
        env={**os.environ, **variables},
        capture_output=True,
        timeout=300,
    )
    assert maker.returncode == -signal.SIGKILL, maker.stderr
    assert list(shared.rglob("*.tmp")), "it died while it made an entry"
    # Another run that shares the cache takes nothing of it for whole, and leaves nothing of it.
    assert ground.finish(tmp_path / "other", shared) == expected
    assert ground.finish(tmp_path / "killed", shared) == expected
    assert not list(shared.rglob("*.tmp"))
