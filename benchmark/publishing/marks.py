"""Published results whose last scores were computed again from their adapters: `bench score --mark`.

A mark is a line of `results/<stream>/<protocol>.rescored`. It names the very result and the very adapters by
their hashes and holds the scores that came out, so that a line made for other ones is refused. That somebody
did run the model it cannot prove: whoever has the adapters repeats the command.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from benchmark.errors import UserError
from benchmark.publishing.checksums import broken, publish
from benchmark.publishing.collect import load
from benchmark.publishing.side_files import RESCORED, as_bytes, lines_of, side_file, side_files
from benchmark.result_files import pack
from benchmark.results import Part, Result, read

if TYPE_CHECKING:  # it loads models, and whoever reads marks does not wait for torch
    from benchmark.analysis.rescoring import Scores


class Mark(Part):
    """One result that was scored again."""

    mark_version: Literal[1]
    key: str = Field(description="of the result")
    result_sha256: str = Field(description="of the result's line in the packed file")
    adapters_sha256: str = Field(description="of the file of adapters that was scored")
    data_fingerprint: str = Field(description="of the rows that were scored")
    scores: list[float | None] = Field(description="the last row of the score matrix, computed again")


def mark_of(result: Result, adapters: bytes, scores: Scores) -> Mark:
    """Return the mark of a result that was scored again.

    Args:
        adapters: the content of the file that was scored.
    """
    return Mark(
        mark_version=1,
        key=result.key,
        result_sha256=digest(result),
        adapters_sha256=sha256(adapters).hexdigest(),
        data_fingerprint=scores.data_fingerprint,
        scores=scores.scores,
    )


def digest(result: Result) -> str:
    """Return the hash of everything that a result says, however its file is laid out."""
    return sha256(pack([result])).hexdigest()


def mark(path: Path, scores: Scores, root: Path) -> Path:
    """Note beside the published results that one of them was scored again, and return where.

    Args:
        path: of the result as `bench run` left it; its adapters lie beside it.

    Raises:
        UserError: the result is not published there as it is here, the mark contradicts it, or a published
            result cannot be used.
    """
    result = read(path)
    found, problems = load(root)
    if problems:
        raise UserError(f"mend the published results first: {'; '.join(problems)}")
    if digest(result) not in {digest(each) for each in found if each.key == result.key}:
        raise UserError(
            f"{root / 'results'} does not hold {path} as it is here; bench submit places it, then --mark it"
        )
    made = mark_of(result, path.with_suffix(".safetensors").read_bytes(), scores)
    for error in contradictions(made, result):
        raise UserError(f"{path} cannot be marked: {error}")
    file, problems = side_file(root, result, RESCORED), []
    before = [line for _, line in lines_of(file, Mark, problems)] if file.is_file() else []
    if problems:
        raise UserError("; ".join(problems))
    lines = {line.key: line for line in [*before, made]}
    publish(root / "results", {file: as_bytes(lines.values())})
    return file


def contradictions(made: Mark, result: Result) -> list[str]:
    """Return why a mark is not of a result, in words that follow its name."""
    stated = {
        "the result is not the one that was scored": (made.result_sha256, digest(result)),
        "the adapters are not those that the result names": (made.adapters_sha256, result.adapters_sha256),
        "the data are not those of the result": (made.data_fingerprint, result.provenance.data_fingerprint),
        "the scores are not those of the result": (made.scores, result.matrix[-1]),
    }
    return [words for words, (found, expected) in stated.items() if found != expected]


def find_rescored(root: Path, results: Iterable[Result]) -> tuple[frozenset[str], list[str]]:
    """Return the keys of the results that are marked as re-scored, and a line for each mark that is none."""
    known = {result.key: result for result in results}
    folder, problems, keys = root / "results", list[str](), set[str]()
    changed = broken(folder)
    for path in side_files(folder, RESCORED):
        if path in changed:
            continue  # reported with the results
        for where, made in lines_of(path, Mark, problems):
            result = known.get(made.key)
            if result is None or side_file(root, result, RESCORED) != path:
                problems.append(f"{where} marks {made.key}, which is no result published beside it")
                continue
            errors = contradictions(made, result)
            if made.key in keys:
                errors.append("it is marked twice")
            problems += [f"{where}, {result.name}: {error}" for error in errors]
            if not errors:
                keys.add(made.key)
    return frozenset(keys), problems
