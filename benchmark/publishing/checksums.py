"""What each published result was: `results/SHA256SUMS`, in the form that `sha256sum --check` reads.

A result that was edited by hand, or is gone, is reported by its name. A folder without the list is taken as
it is. While results are being written, `SHA256SUMS.next` lists what they will be: an interruption leaves some
files old and some new, and both are what was published.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from benchmark.errors import UserError
from benchmark.results import atomic_write

NAME = "SHA256SUMS"
NEXT = "SHA256SUMS.next"


def read_stated(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each listed result by its name in the folder; empty where there is no list.

    Of a result that an interrupted `publish` has written it is the new one.

    Raises:
        UserError: a list cannot be read, or a line is not `<64 hexadecimal digits>  <name>`.
    """
    listed = _read(folder / NAME)
    for name, digest in _read(folder / NEXT).items():
        if (folder / name).is_file() and _hash(folder / name) == digest:
            listed[name] = digest
    return listed


def _read(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    found = {}
    for number, line in enumerate(lines, 1):
        match = re.fullmatch(r"([0-9a-f]{64})  (\S.*)", line)
        if match is None:
            raise UserError(f"{path}, line {number}: expected what sha256sum prints, not '{line[:60]}'")
        found[match[2]] = match[1]
    return found


def broken(folder: Path) -> dict[Path, str]:
    """Return what is wrong with each listed result that is not what was published, in one line each."""
    problems = {}
    for name, digest in read_stated(folder).items():
        path = folder / name
        if not path.is_file():
            problems[path] = f"{path} is gone; {folder / NAME} lists it as published"
        elif _hash(path) != digest:
            problems[path] = (
                f"{path} was changed after it was published: {folder / NAME} lists another SHA-256"
            )
    return problems


def list_unlisted(folder: Path, placed: Iterable[Path]) -> list[str]:
    """Return a line for each placed result that the list does not hold, or one where there is no list."""
    placed = sorted(placed)
    if placed and not (folder / NAME).is_file():
        return [f"{folder / NAME} is missing: nothing says what was published (bench submit writes it)"]
    listed = read_stated(folder)
    return [
        f"{path} is not listed in {folder / NAME}: place results with bench submit"
        for path in placed
        if _name(folder, path) not in listed
    ]


def record(folder: Path, paths: Iterable[Path]) -> None:
    """List results as they are now, beside those listed before."""
    _write(folder / NAME, read_stated(folder) | {_name(folder, path): _hash(path) for path in paths})


def publish(folder: Path, files: Mapping[Path, bytes]) -> None:
    """Write results and list them; where that is cut short, the next call goes on from what is there.

    Raises:
        UserError: a file cannot be written.
    """
    listed = read_stated(folder)
    if (folder / NEXT).is_file():
        # Before it is replaced: what it alone lists would be reported as changed.
        _write(folder / NAME, listed)
    later = {_name(folder, path): sha256(data).hexdigest() for path, data in files.items()}
    _write(folder / NEXT, listed | later)
    for path, data in files.items():
        atomic_write(path, data)
    try:
        (folder / NEXT).replace(folder / NAME)
    except OSError as error:
        raise UserError(f"cannot write {folder / NAME}: {error.strerror or error}") from None


def _write(path: Path, listed: Mapping[str, str]) -> None:
    lines = [f"{digest}  {name}\n" for name, digest in sorted(listed.items())]
    atomic_write(path, "".join(lines).encode())


def _name(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
