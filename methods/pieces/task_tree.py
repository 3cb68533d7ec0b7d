"""TreeLoRA's binary tree over tasks: each level splits a group by similarity in one layer.

arXiv 2506.10355, ICML 2025.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class TaskTree:
    """A group of tasks.

    Attributes:
        tasks: indices of the group's tasks.
        median: of the tasks' similarities to the group's mean, where the group is split; None for a leaf.
        left: the tasks whose similarity is at least the median.
        right: the others.
    """

    tasks: list[int]
    median: float | None = None
    left: TaskTree | None = None
    right: TaskTree | None = None

    def child_with(self, task: int) -> TaskTree | None:
        """Return the half that holds a task; None for a leaf."""
        if self.left is None:
            return None
        return self.left if task in self.left.tasks else self.right


def build(means: Tensor) -> TaskTree:
    """Return the tree of tasks by how each one's vectors `(tasks, layers, n)` differ from those before it."""
    steps = means.clone()
    steps[1:] -= means[:-1]
    return _split(list(range(len(means))), 0, steps)


def _split(tasks: list[int], depth: int, steps: Tensor) -> TaskTree:
    if depth == steps.shape[1] or len(tasks) < 2:
        return TaskTree(tasks)
    vectors = steps[tasks, depth]
    similarities = vectors @ vectors.mean(0)
    # Of an even number torch takes the lower of the two in the middle.
    median = torch.median(similarities)
    near = (similarities >= median).tolist()
    left = [task for task, is_near in zip(tasks, near, strict=True) if is_near]
    right = [task for task, is_near in zip(tasks, near, strict=True) if not is_near]
    if not right:
        left, right = tasks[: len(tasks) // 2], tasks[len(tasks) // 2 :]
    return TaskTree(tasks, float(median), _split(left, depth + 1, steps), _split(right, depth + 1, steps))
