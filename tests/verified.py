"""What `bench data verify` lists of faulty data, and what training says of the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.data.data_errors import DataError
from benchmark.data.load import load
from benchmark.errors import UserError
from benchmark.registry import STREAMS
from benchmark.stream import Request


def verified(stream: object, folder: Path | None, *more: str) -> list[str]:
    """Return the errors that the command lists, without the folder that all lie in."""
    where = ["--data-dir", str(folder)] if folder else []
    done = CliRunner().invoke(app, ["data", "verify", str(stream), *where, *more, "--json"])
    assert done.exit_code == 1, done.output
    errors = [DataError(**one) for one in json.loads(done.stdout)["errors"]]
    lines = [one.line.replace(f"{folder or Path(str(stream)).parent}/", "") for one in errors if one.fatal]
    assert all("\n" not in line for line in lines) and len(set(lines)) == len(lines)
    return lines


def assert_reported(lines: Sequence[str], *expected: str) -> None:
    """Check that each line begins with one of the expected texts, and that none of these is left."""
    assert len(lines) == len(expected), "\n".join(lines)
    for text in expected:
        assert any(line.startswith(text) for line in lines), (text, lines)


def refused(name: str, folder: Path, **parameters: Any) -> str:
    """Return what training says: one line."""
    stream = STREAMS.load(name)
    given = stream.parameters(**parameters) if stream.parameters and parameters else None
    request = Request(stream.default_order, 0, stream.protocols["smoke"], folder, given)
    with pytest.raises(UserError) as caught:
        load(stream, request)
    assert "\n" not in str(caught.value)
    return str(caught.value)
