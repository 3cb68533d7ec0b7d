"""Step times: what `bench speed` prints; the times themselves are for a quiet machine."""

from __future__ import annotations

import re
import time

import pytest
import torch

from benchmark.profiling import method_speed, speed, step_timer
from benchmark.profiling.speed import Size
from benchmark.profiling.step_timer import BUSY, Mark, StepTimer

SMALL = Size(width=64, blocks=1, tokens=17, batch=4, rank=2)


def test_a_method_s_last_step_is_timed_against_its_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(method_speed, "ROUNDS", 2)
    method_speed.main(["inc-lora", "joint", "frozen"], tasks=3, size=SMALL)
    printed = capsys.readouterr().out
    row = r"\| {} +\| \d\.\d{{4}} \(\d\.\d{{4}} to \d\.\d{{4}}\) +\| \d+\.\d\d +\| 1 +\|"
    assert re.search(row.format("inc-lora"), printed) and re.search(row.format("frozen"), printed)
    # Joint training learns everything at once: it has no first task.
    assert "joint" not in printed


def test_a_method_is_timed_at_the_task_asked_for() -> None:
    made = method_speed.at_task("inc-lora", 2, 3, SMALL, torch.device("cpu"))
    assert made is not None
    method, phase, rows = made
    assert method.stack.frozen_tasks == [0, 1] and method.stack.current_task == 2  # type: ignore[attr-defined]
    assert phase.name == "adapt" and len(rows) == SMALL.batch
    assert method.task_model.backbone.module.config.hidden_size == SMALL.width  # type: ignore[union-attr]


def test_a_step_on_a_cpu_is_timed_by_the_processor_and_not_by_the_wall() -> None:
    timer = StepTimer(torch.device("cpu"))
    times = timer.new()
    started = timer.mark()
    time.sleep(0.2)  # as while another process has the core
    timer.between(times, started, timer.mark())
    assert times.wall[0] >= 0.2 and times.seconds[0] < 0.1


def test_times_are_given_with_the_least_and_the_most_and_a_busy_machine_is_named() -> None:
    timer = StepTimer(torch.device("cpu"))
    times = timer.new()
    # Three repeats of 1, 2 and 6 processor seconds: the median is 2, whatever the mean.
    for counted, wall in ((1.0, 1.0), (6.0, 7.5), (2.0, 2.0)):
        timer.between(times, Mark(10.0, 50.0), Mark(10.0 + counted, 50.0 + wall))
    assert times.describe() == "2.0000 (1.0000 to 6.0000)"
    # 10.5 seconds on the wall over 9 of the processor are 1.17, which is no more than is allowed.
    assert BUSY > 10.5 / 9 and timer.warning() is None
    timer.between(timer.new(), Mark(0.0, 0.0), Mark(1.0, 5.5))
    # 16 / 10 = 1.6
    assert str(timer.warning()).startswith("the machine is too busy") and "1.60 x" in str(timer.warning())


def test_the_table_over_tasks_warns_when_the_wall_clock_runs_ahead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed, "ROUNDS", 1)
    monkeypatch.setattr(step_timer, "BUSY", 0.0)
    threads = torch.get_num_threads()
    speed.main([1, 2], SMALL)
    printed = capsys.readouterr().out
    assert "processor seconds of one thread at T = 1" in printed
    assert re.search(r"merged +\| \d\.\d{4} \(\d\.\d{4} to \d\.\d{4}\) +\| 1\.00 +\|", printed)
    assert "too busy to believe" in printed.splitlines()[-1]
    assert torch.get_num_threads() == threads
