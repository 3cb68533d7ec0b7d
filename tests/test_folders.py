"""A folder that cannot be read is named, and never counts as one without files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.errors import UserError
from benchmark.folders import walk_files
from tests.factories import result, save


def close(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Take the right to read a folder away, from whoever runs the tests."""
    scan = os.scandir

    def refuse(path: Any = ".") -> Any:
        if Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_files_of_all_depths_are_found_and_none_where_there_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for path in (tmp_path / "one", tmp_path / "a" / "b" / "two"):
        path.touch()
    assert sorted(walk_files(tmp_path)) == [tmp_path / "a" / "b" / "two", tmp_path / "one"]
    assert list(walk_files(tmp_path / "none")) == []


def test_a_closed_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, result("alpha"), result("beta", stream="meadow"))
    closed = tmp_path / "results" / "meadow"
    close(monkeypatch, closed)
    with pytest.raises(UserError, match=f"^cannot read {closed}: Permission denied$"):
        list(walk_files(tmp_path))
    shown = CliRunner().invoke(app, ["show", str(tmp_path)])
    assert shown.exit_code != 0 and f"cannot read {closed}: Permission denied" in shown.stderr


def test_a_closed_class_of_images_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmark.data.image_files import class_folders, list_unread

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").touch()
    close(monkeypatch, tmp_path / "dog")
    for read in (class_folders, lambda folder: list_unread([folder])):
        with pytest.raises(UserError, match=f"^cannot read {tmp_path / 'dog'}: Permission denied$"):
            read(tmp_path)
