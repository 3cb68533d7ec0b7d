"""Incremental LoRA: a new adapter per task, earlier ones frozen, all summed.

Idea: the update of task t is learned in its own low-rank adapter on top of the frozen sum of all earlier
ones; no penalty keeps them apart. Folklore, named IncLoRA in the O-LoRA paper (arXiv 2310.14152), whose
method with lambda 0 it is. Trained per task: the new adapter and the head rows of the task's classes.
Stored: T adapters, all active. Needs neither task id, old data nor statistics.

Defaults that differ from the released program: there is none; learning rate and optimiser are this suite's
(O-LoRA's program, with both its weights at zero: AdamW 1e-3).
"""

from __future__ import annotations

from benchmark.lora.method import LowRankMethod


class IncrementalLoRA(LowRankMethod):
    """The stack's plain policy: add, train, freeze."""


METHOD = IncrementalLoRA
