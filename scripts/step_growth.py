"""Measures how a training step grows with the number of tasks, against the ratios that it should keep.

    python -m scripts.step_growth
    python -m scripts.step_growth --width 384 --blocks 6 --rounds 9

Steps at T = 1, 20 and 50 take turns, so that whatever else the machine does hits all of them, and processor
time of one thread counts. Every ratio is the median over the rounds of a step's time over that of the step at
T = 1 of the same round. The exit code is 1 where a ratio exceeds its bound, and 2 where the machine was too
busy for any of them to be believed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace

import torch

from benchmark.profiling.speed import Size, build_merged, build_stacked, time_step
from benchmark.profiling.step_timer import StepTimer

BOUNDS = {
    ("learned scales", 20): 1.10,
    ("fixed scales", 20): 1.02,
    ("learned scales", 50): 1.25,
    ("fixed scales", 50): 1.25,
}
VARIANTS = {"learned scales": build_stacked, "fixed scales": build_merged}
TASKS = (1, 20, 50)


def growth(size: Size, rounds: int, timer: StepTimer) -> dict[tuple[str, int], list[float]]:
    """Return, by variant and T, each round's time of a step over that at T = 1."""
    shape, images = size.shape(), torch.randn(size.batch, 3, size.side, size.side)
    ratios: dict[tuple[str, int], list[float]] = {}
    for name, make in VARIANTS.items():
        models = {count: make(shape, count, size.rank) for count in TASKS}
        for turn in range(rounds + 1):
            taken = {}
            # Another one begins each round: what comes first finds another's data in the caches.
            for count in (*TASKS[turn % 3 :], *TASKS[: turn % 3]):
                times = timer.new()
                time_step(timer, times, models[count], images)
                taken[count] = times.seconds[0]
            if turn:  # the first round warms up
                for count in TASKS[1:]:
                    ratios.setdefault((name, count), []).append(taken[count] / taken[1])
    return ratios


def main(arguments: list[str]) -> int:
    """Print a line for each ratio and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--width", type=int, default=Size.width)
    parser.add_argument("--blocks", type=int, default=Size.blocks)
    chosen = parser.parse_args(arguments)
    torch.manual_seed(0)
    timer = StepTimer(torch.device("cpu"))
    torch.set_num_threads(1)  # several would count each other's waiting as processor time
    found = growth(replace(Size(), width=chosen.width, blocks=chosen.blocks), chosen.rounds, timer)
    above = False
    for (name, count), values in found.items():
        ratio, bound = statistics.median(values), BOUNDS[name, count]
        above |= ratio > bound
        spread = f"{min(values):.3f} to {max(values):.3f}"
        print(f"{name}, T = {count}: {ratio:.3f} ({spread}), at most {bound:.2f}")
    warning = timer.warning()
    if warning is not None:
        print(warning)
        return 2
    return int(above)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
