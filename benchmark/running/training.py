"""The one training loop and the one scoring loop."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.data.batches import Rows, shuffle_batches
from benchmark.errors import UserError
from benchmark.method import Method, Phase
from benchmark.results import TRAINED_HEAD
from benchmark.row_scores import mean, pack
from benchmark.running.accumulation import micro_batches
from benchmark.running.checkpoint import reseed
from benchmark.running.readings import Predict, Reader
from benchmark.stream import Examples

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def train(
    method: Method,
    phase: Phase,
    rows: Rows,
    place: tuple[object, ...],
    step_done: Callable[[float], None],
    epoch_done: Callable[[], None] | None = None,
) -> int:
    """Run one phase and return how many optimiser steps it took.

    Args:
        place: what the phase's random numbers depend on: seed, task, phase.
        step_done: gets the finished share of the phase after each step.
        epoch_done: called after each epoch.

    Raises:
        UserError: the loss is not a finite number; the message names the step.
    """
    if phase.before is not None:
        phase.before()
    generator = reseed(*place)
    # A phase that trains one scalar must not pay for the gradients of everything an earlier one trained.
    for parameter in method.task_model.parameters():
        parameter.requires_grad_(False)
    optimizer = make_optimizer(phase)
    parameters = phase.parameters
    device = method.task_model.device
    losses = (phase.loss, *phase.further_losses)
    total = phase.epochs * math.ceil(len(rows) / phase.batch_size) * len(losses)
    step, check = 0, LossCheck(phase, total, device)
    for epoch in range(phase.epochs):
        for chosen in shuffle_batches(len(rows), phase.batch_size, generator):
            factor = rate_factor(phase, epoch, step / total)
            for group, started in zip(optimizer.param_groups, phase.groups, strict=True):
                group["lr"] = started.learning_rate * factor
            batch = rows.batch(chosen, training=True).to(device)
            for loss_of in losses:
                optimizer.zero_grad(set_to_none=True)
                for part, share in micro_batches(batch, method.protocol.micro_batches):
                    loss = loss_of(part)
                    check.see(loss, step)
                    (loss * share if part is not batch else loss).backward()
                _step(optimizer, phase, parameters)
                step += 1
            step_done(step / total)
        check.check()
        if epoch_done is not None:
            epoch_done()
    return step


class LossCheck:
    """Ends a phase whose loss is no number: at once on a CPU, every `EVERY` losses on a GPU.

    To look at a loss is to wait until the device has computed it, and then the device waits in its turn.
    """

    EVERY = 32

    def __init__(self, phase: Phase, total: int, device: torch.device) -> None:
        """Start without losses."""
        self.phase, self.total = phase, total
        self.every = 1 if device.type == "cpu" else self.EVERY
        self._seen: list[tuple[int, Tensor]] = []

    def see(self, loss: Tensor, step: int) -> None:
        """Take the loss of a step, counted from 0.

        Raises:
            UserError: it, or one taken before, is not finite.
        """
        self._seen.append((step, loss.detach()))
        if len(self._seen) >= self.every:
            self.check()

    def check(self) -> None:
        """Look at the losses taken since the last look.

        Raises:
            UserError: one is not finite; the message names the step of the first.
        """
        seen, self._seen = self._seen, []
        if not seen or bool(torch.stack([loss.float() for _, loss in seen]).isfinite().all()):
            return
        step, loss = next((step, loss) for step, loss in seen if not torch.isfinite(loss))
        raise UserError(
            f"the loss became {loss.item()} at step {step + 1} of {self.total} of phase "
            f"'{self.phase.name}'; a smaller learning rate may help (--set learning_rate=...)"
        )


def _step(optimizer: torch.optim.Optimizer, phase: Phase, parameters: list[nn.Parameter]) -> None:
    """Move the parameters by the gradients at hand."""
    if phase.after_backward is not None:
        phase.after_backward()
    if phase.clip is not None:
        torch.nn.utils.clip_grad_norm_(parameters, phase.clip)
    optimizer.step()
    if phase.after_step is not None:
        phase.after_step()


def make_optimizer(phase: Phase) -> torch.optim.Optimizer:
    """Return a fresh optimiser over the phase's groups, and let exactly these parameters change."""
    groups: list[dict[str, Any]] = []
    for group in phase.groups:
        for parameter in group.parameters:
            parameter.requires_grad_(True)
        groups.append(
            {"params": group.parameters, "lr": group.learning_rate, "weight_decay": group.weight_decay}
        )
    options: dict[str, Any] = {"momentum": phase.momentum} if phase.optimizer == "sgd" else {}
    return OPTIMIZERS[phase.optimizer](groups, **options)


def rate_factor(phase: Phase, epoch: int, done: float = 0.0) -> float:
    """Return what the learning rates are multiplied by.

    Args:
        phase: its `schedule` falls to 0 over its steps, on a line or on half a cosine, or on half a cosine
            that only moves between epochs; or to 1.6 % on a quarter of a cosine, cos(99 pi e / (200 (E - 1)))
            at epoch e of E, as InfLoRA's code has it.
        epoch: counted from 0.
        done: the share of the phase's steps taken.
    """
    # Of one epoch no share has passed when it begins, though int() makes 60 % of it 0.
    passed = sum(epoch >= max(1, int(share * phase.epochs)) for share in phase.milestones)
    factor = phase.factor**passed
    if phase.schedule == "linear":
        return factor * (1 - done)
    if phase.schedule == "cosine":
        return factor * (1 + math.cos(math.pi * done)) / 2
    if phase.schedule == "cosine-by-epoch":
        return factor * (1 + math.cos(math.pi * epoch / phase.epochs)) / 2
    if phase.schedule == "quarter-cosine-by-epoch":
        return factor * math.cos(0.495 * math.pi * epoch / max(1, phase.epochs - 1))
    return factor


@torch.no_grad()
def evaluate(
    method: Method, task: int, rows: Rows, examples: Examples, predict: Predict | None = None
) -> float:
    """Return the score of a method's own answer on one task's rows, in 0..1, as a result states it.

    Rows are batched by length.

    Args:
        predict: what answers; the method where it is None.
    """
    metric = method.task_model.metric(method.task_model.tasks[task])
    scores = Reader(method, predict=predict).read(task, rows, examples, seen=False)[TRAINED_HEAD]
    return mean(pack(scores, metric), len(scores), metric)
