"""pytest tests/test_toy_stream.py"""

import numpy as np
import pytest

from benchmark.data.fingerprint import fingerprint
from benchmark.data.load import load
from benchmark.errors import UserError
from benchmark.running.plan import plan
from benchmark.stream import Request
from tasks.toy import HIDDEN, RANK, STREAM, VISIBLE, Parameters, bases, directions


def loaded(seed=0, **parameters):
    request = Request("1", seed, STREAM.protocols["smoke"], None, Parameters(**parameters))
    return load(STREAM, request).tasks


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_the_cosine_of_both_principal_angles_of_any_two_tasks_is_the_overlap(overlap):
    planes = bases(overlap, 16, np.random.RandomState(3))
    for s in range(16):
        assert np.allclose(planes[s].T @ planes[s], np.eye(RANK), atol=1e-12)
        for t in range(s):
            cosines = np.linalg.svd(planes[s].T @ planes[t], compute_uv=False)
            assert np.allclose(cosines, overlap, atol=1e-12)


def test_at_full_overlap_the_class_means_are_the_same_and_opposite():
    planes = bases(1.0, 40, np.random.RandomState(0))
    means = [directions(plane, 2) for plane in planes]
    assert all(np.array_equal(mean, means[0]) for mean in means)
    assert np.allclose(means[0][0], -means[0][1]) and np.allclose(np.linalg.norm(means[0], axis=1), 1)


def test_too_many_subspaces_are_refused():
    assert len(loaded(tasks=16)) == 16
    with pytest.raises(UserError, match="at most 16"):
        loaded(tasks=17)
    assert len(loaded(tasks=17, overlap=1.0)) == 17


def test_visible_coordinates_hold_no_signal_and_hidden_ones_separate_the_classes():
    task = loaded(train_rows=2000, noise=0.3)[2]
    inputs, labels = task.train.inputs, task.train.labels
    assert inputs.shape == (3600, VISIBLE + HIDDEN) and inputs.dtype == np.float32
    gap = inputs[labels == 0].mean(0) - inputs[labels == 1].mean(0)
    assert np.abs(gap[:VISIBLE]).max() < 0.15
    assert abs(np.linalg.norm(gap[VISIBLE:]) - 2) < 0.1
    guessed = (task.test.inputs[:, VISIBLE:] @ gap[VISIBLE:] < 0).astype(int)
    assert (guessed == task.test.labels).mean() > 0.98


def test_seeds_decide_the_data():
    assert fingerprint(loaded(0)) == fingerprint(loaded(0))
    assert fingerprint(loaded(0)) != fingerprint(loaded(1))
    assert fingerprint(loaded(0)) != fingerprint(loaded(0, overlap=0.6))


def test_classes_are_new_in_every_task():
    names = [name for task in loaded(tasks=3, classes=4) for name in task.classes]
    assert len(set(names)) == 12


def test_the_first_task_of_a_plane_needs_an_adapter_and_the_others_borrow_it():
    shared = load(STREAM, Request("1", 0, STREAM.protocols["smoke"], None, Parameters(tasks=6, planes=2)))
    assert sum(shared.needs_adapter) == 2 and shared.needs_adapter[0]
    means = [
        np.stack([task.train.inputs[task.train.labels == k].mean(0)[VISIBLE:] for k in (0, 1)])
        for task in shared.tasks
    ]
    for t in range(1, 6):
        # Means of 100 rows of 32 numbers deviate by 0.4 / 10 each: two of them lie 0.32 apart on average,
        # and the means of two planes at cosine 0.5 a length of 1 apart.
        same = [np.linalg.norm(means[t] - means[s]) < 0.7 for s in range(t)]
        assert any(same) is not shared.needs_adapter[t]


def test_without_shared_planes_every_task_needs_one_but_where_all_planes_are_one():
    for overlap, needed in ((0.5, [True] * 3), (1.0, [True, False, False])):
        parameters = Parameters(tasks=3, overlap=overlap)
        found = load(STREAM, Request("1", 0, STREAM.protocols["smoke"], None, parameters))
        assert list(found.needs_adapter) == needed
    assert "planes" not in Parameters().model_dump(), "runs made before the setting existed keep their keys"
    assert fingerprint(loaded(tasks=3, planes=4)) == fingerprint(loaded(tasks=3)), "at most one plane each"


def test_a_first_run_has_planes_that_tasks_share_unless_it_asks_for_fewer_tasks():
    (usual,), (small,) = (plan("frozen", "toy", settings=settings) for settings in ([], ["tasks=2"]))
    assert (usual.parameters["tasks"], usual.parameters["planes"]) == (6, 3)
    assert len(loaded(**small.parameters)) == 2
