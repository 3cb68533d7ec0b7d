"""The script that runs SD-LoRA's own program: what it refuses before anything is measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import authors_loop
from scripts.authors_program import Work


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return a folder that has the files that are looked for."""
    for name in authors_loop.FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_without_their_program_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        authors_loop.main([str(tmp_path)])
    assert f"{tmp_path} does not hold their program: there is no trainer.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tasks", "3"], "--tasks 3: expected 1, 2, 4, 5, 10 or 20; theirs holds 20 adapters"),
        (["--tasks", "50"], "--tasks 50: expected 1, 2, 4, 5, 10 or 20; theirs holds 20 adapters"),
        (["--epochs", "0"], "--epochs 0: expected 1 or more"),
    ],
)
def test_work_that_no_side_can_do_is_refused(program, capsys, flags, message):
    with pytest.raises(SystemExit):
        authors_loop.main([str(program), *flags])
    assert message in capsys.readouterr().err


def test_packages_that_their_program_lacks_are_named(program, capsys, monkeypatch):
    monkeypatch.setattr(authors_loop, "IMPORTED", ("no_such_package",))
    with pytest.raises(SystemExit):
        authors_loop.main([str(program)])
    assert "their program imports no_such_package, not installed here" in capsys.readouterr().err


def test_a_run_that_fails_tells_what_it_printed(tmp_path):
    with pytest.raises(RuntimeError, match="no_such_module failed"):
        authors_loop.processor_seconds(["no_such_module"], tmp_path / "printed.txt")


def test_our_run_is_given_the_work_of_theirs():
    work = Work(20, 10, 5, 3, 50, 384, 12, 6, 1536, 14, 56)
    command = authors_loop.our_command(work, "some-model", "last:4", "out")
    assert {"tasks=20", "protocol.train_limit=50", "protocol.test_limit=25", "protocol.rank=10"} <= set(
        command
    )
    assert {"protocol.epochs=3", "protocol.batch_size=50", "protocol.blocks=last:4"} <= set(command)
