"""Which epoch of a task's main phase counts: the last, or the one that scores best."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from benchmark.method import Phase


class BestEpoch:
    """Keeps the trained parameters of the best epoch of a phase; of equal epochs the later one.

    A method that answers with what it only makes at a task's end (class means) scores alike after each epoch
    of the first task, and then keeps the last.
    """

    def __init__(self, phase: Phase, scores: Sequence[Callable[[], float]]) -> None:
        """Follow a phase.

        Args:
            phase: the one that is about to run.
            scores: one for each task trained on; their mean decides.
        """
        self.parameters = phase.parameters
        self.scores = scores
        self.by_epoch: list[float] = []
        self.kept: list[torch.Tensor] = []

    def epoch_done(self) -> None:
        """Score the epoch that has just ended and keep its parameters if none was better."""
        value = sum(score() for score in self.scores) / len(self.scores)
        if not self.by_epoch or value >= max(self.by_epoch):
            self.kept = [parameter.detach().clone() for parameter in self.parameters]
        self.by_epoch.append(value)

    @torch.no_grad()
    def restore(self) -> None:
        """Put the best epoch's parameters back."""
        for parameter, kept in zip(self.parameters, self.kept, strict=True):
            parameter.copy_(kept)
