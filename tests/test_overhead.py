"""The profile of a run: parts inside parts are counted once, and a real run adds up."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.running.plan import plan
from benchmark.running.training import OPTIMIZERS
from scripts.profiling.overhead import LEARNING, METHOD, Stopwatch, measure, shares


def test_an_inner_part_stops_the_outer_one() -> None:
    now = [0.0]
    callback = Stopwatch(lambda: now[0])

    def work(seconds: float) -> None:
        now[0] += seconds

    work(1)
    with callback.part("outer"):
        work(2)
        callback.timed("inner", work)(4)
        work(8)
    work(16)
    with callback.part("other"):
        pass
    # other: 1 + 16, outer: 2 + 8, inner: 4.
    assert callback.seconds == {"other": 17, "outer": 10, "inner": 4}


def test_the_engine_is_what_is_neither_learning_nor_the_methods() -> None:
    parts = shares({"forward": 3, "scoring": 1, METHOD: 2, "data": 1, "other": 3})
    assert parts["engine"] == pytest.approx(0.4)  # (1 + 3) / 10
    assert parts["forward"] == pytest.approx(0.3)


def test_a_real_run_is_measured_in_every_part_and_left_as_it_was() -> None:
    step = [kind.step for kind in OPTIMIZERS.values()]
    small = ["stream.tasks=2", "stream.train_rows=16", "stream.test_rows=8", "epochs=2"]
    (run,) = plan("litelora", "toy", settings=small)
    seconds = measure(run, Path.cwd())
    assert set(seconds) >= {*LEARNING, METHOD, "data", "model", "saving", "event log", "other"}
    assert all(value > 0 for value in seconds.values())
    assert [kind.step for kind in OPTIMIZERS.values()] == step
