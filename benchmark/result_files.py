"""Where results lie: a file a run as `bench run` writes it, a folder of those, or packed, a line a run.

A packed file is JSON Lines, `<stream>/<protocol>.jsonl` among the published ones: one result a line, sorted
by method, order, seed and key, so that equal results give equal bytes and a new run is a new line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sized
from pathlib import Path

from benchmark.errors import UserError
from benchmark.folders import walk_files
from benchmark.results import Result, parse, read_bytes

PACKED = ".jsonl"
SEARCHES = "tuning"
"""Folder among results where searches for hyper-parameters lie, `<stream>/<protocol>/<method>.json`."""


def find(source: Path) -> list[Path]:
    """Return the files of results that a path means: itself, or all in a folder and its subfolders.

    Unfinished work (`.partial`), searches, and what a sweep notes for itself (names with a leading dot) are
    left out.

    Raises:
        UserError: a folder among them cannot be read.
    """
    if not source.is_dir():
        return [source]
    paths = (path for path in walk_files(source) if path.suffix in (".json", PACKED))
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


def each_result(
    paths: Iterable[Path],
    problems: list[str],
    check: Callable[[Result, str, Path], None] = lambda result, where, path: None,
) -> Iterator[tuple[Path, str, Result]]:
    """Yield every result of some files, with its file and what to call it in messages.

    Args:
        problems: gets a line for each that cannot be read.
        check: raises a UserError for a result that may not be shown; it, too, becomes a line.
    """
    for path in paths:
        try:
            for where, data in records(path):
                try:
                    result = parse(data, where)
                    check(result, where, path)
                except UserError as error:
                    problems.append(str(error))
                else:
                    yield path, where, result
        except UserError as error:
            problems.append(str(error))


def read_all(
    source: Path, check: Callable[[Result, str], None] = lambda result, where: None
) -> tuple[list[tuple[Path, Result]], list[str]]:
    """Return every result that a file, a packed file or a folder holds with its file, as `each_result` does.

    Raises:
        UserError: none can be used, or there is none.
    """
    problems: list[str] = []
    given = each_result(find(source), problems, lambda result, where, _: check(result, where))
    found = [(path, result) for path, _, result in given]
    require(found, problems, source)
    return found, problems


def require(found: Sized, problems: Iterable[str], source: Path) -> None:
    """Refuse to go on without a result of a file or folder.

    Raises:
        UserError: none was found; it says why those there are cannot be used.
    """
    if not len(found):
        raise UserError("; ".join(problems) or f"no results in {source}; `bench run` writes them")


def pack(results: Iterable[Result]) -> bytes:
    """Return results as the bytes of a packed file."""
    ordered = sorted(results, key=lambda run: (run.method, run.order, run.seed, run.key))
    return b"".join(_line(result) for result in ordered)


def _line(result: Result) -> bytes:
    data = result.model_dump(mode="json")
    text = json.dumps(data, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.encode() + b"\n"
