"""Code and commands as README and documentation print them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.command import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def code(page: Path, name: str, language: str = "python") -> str:
    """Return the code block under a marker."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"<!-- code: {name} -->\n```{language}\n(.*?)```", text, re.DOTALL)
    assert found, f"{page} has no code block marked {name}"
    return found[1]


def commands(page: Path) -> Iterator[list[str]]:
    """Yield the words of every `bench` command in a page's code blocks, without `bench` and comments."""
    fenced, printed = False, False
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.strip().startswith("```"):
            fenced = not fenced
            printed = fenced and line.strip() == "```"
        elif printed:
            words = shlex.split(line, comments=True)
            if words[:1] == ["bench"]:
                yield words[1:]
