"""pytest tests/test_splits.py"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.data import splits
from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.stream import Examples, Task


def examples(labels, prefix="r"):
    labels = np.asarray(labels)
    return Examples(
        [f"{prefix}{i}" for i in range(len(labels))],
        labels,
        None,
        [f"{prefix}{i}" for i in range(len(labels))],
    )


def protocol(**changed) -> Protocol:
    return Protocol(name="p", source="s", backbone="b", **changed)


def task(train, test, validation=None) -> Task:
    return Task("t", examples(train), examples(test, "x"), validation, classes=("a", "b", "c"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=1, max_size=40), st.floats(0, 0.99), st.integers(0, 1000))
def test_holding_out_keeps_every_class_and_loses_no_row(labels, share, seed):
    kept, held = splits.hold_out(examples(labels), share, seed)
    assert sorted(kept.ids + held.ids) == sorted(examples(labels).ids)
    assert set(kept.labels) == set(labels)
    assert len(kept) > 0
    assert kept.ids == sorted(kept.ids, key=lambda name: int(name[1:]))


def test_held_out_rows_are_spread_over_the_labels_by_share():
    kept, held = splits.hold_out(examples([0] * 60 + [1] * 30 + [2] * 10), 0.2, seed=3)
    assert np.bincount(held.labels).tolist() == [12, 6, 2]
    assert np.bincount(kept.labels).tolist() == [48, 24, 8]


def test_without_labels_rows_are_drawn_plainly():
    rows = Examples(["a", "b", "c", "d"], None, [["x"]] * 4, ["a", "b", "c", "d"])
    kept, held = splits.hold_out(rows, 0.25, seed=0)
    assert len(kept) == 3 and len(held) == 1 and held.references == [["x"]]


def test_limits_and_seeds():
    whole = task([0, 1, 2] * 40, [0, 1, 2] * 30)
    ready = [splits.prepare(whole, protocol(train_limit=30, test_limit=20), seed) for seed in (0, 0, 1)]
    for one in ready:
        assert (len(one.train), len(one.validation), len(one.test)) == (30, 12, 20)
        assert not set(one.train.ids) & set(one.validation.ids)
        assert np.bincount(one.train.labels).tolist() == [10, 10, 10]
    assert ready[0].train.ids == ready[1].train.ids != ready[2].train.ids
    assert ready[0].validation.ids != ready[2].validation.ids
    assert ready[0].test.ids == ready[2].test.ids
    drawn = np.sort(np.random.RandomState(0).permutation(90)[:20])
    assert ready[0].test.ids == [f"x{row}" for row in drawn]


def test_a_sources_own_validation_leaves_train_whole():
    own = examples([0, 1, 2] * 10, "v")
    ready = splits.prepare(task([0, 1, 2], [0], own), protocol(test_limit=6), seed=5)
    assert len(ready.train) == 3 and len(ready.validation) == 6
    assert set(ready.validation.ids) <= set(own.ids)


def test_one_row_and_no_share_hold_nothing_out():
    assert splits.prepare(task([0], [0]), protocol(validation=0.9), 0).validation is None
    assert splits.prepare(task([0] * 9, [0]), protocol(validation=0), 0).validation is None
    with pytest.raises(UserError, match="scores on validation"):
        splits.prepare(task([0] * 9, [0]), protocol(validation=0, score_on="validation"), 0)
