"""Forge results in many ways, place them by hand, and say what the check of the boards makes of each.

    python -m scripts.forge

One small run is made; each forgery is a copy of it that agrees with itself again: key, headline, hash of the
adapters and list of checksums are made anew. It is placed among published results, beside the genuine one
where the two are different runs. Then `bench leaderboard --check` says why it is refused; where it does not,
all that was changed must be among what a result is said to attest. What is neither is unseen, and the exit
code is 1. What stands beside results is forged as well. The commit of the genuine run is made up, since the
checkout at hand may hold changes.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmark.analysis.rescoring import rescore
from benchmark.errors import UserError
from benchmark.publishing import marks
from benchmark.publishing.checksums import record
from benchmark.publishing.claims import ATTESTED as ATTESTED_FIELDS
from benchmark.publishing.collect import same_run
from benchmark.publishing.side_files import as_bytes
from benchmark.publishing.submission import recheck
from benchmark.results import Result, parse, read, to_json, write
from benchmark.running.run import Run
from benchmark.scoring.metrics import headline
from scripts.forgeries import ATTESTED, FORGERIES, Data, Forgery, forged
from scripts.side_forgeries import SIDE_FORGERIES, side_outcome

DERIVED = frozenset({"key", "headline", "run", "needs", "reference"})
"""Fields that the check works out itself, and that can therefore be only what follows from the others."""
SMALL = ("stream.tasks=2", "stream.train_rows=10", "stream.test_rows=7")


def genuine(folder: Path, seeds: str = "0") -> Path:
    """Run seq-lora on two tasks of the toy stream, and return the first result's path, adapters beside it.

    Raises:
        RuntimeError: the run failed.
    """
    from typer.testing import CliRunner

    from benchmark.cli import app

    settings = [part for text in SMALL for part in ("--set", text)]
    run = ["run", "--method", "seq-lora", "--stream", "toy"]
    command = [*run, *settings, "--seed", seeds, "--out", str(folder)]
    done = CliRunner().invoke(app, command, prog_name="bench")
    if done.exit_code:
        raise RuntimeError(done.output)
    path = sorted(folder.glob("toy/smoke/*.json"))[0]
    result = read(path)
    source = result.provenance.model_copy(update={"commit": "0" * 40, "dirty": False})
    write(result.model_copy(update={"provenance": source}), path)
    return path


def outcome(forgery: Forgery, sound: Path, root: Path) -> tuple[str, str]:
    """Place a forgery in an empty folder; return `refused`, `attested` or `unseen`, and why, in a line."""
    original = json.loads(sound.read_bytes())
    data = forged(original, forgery)
    try:
        finished = _finish(data, forgery)
    except (UserError, ValueError):
        # Whatever reads it refuses it: it is placed as it is, and the check's line is what counts.
        finished = None
    if finished is not None:
        data = json.loads(to_json(finished.model_dump(mode="json")))
    folder = root / "results" / str(data["stream"]) / str(data["protocol"])
    places = [folder / "forged.json"]
    folder.mkdir(parents=True)
    places[0].write_bytes(to_json(data))
    _place_adapters(data, original["key"], forgery, sound, places[0])
    true = read(sound)
    if finished is not None and same_run(finished) != same_run(true) and finished.key != true.key:
        beside = root / "results" / true.stream / true.protocol / "a-genuine.json"
        beside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(sound, beside)
        places.append(beside)
    record(root / "results", places)
    lines = [line.replace(str(root), "") for line in recheck(root)]
    if lines:
        return "refused", lines[0]
    changed = sorted(set(_changes(original, data)))
    unsaid = [name for name in changed if not _attests(name)]
    if unsaid or not changed:
        return "unseen", ", ".join(unsaid) or "nothing was changed"
    return "attested", ", ".join(changed)


def _finish(data: Data, forgery: Forgery) -> Result:
    """Make anew what follows from the rest, as a forger would who knows the suite."""
    result = parse(to_json(data), "the forgery")
    if not forgery.finish:
        return result
    result.headline = headline(result.matrix, [task.test for task in result.tasks])
    result.key = Run.of(result).key(result.provenance.data_fingerprint)
    return result


def _place_adapters(data: Data, key: str, forgery: Forgery, sound: Path, place: Path) -> None:
    """Write the adapters beside a forgery, as another file with the forged key where the forger makes one."""
    from benchmark.running.checkpoint import pack, read_state

    file = sound.with_suffix(".safetensors")
    if not forgery.adapters:
        shutil.copy(file, place.with_suffix(".safetensors"))
        return
    content = pack(read_state(file, key), str(data["key"]))
    place.with_suffix(".safetensors").write_bytes(content)
    data["adapters_sha256"] = sha256(content).hexdigest()
    place.write_bytes(to_json(data))


def mark_of(sound: Path) -> bytes:
    """Return the line that `bench score --mark` writes for a result."""
    found = rescore(sound, None).found
    return as_bytes([marks.mark_of(read(sound), sound.with_suffix(".safetensors").read_bytes(), found)])


def _changes(before: Any, after: Any, at: str = "") -> Iterator[str]:
    """Yield the dotted names of what differs; lists count as one."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            yield from _changes(before.get(name), after.get(name), f"{at}.{name}" if at else name)
    elif before != after and at.partition(".")[0] not in DERIVED:
        yield at


def _attests(name: str) -> bool:
    return any(name == field or name.startswith(f"{field}.") for field in ATTESTED_FIELDS)


def main() -> int:
    """Forge in every way, print what became of each with the counts, and return the exit code."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as where:
        os.environ |= {"BENCH_CACHE": f"{where}/cache", "HF_HUB_OFFLINE": "1"}
        sound = genuine(Path(where) / "runs")
        shutil.copytree(sound.parent, Path(where) / "true" / "results" / "toy" / "smoke")
        (placed,) = (Path(where) / "true" / "results").glob("*/*/*.json")
        record(Path(where) / "true" / "results", [placed])
        if lines := recheck(Path(where) / "true"):
            print(f"what is genuine is refused: {lines[0]}", file=sys.stderr)
            return 1
        for number, (name, forgery) in enumerate(FORGERIES.items()):
            found, line = outcome(forgery, sound, Path(where) / str(number))
            counts[found] += 1
            print(f"{found:<9} {name}: {line[:160]}")
        beside = genuine(Path(where) / "two-seeds", "0-1")
        line_of_it = mark_of(beside)
        for number, (name, side) in enumerate(SIDE_FORGERIES.items()):
            found, line = side_outcome(side, beside, line_of_it, Path(where) / f"side-{number}")
            found = "unseen" if found == ATTESTED != side.expected else found
            counts[found] += 1
            print(f"{found:<9} {name}: {line[:160]}")
    summary = ", ".join(f"{counts[kind]} {kind}" for kind in ("refused", "attested", "unseen"))
    print(f"{sum(counts.values())} forgeries: {summary}")
    return 1 if counts["unseen"] else 0


if __name__ == "__main__":
    sys.exit(main())
