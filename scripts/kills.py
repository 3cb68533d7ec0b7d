"""Kill runs of every kind again and again, start them again, and compare what is left with undisturbed runs.

    python -m scripts.kills --kills 200 --seed 0
    python -m scripts.kills --only image,gcs --kills 20
    python -m scripts.kills --kills 200 --tally kills.jsonl

What is hit is the run itself, one of two runs while it fills the cache that both share, a worker of Ray, the
command that started Ray, the process that Ray keeps its state in, or whatever Ray's own guard of the memory
chooses. The same command is given again until a round's kills are spent; then it runs to its end. Every file
must have the bytes of a run that nothing happened to, times aside. The exit code is 0 if all have.

With a tally each round that was compared is a line of its file; the same command goes on from there, and
counts no round of other code.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

from benchmark.running.sweep_folder import SweepFolder
from scripts.forks import FORKS, PRELOADED, Fork, Started
from scripts.fuzz_ground import ROWS, stream_of, write_rows
from scripts.mutations import toml_file
from tests.outputs import content

ROOT = Path(__file__).parents[1]
DRY_ROUNDS = 3
LOW_MEMORY = "running low on memory"
RUNNING = "ray::run_limited"  # a worker of Ray that has a run
PARTS = {"worker": RUNNING, "driver": "driver", "gcs": "gcs_server"}
# Above no threshold is anything left: Ray's guard kills a worker every two seconds.
GUARDED = {"RAY_memory_usage_threshold": "0.01", "RAY_memory_monitor_refresh_ms": "2000"}


@dataclass(frozen=True)
class Scenario:
    """What runs, and what of it is killed.

    Attributes:
        command: after `bench run`.
        share: of all kills.
        a_round: kills before the runs may end and are compared.
        longest: most seconds between the sign to kill and the kill.
    """

    command: tuple[str, ...]
    share: float
    a_round: int
    longest: float


def settings(*texts: str) -> tuple[str, ...]:
    """Return `--set` flags."""
    return tuple(part for text in texts for part in ("--set", text))


TOY = ("--stream", "toy", "--seed", "0-1", *settings("epochs=40"), "--workers", "2", "--retry")
DIGITS = ("--method", "inc-lora", "--stream", "digits", *settings("rank=2"))
TEXTS = settings("source_length=32", "validation=0", "epochs=30", "rank=2")
SCENARIOS = {
    "image": Scenario((*DIGITS, *settings("epochs=2", "train_limit=64", "test_limit=32")), 0.4, 8, 1.0),
    "text": Scenario(("--method", "inc-lora", "--stream", "{text}", *TEXTS), 0.4, 8, 1.0),
    "cache": Scenario(
        (*DIGITS, "--seed", "{seed}", *settings("epochs=1", "blocks=last:2", "test_limit=32")), 0.08, 1, 0.5
    ),
    "worker": Scenario(("--method", "seq-lora,inc-lora", *TOY), 0.04, 5, 2.0),
    "driver": Scenario(("--method", "seq-lora,inc-lora", *TOY), 0.01, 2, 2.0),
    "gcs": Scenario(("--method", "seq-lora,inc-lora", *TOY), 0.03, 3, 2.0),
    "memory": Scenario(("--method", "seq-lora,inc-lora", *TOY), 0.04, 8, 0.0),
}


@dataclass
class Tally:
    """What came of one scenario."""

    kills: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    files: int = 0
    differing: list[str] = field(default_factory=list)


def code() -> str:
    """Return a hash of the code that runs go through."""
    found = sha256()
    for room in ("benchmark", "methods", "tasks"):
        for path in sorted((ROOT / room).rglob("*.py")):
            found.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return found.hexdigest()


def recorded(file: Path | None, name: str) -> list[dict[str, Any]]:
    """Return the rounds of a scenario that a tally holds of the code as it is."""
    if file is None or not file.exists():
        return []
    rounds = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    here = code()
    return [each for each in rounds if each["scenario"] == name and each["code"] == here]


class Ground:
    """Where a scenario runs: its folder, and what is started in it."""

    def __init__(self, folder: Path, scenario: Scenario, drawn: random.Random) -> None:
        """Lay out the stream of texts, should it be asked for."""
        self.folder, self.scenario, self.drawn = folder, scenario, drawn
        self.folder.mkdir(parents=True)
        self.text = folder / "stream.toml"

    def lay_out(self) -> None:
        """Write two tasks of texts and the tiny encoder that learns them."""
        from tests import tiny

        shutil.copytree(tiny.folder("encoder"), self.folder / "model")
        many = [
            row | {"id": f"{row['id']}-{n}", "text": f"{row['text']} {n}"} for row in ROWS for n in range(4)
        ]
        write_rows(self.folder, many, "csv")
        described = stream_of(backbone=str(self.folder / "model"))
        self.text.write_text(toml_file(described), encoding="utf-8")

    def start(self, out: Path, cache: Path, seed: int = 0, **variables: str) -> Started:
        """Start the command in a process of its own; what it prints goes beside its output folder."""
        arguments = [part.format(text=self.text, seed=seed) for part in self.scenario.command]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENCH_CACHE": str(cache), **variables}
        # Commits made meanwhile are kept out of the results.
        environment["GIT_DIR"] = str(self.folder / "no-repository")
        command = ["run", *arguments, "--out", str(out)]
        if "--workers" not in command:
            return Fork(command, out.with_suffix(".log"), environment)
        whole = [sys.executable, "-m", "benchmark", *command]
        with open(out.with_suffix(".log"), "a", encoding="utf-8") as shown:
            return subprocess.Popen(
                whole, stdout=shown, stderr=shown, env=environment, start_new_session=True
            )

    def finish(self, out: Path, cache: Path, seeds: Sequence[int] = (0,)) -> dict[str, bytes]:
        """Give the command again until it completes, and return what it left.

        Raises:
            RuntimeError: it does not complete.
        """
        for seed in seeds:
            # A worker that outlived its driver may still hold a run.
            codes = [self.start(out, cache, seed).wait(timeout=1800)]
            while codes[-1] and len(codes) < 3:
                codes.append(self.start(out, cache, seed).wait(timeout=1800))
            if codes[-1]:
                raise RuntimeError(out.with_suffix(".log").read_text(encoding="utf-8")[-2000:])
        return content(out)


def at_work(out: Path) -> int:
    """Return the bytes that runs have reported so far."""
    return sum(path.stat().st_size for path in (SweepFolder(out).root / "events").glob("*"))


def children(process: Started, name: str) -> list[psutil.Process]:
    """Return what a process has started, by a part of its command line."""
    found = []
    try:
        for child in psutil.Process(process.pid).children(recursive=True):
            if name in " ".join([child.name(), *child.cmdline()]):
                found.append(child)
    except psutil.Error:  # one of them ended meanwhile
        return []
    return found


def kill_run(ground: Ground, out: Path, cache: Path) -> Iterator[str]:
    """Kill a run of one process, once it is at work or, one time in four, while it still loads."""
    process = ground.start(out, cache)
    before, loading = at_work(out), ground.drawn.random() < 0.25
    while not loading and process.poll() is None and at_work(out) == before:
        time.sleep(0.01)
    time.sleep(ground.drawn.uniform(0, ground.scenario.longest))
    process.kill()
    if process.wait() == -signal.SIGKILL:
        yield "while it loaded" if loading else "at work"


def kill_maker(ground: Ground, out: Path, cache: Path) -> Iterator[str]:
    """Kill the one of two runs that share a cache which fills it; the other goes on."""
    first, second = ground.start(out, cache, 0), ground.start(out, cache, 1)
    while first.poll() is None and not list((cache / "prefix").glob("*.tmp")):
        time.sleep(0.002)
    time.sleep(ground.drawn.uniform(0, ground.scenario.longest))
    halves = list((cache / "prefix").glob("*.tmp"))
    victim, other = (first, second) if ground.drawn.random() < 0.5 else (second, first)
    victim.kill()
    if victim.wait() == -signal.SIGKILL:
        yield "an entry half made" if halves else "between two entries"
    if other.wait(timeout=1800):
        raise RuntimeError(out.with_suffix(".log").read_text(encoding="utf-8")[-2000:])


def kill_part(ground: Ground, out: Path, cache: Path, name: str) -> Iterator[str]:
    """Kill a worker of Ray's, whose run goes on, or its state or the driver, which ends the command."""
    process, kills = ground.start(out, cache), 0
    while process.poll() is None and kills < ground.scenario.a_round:
        before = at_work(out)
        while process.poll() is None and (at_work(out) == before or not children(process, RUNNING)):
            time.sleep(0.05)
        time.sleep(ground.drawn.uniform(0, ground.scenario.longest))
        found: Sequence[Started | psutil.Process] = [process] if name == "driver" else children(process, name)
        if found and process.poll() is None:
            ground.drawn.choice(found).kill()
            kills += 1
            yield "killed"
        if name != RUNNING:
            break
    process.wait(timeout=1800)  # it ends by itself


def lost_for_memory(told: str) -> int:
    """Return how many runs were lost for memory, by a command's last lines; those of progress say it too."""
    return sum(line.startswith("failed: ") and LOW_MEMORY in line for line in told.splitlines())


def kill_for_memory(ground: Ground, out: Path, cache: Path) -> Iterator[str]:
    """Have Ray kill workers for the memory they take, until each run was lost as often as is borne."""
    log = out.with_suffix(".log")
    before = lost_for_memory(log.read_text(encoding="utf-8")) if log.exists() else 0
    ground.start(out, cache, **GUARDED).wait(timeout=1800)
    failed = lost_for_memory(log.read_text(encoding="utf-8")) - before
    yield from ["a run was lost 3 times"] * (3 * failed)


def kills_of(name: str, ground: Ground, out: Path, cache: Path) -> Iterator[str]:
    """Yield, for each kill that hit, what it hit; the same command is given again after each."""
    if name == "cache":
        yield from kill_maker(ground, out, cache)
    elif name == "memory":
        yield from kill_for_memory(ground, out, cache)
    elif name in PARTS:
        yield from kill_part(ground, out, cache, PARTS[name])
    else:
        yield from kill_run(ground, out, cache)


def suffer(name: str, folder: Path, kills: int, seed: int, file: Path | None = None) -> Tally:
    """Kill the runs of a scenario so often, rounds in the file included, and compare after each round.

    Raises:
        RuntimeError: a run did not complete once it was left alone, or they end too soon to be killed.
    """
    scenario, tally = SCENARIOS[name], Tally()
    for each in recorded(file, name):
        tally.kills.update(each["kills"])
        tally.differing += each["differing"]
        tally.rounds, tally.files = tally.rounds + 1, each["files"]
    if tally.kills.total() >= kills:
        return tally
    ground = Ground(folder, scenario, random.Random(f"{seed}/{name}/{tally.rounds}"))
    ground.lay_out()
    seeds = (0, 1) if name == "cache" else (0,)
    expected = ground.finish(folder / "undisturbed", folder / "cache", seeds)
    tally.files, dry = len(expected), 0
    while tally.kills.total() < kills:
        out = folder / f"killed-{tally.rounds}"
        cache = folder / f"cache-{tally.rounds}" if name == "cache" else folder / "cache"
        most = min(scenario.a_round, kills - tally.kills.total())
        hits, missed = Counter[str](), False
        while hits.total() < most and not missed:
            missed = True  # it was complete before the kill
            for hit in kills_of(name, ground, out, cache):
                hits[hit] += 1
                missed = False
        found = ground.finish(out, cache, seeds)
        dry = 0 if hits else dry + 1
        if dry == DRY_ROUNDS:
            raise RuntimeError(f"{name}: {dry} rounds in a row ended before anything was killed")
        differing = [path for path in expected.keys() | found.keys() if expected.get(path) != found.get(path)]
        named = [f"{out.name}/{path}" for path in sorted(differing)]
        tally.kills, tally.rounds, tally.differing = (
            tally.kills + hits,
            tally.rounds + 1,
            tally.differing + named,
        )
        if file is not None:
            line = {"scenario": name, "code": code(), "kills": dict(hits), "files": tally.files}
            with open(file, "a", encoding="utf-8") as told:
                told.write(json.dumps(line | {"differing": named}) + "\n")
        print(f"{name}: {dict(tally.kills)} in {tally.rounds} rounds", file=sys.stderr, flush=True)
    return tally


def main() -> int:
    """Kill in every scenario, print the tally, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(SCENARIOS), help="scenarios, separated by commas")
    parser.add_argument("--tally", type=Path, help="a file of rounds to go on from and add to")
    chosen = parser.parse_args()
    names = chosen.only.split(",")
    whole = sum(SCENARIOS[name].share for name in names)
    FORKS.set_forkserver_preload(PRELOADED)
    total, bad = 0, list[str]()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name in names:
            kills = max(1, round(chosen.kills * SCENARIOS[name].share / whole))
            tally = suffer(name, Path(folder) / name, kills, chosen.seed, chosen.tally)
            total += tally.kills.total()
            bad += tally.differing
            what = ", ".join(f"{count} {hit}" for hit, count in sorted(tally.kills.items()))
            print(
                f"{name}: {tally.kills.total()} kills ({what}) in {tally.rounds} rounds, {tally.files} files "
                f"each, {len(tally.differing)} differ",
                flush=True,
            )
    print(f"{total} kills, {len(bad)} files that differ{': ' + ', '.join(bad[:5]) if bad else ''}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
