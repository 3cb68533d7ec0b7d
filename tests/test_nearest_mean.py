"""The head that answers by the nearest class mean, by hand and in whole runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchmark.running.driver import run
from benchmark.running.job import Outcome
from benchmark.running.plan import plan
from benchmark.running.rebuilding import rebuild
from tests import tiny

SMALL = [
    "stream.tasks=3",
    "stream.train_rows=24",
    "stream.test_rows=30",
    "epochs=2",
    "head=nearest-class-mean",
]


def outcome(out: Path, method: str, *settings: str) -> Outcome:
    return run(plan(method, "toy", settings=[*SMALL, *settings]), out, None, 1, "cpu", False, lambda _: None)[
        0
    ]


def test_means_of_a_frozen_backbone_are_those_of_its_features() -> None:
    method = tiny.make_method("frozen", "vector", settings={"head": "nearest-class-mean"})
    task_model = method.task_model
    tiny.learn(method, 0)
    rows = tiny.rows(method, 0)
    batch = rows.batch(range(len(rows)))
    features = task_model.backbone.features(batch.inputs)
    for column in (0, 1):
        of_class = features[batch.labels == column]
        assert torch.allclose(task_model.means.means[column], of_class.mean(0))
    # The answer is the larger of two cosines, worked here without the class.
    cosines = torch.nn.functional.cosine_similarity(features[:, None], task_model.means.means[None], dim=2)
    assert method.predict(batch, None) == cosines.argmax(1).tolist()
    # A float32 mean of the width and an int64 count for each class.
    assert task_model.auxiliary_bytes() == 2 * (4 * task_model.backbone.width + 8)


@pytest.mark.parametrize(
    "method", ["frozen", "inc-lora", "litelora", "lwf-lora", "mocl", "independent", "joint"]
)
def test_whole_runs_keep_the_means_and_declare_them(tmp_path: Path, method: str) -> None:
    done = outcome(tmp_path, method)
    assert done.result is not None and done.path is not None, done.error
    assert done.result.needs["stored_statistics"]
    held = load_file(done.path.with_suffix(".safetensors"))
    assert int(held["head.class_means.counts"].sum()) == sum(task.train for task in done.result.tasks)
    rebuilt = rebuild(done.result, done.path)
    assert torch.equal(rebuilt.task_model.means.means, held["head.class_means.means"])


def test_means_do_not_depend_on_the_trained_head(tmp_path: Path) -> None:
    """The frozen backbone's features never move, so its answers cannot depend on how its head was trained."""
    one, other = outcome(tmp_path, "frozen"), outcome(tmp_path, "frozen", "learning_rate=0.5")
    assert one.result is not None and other.result is not None
    assert one.result.matrix == other.result.matrix


@pytest.mark.parametrize("method", ["cl-lora", "lora-drs"])
def test_a_method_with_its_own_classifier_is_refused(tmp_path: Path, method: str) -> None:
    error = outcome(tmp_path, method).error
    assert error is not None and "a classifier of its own" in error


def test_text_to_text_has_no_features_to_compare() -> None:
    with pytest.raises(Exception, match="answers in text"):
        tiny.make_method("frozen", "seq2seq", settings={"head": "nearest-class-mean"})
