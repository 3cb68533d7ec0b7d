"""Which epoch of a task counts: worked by hand, and against runs of fewer epochs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark.method import ParameterGroup, Phase
from benchmark.running.driver import run
from benchmark.running.plan import plan
from benchmark.running.selection import BestEpoch

SMALL = ["stream.tasks=2", "stream.train_rows=24", "stream.test_rows=40", "learning_rate=0.3"]
EPOCHS = 4


def test_the_later_of_the_best_epochs_is_put_back() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    phase = Phase("adapt", [ParameterGroup([parameter], 0.1)], lambda _: parameter.sum(), 4, 1)
    # Of two tasks; the means of the four epochs are 0.25, 0.5, 0.5, 0.375.
    first, second = iter([0.25, 0.75, 0.5, 0.5]), iter([0.25, 0.25, 0.5, 0.25])
    best = BestEpoch(phase, [lambda: next(first), lambda: next(second)])
    for epoch in range(4):
        parameter.data.fill_(float(epoch))
        best.epoch_done()
    best.restore()
    assert best.by_epoch == [0.25, 0.5, 0.5, 0.375]
    assert parameter.tolist() == [2.0, 2.0]


def scores(out: Path, method: str, *settings: str) -> list[list[float | None]]:
    """Return the score matrix of a small run."""
    outcome = run(
        plan(method, "toy", settings=[*SMALL, *settings]), out, None, 1, "cpu", False, lambda _: None
    )[0]
    assert outcome.result is not None, outcome.error
    return outcome.result.matrix


def test_selection_on_test_rows_takes_the_best_of_all_epochs(tmp_path: Path) -> None:
    # The first epochs of a longer run are those of a shorter one, so runs of 1 .. 4 epochs show each epoch.
    by_epoch = [scores(tmp_path, "seq-lora", f"epochs={epochs}")[0][0] for epochs in range(1, EPOCHS + 1)]
    assert len(set(by_epoch)) > 1, "the epochs must differ for this test to show anything"
    chosen = scores(tmp_path, "seq-lora", f"epochs={EPOCHS}", "selection=paper")[0][0]
    assert chosen == max(score for score in by_epoch if score is not None)


def test_selection_on_validation_rows_takes_the_epoch_that_is_best_there(tmp_path: Path) -> None:
    on = {
        split: [
            scores(tmp_path, "seq-lora", f"epochs={epochs}", f"score_on={split}")[0][0] or 0.0
            for epochs in range(1, EPOCHS + 1)
        ]
        for split in ("validation", "test")
    }
    best = max(range(EPOCHS), key=lambda epoch: (on["validation"][epoch], epoch))
    chosen = scores(tmp_path, "seq-lora", f"epochs={EPOCHS}", "selection=validation")[0][0]
    assert chosen == on["test"][best]


@pytest.mark.parametrize("method", ["litelora", "cl-lora", "joint", "ewc-lora"])
def test_methods_of_other_kinds_select_too(tmp_path: Path, method: str) -> None:
    matrix = scores(tmp_path, method, "epochs=2", "selection=validation")
    assert matrix[1][1] is not None


def test_without_validation_rows_selection_is_refused(tmp_path: Path) -> None:
    runs = plan("seq-lora", "toy", settings=[*SMALL, "selection=validation", "protocol.validation=0"])
    outcome = run(runs, tmp_path, None, 1, "cpu", False, lambda _: None)[0]
    assert outcome.error is not None and "selects epochs on validation rows" in outcome.error


def test_domains_must_share_their_classes(tmp_path: Path) -> None:
    runs = plan("seq-lora", "toy", settings=[*SMALL, "head=domain-incremental"])
    outcome = run(runs, tmp_path, None, 1, "cpu", False, lambda _: None)[0]
    assert outcome.error is not None and "the same classes in every task" in outcome.error
