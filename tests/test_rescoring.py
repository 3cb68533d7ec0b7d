"""Scoring again: the stored row comes back from the adapters alone, and from no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from benchmark.checkpoint import pack, read_state
from benchmark.cli import app
from benchmark.results import read

SMALL = ["stream.tasks=3", "stream.train_rows=16", "stream.test_rows=8", "epochs=5"]


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="bench")


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The result of a small run."""
    settings = [part for text in SMALL for part in ("--set", text)]
    done = invoke("run", "--method", "litelora", "--stream", "toy", *settings, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    (path,) = tmp_path.rglob("*.json")
    return path


def test_the_adapters_give_the_stored_row(finished: Path) -> None:
    done = invoke("score", finished)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    shown = [f"{100 * score:.2f}" for score in read(finished).matrix[-1] if score is not None]
    assert [line.split()[-2:] for line in lines[2:5]] == [[score, score] for score in shown]
    assert lines[-1] == "every score is as stored"


def test_other_adapters_do_not(finished: Path) -> None:
    adapters = finished.with_suffix(".safetensors")
    key = read(finished).key
    learned = read_state(adapters, key)
    state = {name: -tensor if tensor.is_floating_point() else tensor for name, tensor in learned.items()}
    adapters.write_bytes(pack(state, key))
    done = invoke("score", finished)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "the stored scores are not reproduced"


def test_other_data_is_refused(finished: Path) -> None:
    data = json.loads(finished.read_bytes())
    data["provenance"]["data_fingerprint"] = "f00d" * 16
    finished.write_text(json.dumps(data), encoding="utf-8")
    done = invoke("score", finished)
    assert done.exit_code == 2
    assert "is not what" in done.stderr and "f00df00d" in done.stderr and done.stderr.count("\n") == 1
