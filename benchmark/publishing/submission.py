"""Takes results among the published ones: only what can be proved from the file, the registry and the others.

Numbers must follow from the matrix, the key from the settings and the data, the protocol must be the
registered one, and the data those of every other result of the same stream, order, seed and settings.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from benchmark.errors import UserError, unknown
from benchmark.protocol import OF_A_METHOD, Protocol
from benchmark.publishing import marks, ran
from benchmark.publishing.checksums import list_unlisted, publish
from benchmark.publishing.claims import SHA256, claim_errors
from benchmark.publishing.collect import (
    differing,
    find_placed_files,
    flatten,
    load_files,
    objective_of,
    same_run,
)
from benchmark.publishing.side_files import side_files
from benchmark.publishing.soundness import contradictions
from benchmark.result_files import PACKED, each_result, find, pack, records
from benchmark.results import Result, active_adapter_reduction, parse
from benchmark.running.catalogue import exact_stream
from benchmark.running.run import Run
from benchmark.scoring.metrics import headline

COMMIT = re.compile(r"[0-9a-f]{40}")
DIGITS = 8


@dataclass(frozen=True)
class Entry:
    """A result that passed every check of its own.

    Attributes:
        target: the packed file it goes into.
    """

    path: Path
    result: Result
    target: Path


@dataclass(frozen=True)
class Verdict:
    """What became of a submission: the files written, or the reasons, one line each, why nothing was."""

    placed: tuple[Path, ...]
    refused: tuple[str, ...]


def submit(paths: Sequence[Path], root: Path, dry_run: bool = False) -> Verdict:
    """Check results and place them under `<root>/results`: all of them, or none where one is refused.

    They become lines of `results/<stream>/<protocol>.jsonl`, whose hash goes into `results/SHA256SUMS`. What
    else their output folder ran with the same settings stands beside it, see `benchmark.publishing.ran`.

    Args:
        paths: result files, single or packed, or folders of them. Adapters that lie beside one are checked.
        dry_run: only check; `placed` lists what would be written.

    Raises:
        UserError: a published result cannot be used, so that nothing can be compared with it.
    """
    published, problems = load_files(root)
    if problems:
        raise UserError(f"mend the published results first: {'; '.join(problems)}")
    entries: list[Entry] = []
    refused: list[str] = []
    given = dict.fromkeys(file for source in paths for file in find(source))
    for path, where, result in each_result(given, refused):
        reasons = list(validation_errors(result, path))
        refused += [f"{where}: {reason}" for reason in reasons]
        if reasons:
            continue
        folder = Run.of(result).folder(root / "results")
        entries.append(Entry(path, result, folder.with_name(folder.name + PACKED)))
    refused += _against_others(entries, published)
    if refused:
        return Verdict((), tuple(refused))
    if not dry_run:
        submitted: dict[Path, list[Result]] = defaultdict(list)
        for entry in entries:
            submitted[entry.path].append(entry.result)
        publish(root / "results", _merge_packed(entries) | ran.merge_lists(root, submitted))
    return Verdict(tuple(dict.fromkeys(entry.target for entry in entries)), ())


def recheck(root: Path) -> list[str]:
    """Return a line for each reason why what lies under `<root>/results` could not have been submitted.

    So a result that was placed by hand, with a list that goes with it, is reported as well.
    """
    folder = root / "results"
    published, problems = load_files(root)
    problems += list_unlisted(folder, [*find_placed_files(folder), *side_files(folder)])
    results = [result for _, result in published]
    problems += [*marks.find_rescored(root, results)[1], *ran.find_left_out(root, results)]
    for path, result in published:
        problems += [f"{path}: {result.name}: {reason}" for reason in _publication_errors(result, path)]
    entries = [Entry(path, result, path) for path, result in published]
    return [*problems, *_against_others(entries, [])]


def validation_errors(result: Result, path: Path) -> Iterator[str]:
    """Yield every reason why a result cannot be published, as far as it shows without other results.

    Args:
        path: of the result, for what lies beside it.
    """
    yield from contradictions(result)
    yield from _publication_errors(result, path)


def _publication_errors(result: Result, path: Path) -> Iterator[str]:
    """Yield those reasons that are not asked of every result that is read, see `load_files`."""
    for check in (claim_errors, _numbers, _row_scores, _source, incomplete, _protocol):
        yield from check(result)
    yield from _adapters(result, path)


def _adapters(result: Result, path: Path) -> Iterator[str]:
    """The result must state the hash of its adapters, and be right about those that lie beside it."""
    if result.adapters_sha256 is None or not SHA256.fullmatch(result.adapters_sha256):
        yield "it states no hash of its adapters, so that its scores could not be proved"
    elif path.with_suffix(".safetensors").is_file():
        from benchmark.running.checkpoint import error_beside  # with torch, for files that boards lack

        error = error_beside(path, result.key, result.adapters_sha256)
        if error is not None:
            yield error


def _row_scores(result: Result) -> Iterator[str]:
    for name, reading in result.readings.items():
        if reading.matrix and not reading.rows:
            yield f"it lacks the scores of its test rows ({name}); run it again"


def _numbers(result: Result) -> Iterator[str]:
    missing = sorted(
        set(headline(result.matrix, [task.test for task in result.tasks])) - set(result.headline)
    )
    if missing:
        yield f"it lacks {', '.join(missing)}, which this version computes; run it again"
    counts = result.parameters
    if counts.active_adapters:
        stated = counts.active_adapter_reduction
        reduction = active_adapter_reduction(counts.adapters, counts.active_adapters)
        if stated != reduction:
            yield f"it states an active-adapter reduction of {stated}, but its counts give {reduction}"


def _source(result: Result) -> Iterator[str]:
    source = result.provenance
    if source.commit is None or not COMMIT.fullmatch(source.commit):
        yield "its code is unknown: run it from a checkout, so that it names a commit"
    elif source.dirty is not False:
        yield f"its code was not that of commit {source.commit[:DIGITS]}: commit, then run it again"


def incomplete(result: Result) -> Iterator[str]:
    """Say which scores are missing that its protocol asks for.

    A reference row that learned all tasks in one go has no stage but the last; a protocol may score each task
    when it was learned and at the end alone.
    """
    last = len(result.matrix) - 1
    at_once = result.reference and all(cell is None for row in result.matrix[:-1] for cell in row)
    stages = [last] if at_once else range(last + 1)
    few = result.protocol_settings.get("score_at") == "diagonal+last"
    asked = [(t, i) for t in stages for i in range(t + 1) if not few or i == t or t == last]
    missing = [f"R[{t}][{i}]" for t, i in asked if result.matrix[t][i] is None]
    if missing:
        yield f"its matrix is not complete: {', '.join(missing[:5])}{', ...' if missing[5:] else ''} missing"


def _protocol(result: Result) -> Iterator[str]:
    try:
        registered = exact_stream(result.stream).protocols
    except UserError:
        return  # reported by `claim_errors`
    try:
        if result.protocol not in registered:
            raise unknown(
                "protocol", result.protocol, registered, f"bench list protocols --stream {result.stream}"
            )
        used = _read_protocol(result)
    except UserError as error:
        yield str(error)
        return
    free = {"protocol.search.objective"} if objective_of(result) is None else set()
    theirs, ours = (
        {name: value for name, value in _settings(each).items() if name not in free}
        for each in (used, registered[result.protocol])
    )
    changed = differing(theirs, [ours])
    if changed:
        yield f"its protocol is not the registered '{result.protocol}': {changed}"


def _settings(protocol: Protocol) -> Mapping[str, str]:
    """Return what a protocol sets for every method, without the words on where that comes from."""
    return flatten({"protocol": protocol.model_dump(mode="json", exclude={"source", *OF_A_METHOD})})


def _read_protocol(result: Result) -> Protocol:
    try:
        return Protocol(**result.config.get("protocol", {}))
    except (ValidationError, TypeError) as error:
        raise UserError(f"its protocol cannot be read: {str(error).splitlines()[0]}") from None


def _against_others(entries: Sequence[Entry], published: Sequence[tuple[Path, Result]]) -> Iterator[str]:
    """Yield why results do not go with the published ones and with each other."""
    runs = {same_run(result): (path, result) for path, result in published}
    facts: dict[str, tuple[Path, Result]] = {}
    learned: dict[str, tuple[Path, Result]] = {}
    for path, result in published:
        facts.setdefault(_rows_seen(result), (path, result))
        for trace in _traces(result):
            learned.setdefault(trace, (path, result))
    for entry in entries:
        other, known_result = runs.setdefault(same_run(entry.result), (entry.path, entry.result))
        if known_result != entry.result:
            yield f"{entry.path}: {other} holds this run already; a run is published once"
            continue
        for trace in _traces(entry.result):
            path, twin = learned.setdefault(trace, (entry.path, entry.result))
            if twin.key != entry.result.key:
                yield (
                    f"{entry.path}: {entry.result.name} has the adapters or the times of {twin.name} in "
                    f"{path}, which no two runs share"
                )
                break
        path, like = facts.setdefault(_rows_seen(entry.result), (entry.path, entry.result))
        if _facts(like) != _facts(entry.result):
            yield f"{entry.path}: the tasks of {entry.result.name} are not those of {like.name} in {path}"
        fingerprint, known = (each.provenance.data_fingerprint for each in (entry.result, like))
        if fingerprint != known:
            yield (
                f"{entry.path}: its data are not those of {path}: their fingerprints begin with "
                f"{fingerprint[:DIGITS]} and {known[:DIGITS]}"
            )


def _traces(result: Result) -> Iterator[str]:
    """Yield what no two runs share: the hash of adapters, which hold the run's key, and times to 1e-9 s."""
    if result.adapters_sha256 is not None:
        yield result.adapters_sha256
    yield json.dumps(result.timing.train_seconds)


def _facts(result: Result) -> object:
    # Not the metric: one stream is answered with a class by one backbone and in words by another.
    tasks = [task.model_dump(exclude={"metric"}) for task in result.tasks]
    return result.provenance.class_order, result.needs_adapter, tasks


def _rows_seen(result: Result) -> str:
    """Return a text that is equal for results that must have seen the same rows."""
    used = _read_protocol(result).identity()
    settings: Mapping[str, object] = {
        "protocol": {name: value for name, value in used.items() if name not in OF_A_METHOD},
        "parameters": result.config.get("parameters", {}),
    }
    return json.dumps([result.stream, result.order, result.seed, settings], sort_keys=True)


def _merge_packed(entries: Sequence[Entry]) -> dict[Path, bytes]:
    """Return the packed files that results belong to, with the results in them."""
    groups: dict[Path, list[Result]] = defaultdict(list)
    for entry in entries:
        groups[entry.target].append(entry.result)
    files = {}
    for target, results in groups.items():
        before = [parse(data, where) for where, data in records(target)] if target.is_file() else []
        # What is there already is no second result, so that an interrupted submission may be given again.
        files[target] = pack({result.key: result for result in [*before, *results]}.values())
    return files
