"""The fuzz script runs, finds what is planted, and finds nothing in a short run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scripts import fuzz
from scripts.fuzz_ground import Input
from tests.command import ROOT


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (Input(["--version"], wrong=True), "wrongly accepted"),
        (Input(["list", "--method", "no such"], wrong=True), ""),
        (Input(["list", "methods"]), ""),
    ],
)
def test_what_counts_as_a_fault(given: Input, kind: str) -> None:
    assert fuzz.fault_of(given)[0] == kind


def test_an_error_that_nobody_foresaw_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.commands import inspection

    monkeypatch.setattr(inspection, "method", lambda name: 1 / 0)
    assert fuzz.fault_of(Input(["list", "--method", "frozen"]))[0] == "internal error"


@pytest.mark.slow
def test_a_short_run_finds_nothing() -> None:
    command = [sys.executable, "-m", "scripts.fuzz", "--count", "90", "--seed", "7"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "0 traceback, 0 internal error, 0 wrongly accepted" in done.stdout
