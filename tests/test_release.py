"""What a release rests on: one version, and files that belong together."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.command import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
MOST_BYTES = 40_000_000


def test_every_place_that_names_the_version_names_the_project_s() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == VERSION
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert "(CITATION.cff)" in (ROOT / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0] == VERSION
    # Nowhere in the code: it is asked of the installed package.
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "benchmark").glob("*.py"))
    assert f'"{VERSION}"' not in code


def test_templates_ask_for_what_contributing_asks_for() -> None:
    pull = (ROOT / ".github" / "PULL_REQUEST_TEMPLATE.md").read_text(encoding="utf-8")
    assert pull == (ROOT / ".gitlab" / "merge_request_templates" / "Default.md").read_text(encoding="utf-8")
    for words in ("make test", "bench submit --check", "bench leaderboard", "validation rows"):
        assert words in pull, words
    for name in ("bug", "method-or-stream"):
        ours = (ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.md").read_text(encoding="utf-8")
        other = (ROOT / ".gitlab" / "issue_templates" / f"{name}.md").read_text(encoding="utf-8")
        # The first has a head of its own.
        assert ours.split("---\n", 2)[2].strip() == other.strip()


@pytest.mark.slow
def test_the_wheel_is_small_and_holds_what_runs(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet"]
    done = subprocess.run(
        [*pip, "--wheel-dir", str(tmp_path), str(copied(tmp_path / "source"))],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    if "Cannot import 'setuptools" in done.stderr or "BackendUnavailable" in done.stderr:
        pytest.skip("setuptools is not installed here")
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.stat().st_size < MOST_BYTES and VERSION in wheel.name
    names = set(zipfile.ZipFile(wheel).namelist())
    needed = [
        "benchmark/py.typed",
        "benchmark/backbones/weights/vit-nano/model.safetensors",
        "benchmark/publishing/site_templates/method.html",
        "methods/litelora.py",
        "tasks/digits.py",
        "sweeps/tuned/digits/smoke.toml",
    ]
    assert [name for name in needed if name not in names] == []
    assert not any(name.startswith(("tests/", "scripts/", "leaderboards/")) for name in names)


def copied(folder: Path) -> Path:
    """Return a copy of what git tracks or would: a build leaves nothing in the checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if name.startswith(("tests/", "leaderboards/", "docs/")) or not (ROOT / name).is_file():
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    return folder
