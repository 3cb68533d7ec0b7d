"""Classifier alignment: Gaussians, drawing and loss by hand, whole runs, and what tables make of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from benchmark.data.batches import Batch
from benchmark.errors import UserError
from benchmark.method import Method
from benchmark.models.alignment import DRAWN, AlignedTaskModel, DrawnFeatures
from benchmark.models.class_gaussians import ClassGaussians
from benchmark.protocol import Protocol
from benchmark.publishing.collect import sections
from benchmark.publishing.gap import find_gap
from benchmark.publishing.grouping import by_needs
from benchmark.publishing.ledger import Published, Source, Table, page
from benchmark.registry import METHODS
from benchmark.running.checkpoint import pack
from benchmark.running.driver import run
from benchmark.running.events import Callback, Event, TaskDone
from benchmark.running.job import Outcome
from benchmark.running.plan import plan
from benchmark.running.rebuilding import rebuild
from benchmark.running.run import Run
from tests import tiny
from tests.factories import reference_rows, result

TASKS = 3
SHORT = {"epochs": 1, "batch_size": 4, "alignment": 2}
# Every method that answers by the head, on the kind of backbone that is quickest.
HEADED = [
    pytest.param(key, kinds[0], id=key)
    for key in METHODS.names()
    if (kinds := [kind for kind in METHODS.load(key).kinds if kind in ("vector", "image", "encoder")])
    and not METHODS.load(key).own_classifier
]
every_method = pytest.mark.parametrize(("key", "kind"), HEADED)


def fresh(key: str, kind: str = "vector", seed: int = 0) -> Method:
    stream = tiny.tasks(kind, TASKS, rows=4)
    return tiny.make_method(key, kind, stream=stream, settings=SHORT, seed=seed)


def of(method: Method) -> AlignedTaskModel:
    assert isinstance(method.task_model, AlignedTaskModel)
    return method.task_model


def answers(method: Method, t: int) -> list[int]:
    rows = tiny.rows(method, t, "test")
    return method.predict(tiny.whole(rows), t if method.needs.task_id else None)


# --- the Gaussians


def test_mean_and_covariance_by_hand() -> None:
    """Rows (0, 0), (2, 0), (1, 3): mean (1, 1); deviations (-1, -1), (1, -1), (0, 2).

    Sums of products: 2, 0, 6; over n - 1 = 2 they are 1, 0, 3.
    """
    gaussians = ClassGaussians(2, torch.zeros(1))
    gaussians.add(torch.tensor([[0.0, 0.0], [2.0, 0.0], [1.0, 3.0]]), torch.tensor([1, 1, 1]), 2, task=4)
    assert gaussians.seen().tolist() == [1] and gaussians.tasks.tolist() == [0, 4]
    assert gaussians.means[1].tolist() == [1.0, 1.0]
    assert gaussians.covariances[1].tolist() == [[1.0, 0.0], [0.0, 3.0]]
    # Two floats of a mean, four of a covariance, a count and a task of 8 bytes, for each of two classes.
    assert gaussians.bytes() == 2 * (2 * 4 + 4 * 4 + 8 + 8)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 100))
def test_rows_in_two_tasks_give_what_all_rows_at_once_give(first: int, second: int, seed: int) -> None:
    rows = torch.randn(first + second, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    labels = torch.zeros(len(rows), dtype=torch.int64)
    gaussians = ClassGaussians(3, rows)
    gaussians.add(rows[:first], labels[:first], 1, 0)
    gaussians.add(rows[first:], labels[first:], 1, 1)
    assert torch.allclose(gaussians.means[0], rows.mean(0))
    assert torch.allclose(gaussians.covariances[0], torch.cov(rows.t()))
    assert gaussians.counts.tolist() == [first + second] and gaussians.tasks.tolist() == [1]


def test_factors_give_the_covariance_and_one_row_has_only_the_ridge() -> None:
    gaussians = ClassGaussians(2, torch.zeros(1))
    rows = torch.tensor([[0.0, 0.0], [2.0, 1.0], [1.0, 3.0], [5.0, 5.0]])
    gaussians.add(rows, torch.tensor([0, 0, 0, 1]), 2, 0)
    products = gaussians.factors(0.5) @ gaussians.factors(0.5).transpose(1, 2)
    assert torch.allclose(products[0], torch.cov(rows[:3].t()) + 0.5 * torch.eye(2), atol=1e-6)
    assert torch.allclose(products[1], 0.5 * torch.eye(2), atol=1e-6)


def test_drawn_features_have_the_scaled_mean_and_the_covariance() -> None:
    """Of tasks 0 and 1 with t = 1 the means are scaled by 0.9 + 0.1 x 1/2 = 0.95 and 0.9 + 0.1 x 2/2 = 1."""
    gaussians = ClassGaussians(2, torch.zeros(1))
    old, new = torch.tensor([[9.0, 10.0], [11.0, 10.0]]), torch.tensor([[-20.0, 0.0], [-20.0, 4.0]])
    gaussians.add(old, torch.tensor([0, 0]), 1, 0)
    gaussians.add(new, torch.tensor([1, 1]), 2, 1)
    drawn = DrawnFeatures(gaussians, 1)
    assert len(drawn) == 2 * DRAWN
    torch.manual_seed(0)
    many = [drawn.batch(range(len(drawn))) for _ in range(40)]
    labels = torch.cat([batch.labels for batch in many if batch.labels is not None])
    features = torch.cat([batch.inputs["features"] for batch in many])
    # Covariances (2, 0; 0, 0) and (0, 0; 0, 8): the error of a mean of 10240 rows is at most 0.03.
    assert torch.allclose(features[labels == 0].mean(0), torch.tensor([9.5, 9.5]), atol=0.1)
    assert torch.allclose(features[labels == 1].mean(0), torch.tensor([-20.0, 2.0]), atol=0.1)
    assert torch.allclose(features[labels == 1].t().cov(), torch.tensor([[0.0, 0.0], [0.0, 8.0]]), atol=0.5)
    assert not torch.equal(many[0].inputs["features"], many[1].inputs["features"]), "drawn once only"


def test_loss_by_hand() -> None:
    """Logits (3, 4) of the first task and 0, 2 of the second: norms 5 and 2, mean 3.5.

    Divided by 3.5 and by the temperature 0.1 they are 8.571, 11.429, 0, 5.714.
    """
    method = fresh("frozen")
    for t in range(2):
        tiny.learn(method, t)
    task_model = of(method)
    assert task_model.aligned is not None
    feature = torch.zeros(1, task_model.backbone.width)
    with torch.no_grad():
        for bias, values in zip(task_model.aligned.biases, ([3.0, 4.0], [0.0, 2.0]), strict=True):
            bias.copy_(torch.tensor(values))
    scaled = [value / 0.35 for value in (3.0, 4.0, 0.0, 2.0)]
    expected = math.log(sum(math.exp(value) for value in scaled)) - scaled[3]
    loss = task_model.alignment_loss(Batch({"features": feature}, torch.tensor([3])))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


# --- what every method owes with it


@every_method
def test_restored_and_continued_gives_the_same_bytes(key: str, kind: str) -> None:
    method, states = fresh(key, kind), []
    for t in range(TASKS):
        tiny.learn(method, t)
        states.append({name: value.clone() for name, value in method.state().items()})
    again = fresh(key, kind, seed=5)
    again.restore(states[-2])
    if method.training_tasks(TASKS - 2):  # what learns all tasks at the last has nothing to align before
        assert answers(again, 0) == answers(restored(key, kind, states[-2]), 0)
        assert of(again).aligned is not None
    tiny.learn(again, TASKS - 1)
    assert pack(again.state()) == pack(states[-1])
    assert answers(again, 0) == answers(method, 0)


def restored(key: str, kind: str, state: dict[str, Tensor]) -> Method:
    method = fresh(key, kind, seed=9)
    method.restore(state)
    return method


@every_method
def test_what_is_kept_is_counted_and_declared(key: str, kind: str) -> None:
    method = fresh(key, kind)
    for t in range(TASKS):
        tiny.learn(method, t)
    task_model = of(method)
    width, classes = task_model.backbone.width, len(task_model.head)
    gaussians = classes * (4 * width + 4 * width**2 + 8 + 8)
    spare_head = 4 * (classes * width + classes)
    assert task_model.auxiliary_bytes() == gaussians + spare_head
    assert task_model.head_size() == classes * width + classes
    assert int(task_model.gaussians.counts.sum()) == TASKS * 2 * 4


@every_method
def test_without_it_the_method_learns_the_same(key: str, kind: str) -> None:
    """Alignment changes answers alone: adapters and the trained head are those of the plain method."""
    plain = tiny.make_method(
        key, kind, stream=tiny.tasks(kind, TASKS, rows=4), settings=SHORT | {"alignment": 0}
    )
    method = fresh(key, kind)
    for t in range(TASKS):
        tiny.learn(plain, t)
        tiny.learn(method, t)
    state = method.state()
    assert all(torch.equal(value, state[name]) for name, value in plain.state().items())
    added = {name.split(".")[1] for name in state.keys() - plain.state().keys()}
    assert added == {"class_gaussians", "aligned"}


def test_a_method_says_rightly_whether_it_answers_by_itself() -> None:
    for key in METHODS.names():
        loaded = METHODS.load(key)
        kinds = [kind for kind in loaded.kinds if kind in ("vector", "image", "encoder")]
        if not kinds or not loaded.own_classifier:
            continue  # the others pass the tests above, which need the features
        with pytest.raises(UserError, match="a classifier of its own; leave alignment at 0"):
            tiny.learn(fresh(key, kinds[0]), 0)


# --- whole runs


def outcome(out: Path, method: str, *settings: str, callback: Callback = lambda _: None) -> Outcome:
    small = ["stream.tasks=3", "stream.train_rows=24", "stream.test_rows=30", "epochs=2", "alignment=2"]
    small.append("head=class-incremental")
    runs = plan(method, "toy", settings=[*small, *settings])
    return run(runs, out, None, 1, "cpu", False, callback)[0]


@pytest.mark.parametrize("method", ["seq-lora", "inflora", "litelora", "mocl", "joint"])
def test_a_run_declares_statistics_and_counts_head_and_steps(tmp_path: Path, method: str) -> None:
    done = outcome(tmp_path, method)
    assert done.result is not None and done.path is not None, done.error
    plain = outcome(tmp_path, method, "alignment=0").result
    assert plain is not None and done.result.key != plain.key
    assert done.result.needs == plain.needs | {"stored_statistics": True}
    assert not done.result.reference
    assert done.result.parameters.auxiliary_bytes > plain.parameters.auxiliary_bytes
    assert done.result.parameters.trainable == plain.parameters.trainable
    # Two epochs of a step for each class seen, from the second task on; the copy of the head is trained too.
    steps = [two - one for one, two in zip(plain.steps, done.result.steps, strict=True)]
    assert steps == ([0, 0, 2 * 6] if method == "joint" else [0, 2 * 4, 2 * 6])
    added = done.result.parameters.head_trainable[-1] - plain.parameters.head_trainable[-1]
    assert added == done.result.parameters.head
    again = rebuild(done.result, done.path)
    held = load_file(done.path.with_suffix(".safetensors"))
    assert torch.equal(again.task_model.state()["aligned.weights.0"], held["head.aligned.weights.0"])


def test_a_run_stopped_after_the_second_task_ends_with_the_same_bytes(tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, TaskDone) and event.task == 1:
            raise KeyboardInterrupt

    whole = outcome(tmp_path / "whole", "inflora")
    with pytest.raises(KeyboardInterrupt):
        outcome(tmp_path / "stopped", "inflora", callback=stop)
    again = outcome(tmp_path / "stopped", "inflora")
    assert whole.path is not None and again.path is not None and whole.result is not None
    one, other = (each.path.with_suffix(".safetensors").read_bytes() for each in (whole, again))
    assert one == other and again.result.matrix == whole.result.matrix


def test_methods_that_answer_by_themselves_are_refused_before_training(tmp_path: Path) -> None:
    error = outcome(tmp_path, "ranpac").error
    assert error is not None and error.startswith(
        "the method 'ranpac': classifier alignment (alignment=2) has no"
    )
    assert not list(tmp_path.rglob("*.partial"))


def test_text_to_text_and_other_heads_are_refused() -> None:
    with pytest.raises(
        UserError, match="alignment=2 trains a head on features, but a backbone of kind seq2seq"
    ):
        tiny.make_method("frozen", "seq2seq", settings=SHORT)
    with pytest.raises(UserError, match="alignment=1 needs the head class-incremental"):
        plan("frozen", "toy", settings=["alignment=1", "head=task-incremental"])
    with pytest.raises(ValidationError):
        Protocol(name="p", source="s", backbone="b", alignment=-1)


# --- tables


def protocol(alignment: int = 0) -> Protocol:
    return Protocol(name="tiny", source="made up", backbone="seed", alignment=alignment)


def test_results_older_than_the_option_keep_their_keys() -> None:
    def key(settings: dict[str, object]) -> str:
        return Run("alpha", "orchard", "1", 0, "seed", Protocol(**settings)).key("data")

    today = protocol().model_dump()
    older = {name: value for name, value in today.items() if name != "alignment"}
    assert key(older) == key(today) != key(today | {"alignment": 5})
    # Nor does the setting's name reach the text that is hashed.
    assert "alignment" not in protocol().identity() and protocol(5).identity()["alignment"] == 5


def aligned(seed: int, epochs: int = 5):
    return result(
        seed=seed, last=0.8, protocol=protocol(epochs), needs={"task_id": False, "stored_statistics": True}
    )


def test_an_aligned_row_says_so_and_stands_with_methods_that_keep_statistics() -> None:
    plain = [result(seed=seed) for seed in range(3)]
    (section,) = sections([*plain, *(aligned(seed) for seed in range(3)), aligned(0, epochs=20)])
    labels = {title: [row.label for row in rows] for title, rows in by_needs(section.rows).items()}
    assert labels == {
        "Rehearsal-free": ["alpha"],
        "Stored class statistics": [
            "alpha (classifier alignment) (alignment=20)",
            "alpha (classifier alignment) (alignment=5)",
        ],
    }
    (alone,) = sections([aligned(0)])
    assert [row.label for row in alone.rows] == ["alpha (classifier alignment)"]


def test_an_aligned_reference_row_is_no_end_of_the_gap() -> None:
    """Both aligned and plain sequential training are there: only the plain one is the floor."""
    one = result().parameters.model_copy(update={"adapters": [1, 1, 1]})
    bare = reference_rows()
    extra = [aligned(seed).model_copy(update={"parameters": one, "reference": True}) for seed in range(5)]
    (section,) = sections([*bare, *extra])
    gap = find_gap(section.rows)
    assert not isinstance(gap, str) and gap.floor.first.method == "floor"


def test_published_numbers_are_not_compared_with_aligned_runs() -> None:
    number = {"value": 60.0, "convention": "average_performance"}
    table = Table(
        place="Table 1",
        sure="paper",
        stream="orchard",
        setting="3 tasks",
        protocol="tiny",
        backbone="seed",
        numbers=tuple(Published(method=name, **number) for name in ("alpha", "alpha (classifier alignment)")),
    )
    text = page([Source(title="A paper", where="arXiv", table=(table,))], [aligned(0)])
    plain, ours = (line for line in text.splitlines() if line.startswith("| alpha"))
    assert "not measured" in plain and "(n = 1)" in ours
