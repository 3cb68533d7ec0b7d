"""Published studies: every page is made again from the results beside it, to the byte."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from tests.command import ROOT

FOLDER = ROOT / "leaderboards" / "studies"
STUDIES = sorted(path.stem for path in FOLDER.glob("*.md"))


def test_there_is_a_study() -> None:
    assert STUDIES


@pytest.mark.parametrize("name", STUDIES)
def test_a_page_is_made_again_from_its_results(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    shutil.copy(FOLDER / f"{name}.jsonl", tmp_path)
    done = CliRunner().invoke(app, ["study", f"sweeps/{name}.toml", "--page", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    # The page names the folder that it was made in.
    text = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    made = text.replace(str(tmp_path), "leaderboards/studies")
    assert made == (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    assert (tmp_path / f"{name}.svg").read_bytes() == (FOLDER / f"{name}.svg").read_bytes()
