"""Which rows of a task a run sees: limits, and validation rows held out of train. Test rows never change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.stream import Examples, Task

if TYPE_CHECKING:
    import numpy as np


def draw(examples: Examples, count: int, seed: int, spare: int = 0) -> np.ndarray:
    """Return `count` row numbers in ascending order, spread over the labels by their shares.

    Rows are ranked by their place within their class over the size of the class, so every class gives its
    first row before a second one is taken from any class of the same size.

    Args:
        count: how many rows are wanted; fewer come back where `spare` forbids more.
        seed: equal seeds sample equal rows.
        spare: rows of each class that may not be drawn.
    """
    import numpy as np

    total = len(examples)
    order = np.random.RandomState(seed).permutation(total)
    labels = np.zeros(total, np.int64) if examples.labels is None else examples.labels
    share = np.empty(total)
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        share[rows] = np.arange(len(rows)) / len(rows)
        share[rows[max(0, len(rows) - spare) :]] = np.inf
    ranked = order[np.argsort(share[order], kind="stable")]
    allowed = ranked[np.isfinite(share[ranked])]
    return np.sort(allowed[:count])


def hold_out(examples: Examples, share: float, seed: int) -> tuple[Examples, Examples]:
    """Split rows in two by label: the rows kept, and about `share` of them held out.

    The kept part holds at least one row of every class, so it is never empty. Both parts keep the rows'
    order. At least one row is held out where that is possible.
    """
    import numpy as np

    count = max(1, round(share * len(examples)))
    held = draw(examples, count, seed, spare=1)
    kept = np.setdiff1d(np.arange(len(examples)), held)
    return examples.take(kept), examples.take(held)


def limit(examples: Examples, most: int | None, seed: int) -> Examples:
    """Return at most `most` rows, in their own order; all of them where `most` is None."""
    if most is None or len(examples) <= most:
        return examples
    return examples.take(draw(examples, most, seed))


def pick_fixed(examples: Examples, most: int | None) -> Examples:
    """Return the first `most` of a permutation that is the same for every seed, in the rows' order."""
    import numpy as np

    if most is None or len(examples) <= most:
        return examples
    return examples.take(np.sort(np.random.RandomState(0).permutation(len(examples))[:most]))


def prepare(task: Task, protocol: Protocol, seed: int) -> Task:
    """Return the task with the rows that a protocol and a seed give a run.

    Validation is the source's own where it has one, else held out of train before train is limited, so
    that `train_limit` rows are trained on. It is never larger than `test_limit`.

    Raises:
        UserError: the protocol scores or selects on validation rows and there are none.
    """
    train, validation = task.train, task.validation
    if validation is not None and len(validation) > 0:
        validation = pick_fixed(validation, protocol.test_limit)
    elif protocol.validation > 0 and len(train) > 1:
        train, held = hold_out(train, protocol.validation, seed)
        validation = limit(held, protocol.test_limit, seed) if len(held) else None
    else:
        validation = None
    if validation is None and "validation" in (protocol.score_on, protocol.selection):
        use = "scores" if protocol.score_on == "validation" else "selects epochs"
        raise UserError(
            f"the protocol '{protocol.name}' {use} on validation rows, but the task '{task.name}' has none; "
            "set its share `validation` above 0"
        )
    return replace(
        task,
        train=limit(train, protocol.train_limit, seed),
        validation=validation,
        test=pick_fixed(task.test, protocol.test_limit),
    )
