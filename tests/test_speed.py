"""Step times: what `bench speed` prints; the times themselves are for a quiet machine."""

from __future__ import annotations

import re

import pytest
import torch

from benchmark.profiling import method_speed
from benchmark.profiling.speed import Size

SMALL = Size(width=64, blocks=1, tokens=17, batch=4, rank=2)


def test_a_method_s_last_step_is_timed_against_its_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(method_speed, "ROUNDS", 2)
    method_speed.main(["inc-lora", "joint", "frozen"], tasks=3, size=SMALL)
    printed = capsys.readouterr().out
    row = r"\| {} +\| \d\.\d{{4}} +\| \d+\.\d\d +\| 1 +\|"
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
