"""What a step is timed with: processor time on a CPU, time on the wall on a GPU, and whether to believe it.

Processor time counts what this process computed and leaves out what it waited for while others had the
core. It does not leave out everything: a neighbour still takes cache and memory bandwidth. So where the wall
clock went much faster than the processor's, the times are printed with a warning.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

import torch

BUSY = 1.25
"""Wall time over processor time of one thread above which a machine is too busy for its times to count."""


@dataclass
class Times:
    """Seconds of equal steps, the repeats of one measurement.

    Attributes:
        seconds: what counts: processor seconds on a CPU, wall seconds on a GPU.
        wall: wall seconds of the same steps.
    """

    seconds: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The median of the seconds that count."""
        return statistics.median(self.seconds)

    def describe(self) -> str:
        """Return the median with the least and the most, in seconds."""
        return f"{self.median:.4f} ({min(self.seconds):.4f} to {max(self.seconds):.4f})"


@dataclass(frozen=True)
class Mark:
    """One moment on both clocks, in seconds."""

    counted: float
    wall: float


class StepTimer:
    """Clocks of a device, and all times taken with them."""

    def __init__(self, device: torch.device) -> None:
        """Start with nothing measured."""
        self.device = device
        self.taken: list[Times] = []

    @property
    def on_cpu(self) -> bool:
        """Whether processor time counts."""
        return self.device.type == "cpu"

    def mark(self) -> Mark:
        """Return the moment at which all that was asked of the device so far is done."""
        if not self.on_cpu:
            torch.cuda.synchronize(self.device)
        wall = time.perf_counter()
        return Mark(time.process_time() if self.on_cpu else wall, wall)

    def new(self) -> Times:
        """Return empty times that `warning` will look at."""
        self.taken.append(Times())
        return self.taken[-1]

    def between(self, times: Times, start: Mark, end: Mark) -> None:
        """Add the step between two moments to the times."""
        times.seconds.append(end.counted - start.counted)
        times.wall.append(end.wall - start.wall)

    @property
    def clock(self) -> str:
        """What the seconds are, in words."""
        return "processor seconds of one thread" if self.on_cpu else "seconds"

    def warning(self) -> str | None:
        """Return a line where the machine was too busy, and None where the times may be believed.

        On a GPU nothing can warn: another process's share of it shows on no clock.
        """
        counted = sum(sum(times.seconds) for times in self.taken)
        wall = sum(sum(times.wall) for times in self.taken)
        if not self.on_cpu or not counted or wall / counted <= BUSY:
            return None
        return (
            f"the machine is too busy to believe these times: steps took {wall / counted:.2f} x their "
            f"processor time on the wall clock, at most {BUSY} x is expected; measure again when it is quiet"
        )
