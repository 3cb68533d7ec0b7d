"""What each published result was: `results/SHA256SUMS`, in the form that `sha256sum --check` reads.

A result that was edited by hand, or is gone, is told by its name. A folder without the list is taken as it
is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from benchmark.errors import UserError
from benchmark.results import atomic_write

NAME = "SHA256SUMS"


def stated(folder: Path) -> dict[str, str]:
    """Return the listed SHA-256 of each result by its place in the folder; empty where there is no list.

    Raises:
        UserError: the list cannot be read, or a line is not `<64 hexadecimal digits>  <place>`.
    """
    path = folder / NAME
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
    for place, digest in stated(folder).items():
        path = folder / place
        if not path.is_file():
            problems[path] = f"{path} is gone; {folder / NAME} lists it as published"
        elif sha256(path.read_bytes()).hexdigest() != digest:
            problems[path] = (
                f"{path} was changed after it was published: {folder / NAME} lists another SHA-256"
            )
    return problems


def record(folder: Path, paths: Iterable[Path]) -> None:
    """List results as they are now, beside those listed before."""
    listed = stated(folder)
    for path in paths:
        listed[path.relative_to(folder).as_posix()] = sha256(path.read_bytes()).hexdigest()
    lines = [f"{digest}  {place}\n" for place, digest in sorted(listed.items())]
    atomic_write(folder / NAME, "".join(lines).encode())
