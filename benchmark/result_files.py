"""Where results lie: a file a run as `bench run` writes it, a folder of those, or packed, a line a run.

A packed file is JSON Lines, `<stream>/<protocol>.jsonl` among the published ones: one result a line, sorted
by method, order, seed and key, so that equal results give equal bytes and a new run is a new line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmark.errors import UserError
from benchmark.results import Result, parse, read_bytes

PACKED = ".jsonl"


def find(source: Path) -> list[Path]:
    """Return the files of results that a path means: itself, or all in a folder and its subfolders.

    Unfinished work (`.partial`) and what a sweep notes for itself (names with a leading dot) are left out.
    """
    if not source.is_dir():
        return [source]
    paths = [path for ending in ("json", "jsonl") for path in source.rglob(f"*.{ending}")]
    return sorted(path for path in paths if not any(map(_is_aside, path.relative_to(source).parts)))


def _is_aside(part: str) -> bool:
    return part.startswith(".") or part.endswith(".partial")


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


def read_all(source: Path) -> list[tuple[Path, Result]]:
    """Return every result that a file, a packed file or a folder holds, each with its file.

    Raises:
        UserError: one of them cannot be read, or there is none.
    """
    found = [(path, parse(data, where)) for path in find(source) for where, data in records(path)]
    if not found:
        raise UserError(f"no results in {source}; `bench run` writes them")
    return found


def pack(results: Iterable[Result]) -> bytes:
    """Return results as the bytes of a packed file."""
    ordered = sorted(results, key=lambda run: (run.method, run.order, run.seed, run.key))
    return b"".join(_line(result) for result in ordered)


def _line(result: Result) -> bytes:
    data = result.model_dump(mode="json")
    text = json.dumps(data, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.encode() + b"\n"
