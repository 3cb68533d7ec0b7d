"""Files beside the packed results of a protocol, a line of JSON each: what was re-scored, what sweeps ran.

They are listed in SHA256SUMS as results are. Lines are sorted, so that equal lines give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from benchmark.errors import UserError, first_of
from benchmark.printable import printable
from benchmark.results import Result, read_bytes

RESCORED, RAN = ".rescored", ".ran"

Line = TypeVar("Line", bound=BaseModel)


def side_file(root: Path, result: Result, ending: str) -> Path:
    """Return the file of one kind that goes with a published result."""
    return root / "results" / result.stream / f"{result.protocol}{ending}"


def side_files(folder: Path, ending: str = "*") -> list[Path]:
    """Return the files of one kind, or of both, in the folder `results`."""
    endings = (RESCORED, RAN) if ending == "*" else (ending,)
    return sorted(path for each in endings for path in folder.glob(f"*/*{each}"))


def lines_of(path: Path, kind: type[Line], problems: list[str]) -> Iterator[tuple[str, Line]]:
    """Yield the lines of a file with what to call each in messages; say in `problems` why others are none."""
    try:
        data = read_bytes(path)
    except UserError as error:
        problems.append(str(error))
        return
    for number, line in enumerate(data.splitlines(), 1):
        where = f"{path}, line {number}"
        try:
            yield where, kind.model_validate_json(line, strict=True)
        except ValidationError as error:
            problems.append(printable(f"{where} is not valid: {first_of(error, 'line')}"))


def as_bytes(lines: Iterable[BaseModel]) -> bytes:
    """Return the content of a file."""
    texts = (json.dumps(line.model_dump(mode="json"), sort_keys=True) for line in lines)
    return "".join(f"{text}\n" for text in sorted(texts)).encode()
