"""Runs the command line the way a user does, in a process of its own, or in this one, which is quicker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner, Result

from benchmark.cli import app

ROOT = Path(__file__).parents[1]


def invoke(*arguments: object) -> Result:
    """Run `bench` in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="bench")


def bench(*arguments: object, path: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Return what `bench` did.

    Args:
        path: a folder of installed packages to add.
        variables: environment variables to set.
    """
    folders = [str(folder) for folder in (path, ROOT) if folder is not None]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "COLUMNS": "200", **variables}
    return subprocess.run(
        [sys.executable, "-m", "benchmark", *(str(argument) for argument in arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )


def install(folder: Path, name: str, entry_points: str, **modules: str) -> Path:
    """Lay a package out as an installer would: modules, and a record with its entry points."""
    record = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    record.mkdir(parents=True, exist_ok=True)
    (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
    (record / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    for module, source in modules.items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
    return folder


def assert_one_line_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Check for exit code 2, nothing but one line, and the given words in it."""
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
