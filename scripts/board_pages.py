"""Puts boards and studies into the documentation: an mkdocs hook, so that links to them are checked."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
FOLDER = "boards"
STUDIES = "studies"
NONE = "<!doctype html><html lang='en'><title>Boards</title><p>No results are published.</p></html>"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add boards and result files below `boards/`, and studies below `studies/`."""
    from mkdocs.structure.files import File

    root = Path(config.config_file_path).parent / "leaderboards"
    for name, content in pages(root).items():
        files.append(File.generated(config, f"{FOLDER}/{name}", content=content))
    for path in sorted((root / STUDIES).glob("*")):
        files.append(File.generated(config, f"{STUDIES}/{path.name}", content=path.read_bytes()))
    return files


def pages(root: Path) -> dict[str, bytes]:
    """Return every file of the site of the results under a folder, by its path; a bare page without any."""
    from benchmark.publishing import site
    from benchmark.publishing.collect import find_placed_files

    if not find_placed_files(root / "results"):
        return {"index.html": NONE.encode()}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "site")
        site.build(root, out, docs="../index.html")
        return {
            path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()
        }
