"""Puts the site of the boards into the documentation: an mkdocs hook, so that links to it are checked."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
FOLDER = "boards"
NONE = "<!doctype html><html lang='en'><title>Boards</title><p>No results are published.</p></html>"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the boards and the result files, below `boards/`."""
    from mkdocs.structure.files import File

    for name, content in pages(Path(config.config_file_path).parent / "leaderboards").items():
        files.append(File.generated(config, f"{FOLDER}/{name}", content=content))
    return files


def pages(root: Path) -> dict[str, bytes]:
    """Return every file of the site of the results under a folder, by its path; a bare page without any."""
    from benchmark.publishing import site
    from benchmark.publishing.collect import placed_files

    if not placed_files(root / "results"):
        return {"index.html": NONE.encode()}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "site")
        site.build(root, out, docs="../index.html")
        return {
            path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()
        }
