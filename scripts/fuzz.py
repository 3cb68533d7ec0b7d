"""Hand `bench` thousands of damaged inputs, and count what it does with them.

    python -m scripts.fuzz --count 3000 --seed 0
    python -m scripts.fuzz --count 200 --only results,rows

Commands run in this process, one after another, on small files made here. Each input is drawn from the seed
and its number alone, so that `--first N --count 1` repeats one. What must never be: a traceback, an error
that nobody foresaw, a control character in what is printed, a command without an end, and an input accepted
that is certainly wrong. The exit code is 0 if there was none of these.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from scripts.fuzz_ground import Ground, Input, sound_inputs
from scripts.fuzz_inputs import AREAS

MOST_SECONDS = 60


class Endless(BaseException):
    """A command took longer than anything here should."""


def end_it(*_: object) -> None:
    """Stop a command that has no end."""
    raise Endless(f"no end after {MOST_SECONDS} seconds")


def fault_of(given: Input) -> tuple[str, int, str]:
    """Run one input; return the kind of fault or "", the exit code, and what was printed."""
    from typer.testing import CliRunner

    from benchmark.cli import app

    signal.alarm(MOST_SECONDS)
    try:
        done = CliRunner().invoke(app, given.command, prog_name="bench")
    except Endless as error:
        return "endless", -1, str(error)
    finally:
        signal.alarm(0)
    shown = done.output
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        message = "".join(traceback.format_exception(done.exception)[-3:])
        return "traceback", done.exit_code, f"{type(done.exception).__name__}: {message}"
    if "Traceback (most recent" in shown:
        return "traceback", done.exit_code, shown
    if "internal error:" in shown or "BENCH_DEBUG=1 shows where" in shown:
        return "internal error", done.exit_code, shown
    if done.exit_code not in (0, 1, 2):
        return "strange exit code", done.exit_code, shown
    if re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]", shown):
        return "control character", done.exit_code, shown
    if given.wrong and done.exit_code == 0:
        return "wrongly accepted", 0, shown
    return "", done.exit_code, shown


def main() -> int:
    """Run the inputs, print the counts, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(AREAS), help="areas, separated by commas")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no input after so long")
    chosen = parser.parse_args()
    areas = chosen.only.split(",")
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, end_it)
    faults: Counter[str] = Counter()
    codes: Counter[int] = Counter()
    kinds: Counter[str] = Counter()
    wrong, started = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as where:
        os.environ |= {"BENCH_CACHE": f"{where}/cache", "HF_HUB_OFFLINE": "1", "GIT_DIR": f"{where}/no-git"}
        for name in ("BENCH_DEBUG", "BENCH_DATA"):
            os.environ.pop(name, None)
        ground = Ground(Path(where).resolve() / "ground")
        work = Path(where) / "work"
        work.mkdir()
        os.chdir(work)
        for given in sound_inputs(ground, work):
            fault, code, shown = fault_of(given)
            if fault or code:
                parser.exit(2, f"what is sound is refused: {given.command}: {shown}\n")
        for number in range(chosen.first, chosen.first + chosen.count):
            if time.monotonic() - started > chosen.seconds:
                break
            area = areas[number % len(areas)]
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            os.chdir(work)
            given = AREAS[area](random.Random(f"{chosen.seed}/{number}"), ground, work)
            fault, code, shown = fault_of(given)
            codes[code] += 1
            kinds[area] += 1
            wrong += given.wrong
            if fault:
                faults[fault] += 1
                line = " ".join(shown.split())[-600:]
                message = f"{fault} | {area} {number} | {given.note} | {given.command!r:.300} | {line!r}"
                print(message, file=sys.stderr, flush=True)
        os.chdir(where)
    total = sum(kinds.values())
    print(f"{total} inputs ({', '.join(f'{area} {kinds[area]}' for area in areas)}) in seed {chosen.seed}")
    print(f"exit codes: {dict(sorted(codes.items()))}; {wrong} inputs were certainly wrong")
    listed = ("traceback", "internal error", "wrongly accepted", "control character", "endless")
    print(", ".join(f"{faults[kind]} {kind}" for kind in dict.fromkeys([*listed, *faults])))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
