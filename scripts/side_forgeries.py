"""Ways to forge what stands beside published results: marks of re-scoring, and what sweeps ran.

Each is an edit of the lines of one file; the list of checksums is made anew afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.publishing.checksums import NAME, record
from benchmark.publishing.side_files import RAN, RESCORED
from benchmark.publishing.submission import recheck, submit

Lines = list[dict[str, Any]]
ATTESTED = "attested"


@dataclass(frozen=True)
class SideForgery:
    """One way to forge.

    Attributes:
        ending: of the file that is edited.
        edit: changes its lines.
        expected: words of the line that refuses it, or `ATTESTED`.
        listed: whether the list of checksums is made anew.
    """

    ending: str
    edit: Callable[[Lines], object]
    expected: str
    listed: bool = True


def put(name: str, value: Any) -> Callable[[Lines], None]:
    """Return an edit of one field of the first line."""
    return lambda lines: lines[0].update({name: value})


def without_a_run(lines: Lines) -> None:
    """Leave out the run that is not published."""
    lines[0]["runs"] = lines[0]["runs"][:1]


SIDE_FORGERIES = {
    "a mark for another result": SideForgery(RESCORED, put("key", "0" * 16), "is no result published"),
    "a mark before an edit of the result": SideForgery(
        RESCORED, put("result_sha256", "a" * 64), "the result is not the one that was scored"
    ),
    "a mark of other adapters": SideForgery(
        RESCORED, put("adapters_sha256", "a" * 64), "the adapters are not those that the result names"
    ),
    "a mark on other data": SideForgery(
        RESCORED, put("data_fingerprint", "a" * 64), "the data are not those of the result"
    ),
    "a mark with better scores": SideForgery(
        RESCORED, put("scores", [1.0, 1.0]), "the scores are not those of the result"
    ),
    "a mark without scores": SideForgery(RESCORED, put("scores", []), "the scores are not those"),
    "a mark twice": SideForgery(RESCORED, lambda lines: lines.append(lines[0]), "it is marked twice"),
    "a mark with a word of praise": SideForgery(RESCORED, put("signed", "by all"), "Extra inputs are not"),
    "a mark with a control character": SideForgery(RESCORED, put("\x1b[2J", 1), "[2J: Extra inputs"),
    "a mark that the list does not hold": SideForgery(RESCORED, lambda lines: None, "not listed", False),
    "a mark typed by hand": SideForgery(RESCORED, lambda lines: None, ATTESTED),
    "a run left out, its sweep's line kept": SideForgery(RAN, lambda lines: None, "and is not published"),
    "a line that names no run": SideForgery(RAN, put("runs", []), "order 1, seed 0 is not named"),
    "a run left out of its sweep's line too": SideForgery(RAN, without_a_run, ATTESTED),
}


def side_outcome(forgery: SideForgery, sound: Path, mark: bytes, root: Path) -> tuple[str, str]:
    """Publish a result, forge what stands beside it; return `refused` or `attested`, and why, in a line.

    Args:
        sound: the result, of a folder where a second seed was run.
        mark: the line that `bench score --mark` writes for it.
    """
    folder = root / "results"
    (placed,) = submit([sound], root).placed
    if forgery.ending == RESCORED:
        # What else was run is told by the forgeries of the other kind.
        placed.with_suffix(RAN).unlink()
        placed.with_suffix(RESCORED).write_bytes(mark)
    path = placed.with_suffix(forgery.ending)
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    forgery.edit(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / NAME).unlink()
    record(folder, [placed, path] if forgery.listed else [placed])
    refused = [line.replace(str(root), "") for line in recheck(root)]
    return ("refused", refused[0]) if refused else ("attested", forgery.ending)
