"""A result knows the program of its method: an edited one is not taken for the one that made it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.registry import METHODS
from benchmark.running import method_code
from tests.command import ROOT

COMMAND = ["run", "--method", "frozen", "--stream", "toy", "--out"]


def test_the_hash_is_of_the_files_of_the_class_and_of_what_it_builds_on() -> None:
    modules = {cls.__module__ for cls in METHODS.load("litelora").__mro__}
    own = [ROOT / (name.replace(".", "/") + ".py") for name in modules if name.startswith("methods.")]
    assert ROOT / "methods" / "litelora.py" in own
    contents = sorted(file.read_bytes() for file in own)
    digests = b"".join(hashlib.sha256(each).digest() for each in contents)
    assert method_code.hash_method("litelora") == hashlib.sha256(digests).hexdigest()


def test_a_result_of_other_code_is_skipped_with_a_note_and_one_of_the_same_without(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, [*COMMAND, str(tmp_path)]).exit_code == 0
    again = runner.invoke(app, [*COMMAND, str(tmp_path)])
    assert "already complete, skipped" in again.output and "changed" not in again.output
    (path,) = tmp_path.glob("toy/smoke/*.json")
    result = json.loads(path.read_text(encoding="utf-8"))
    assert result["provenance"]["method_sha256"] == method_code.hash_method("frozen")
    result["provenance"]["method_sha256"] = "0" * 64
    path.write_text(json.dumps(result), encoding="utf-8")
    again = runner.invoke(app, [*COMMAND, str(tmp_path)])
    note = "skipped, but the code of the method 'frozen' has changed since (--fresh runs it again)"
    assert again.exit_code == 0 and note in again.output


def test_a_result_that_was_cut_says_what_makes_it_anew(tmp_path: Path) -> None:
    runner = CliRunner()
    assert runner.invoke(app, [*COMMAND, str(tmp_path)]).exit_code == 0
    (path,) = tmp_path.glob("toy/smoke/*.json")
    path.write_bytes(path.read_bytes()[:2000])
    planned = runner.invoke(app, [*COMMAND, str(tmp_path), "--dry-run"])
    assert "1 failed" in planned.output and "cut off; --fresh runs it again" in planned.output
    for command in ([*COMMAND, str(tmp_path)], [*COMMAND, str(tmp_path), "--retry"]):
        again = runner.invoke(app, command)
        assert again.exit_code == 1 and "is not complete JSON" in again.output
        assert "; --fresh runs it again" in again.output
    assert runner.invoke(app, [*COMMAND, str(tmp_path), "--fresh"]).exit_code == 0


def test_one_broken_file_of_a_method_hides_no_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("METHOD = \n def", encoding="utf-8")
    entry = replace(METHODS.entries["frozen"], path=file, key="broken")
    monkeypatch.setitem(METHODS.entries, "broken", entry)
    listed = CliRunner().invoke(app, ["list", "methods"])
    assert listed.exit_code == 0, listed.output
    assert "cannot be read: invalid syntax (broken.py, line 1)" in listed.output
    assert "seq-lora" in listed.output
