"""Where results lie: a file a run as `bench run` writes it, a folder of those, or packed, a line a run.

A packed file is JSON Lines, `<stream>/<protocol>.jsonl` among the published ones: one result a line, sorted
by method, order, seed and key, so that equal results give equal bytes and a new run is a new line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmark.errors import UserError
from benchmark.results import Result, parse, read_bytes

PACKED = ".jsonl"
SEARCHES = "tuning"
"""Folder among results where searches for hyper-parameters lie, `<stream>/<protocol>/<method>.json`."""


def find(source: Path) -> list[Path]:
    """Return the files of results that a path means: itself, or all in a folder and its subfolders.

    Unfinished work (`.partial`), searches, and what a sweep notes for itself (names with a leading dot) are
    left out.
    """
    if not source.is_dir():
        return [source]
    paths = [path for ending in ("json", "jsonl") for path in source.rglob(f"*.{ending}")]
    return sorted(path for path in paths if not _is_aside(path.relative_to(source).parts))


def _is_aside(parts: tuple[str, ...]) -> bool:
    search = len(parts) == 4 and parts[0] == SEARCHES
    return search or any(part.startswith(".") or part.endswith(".partial") for part in parts)


def records(path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each record of a file as bytes, with what to call it in messages.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    data = read_bytes(path)
    if path.suffix != PACKED:
        yield str(path), data
        return
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            yield f"{path}, line {number}", line


def read_all(
    source: Path, check: Callable[[Result, str], None] = lambda result, where: None
) -> tuple[list[tuple[Path, Result]], list[str]]:
    """Return every result that a file, a packed file or a folder holds, each with its file.

    Args:
        source: the file or folder.
        check: raises a UserError for a result that may not be shown.

    Returns:
        the results, and a line for each that cannot be used.

    Raises:
        UserError: none can be used, or there is none.
    """
    found: list[tuple[Path, Result]] = []
    problems: list[str] = []
    for path in find(source):
        try:
            for where, data in records(path):
                try:
                    result = parse(data, where)
                    check(result, where)
                    found.append((path, result))
                except UserError as error:
                    problems.append(str(error))
        except UserError as error:
            problems.append(str(error))
    if not found:
        raise UserError("; ".join(problems) or f"no results in {source}; `bench run` writes them")
    return found, problems


def pack(results: Iterable[Result]) -> bytes:
    """Return results as the bytes of a packed file."""
    ordered = sorted(results, key=lambda run: (run.method, run.order, run.seed, run.key))
    return b"".join(_line(result) for result in ordered)


def _line(result: Result) -> bytes:
    data = result.model_dump(mode="json")
    text = json.dumps(data, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.encode() + b"\n"
