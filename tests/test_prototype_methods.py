"""Methods that answer by statistics of features, against the same statistics worked out directly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor
from torch.nn import functional

from benchmark.method import Method
from benchmark.models.task_model import best_columns
from methods.pieces.prototypes import complete_means
from methods.pieces.ridge import RIDGES, choose_ridge, measure_held_out_errors, rounding, solution
from tests import tiny

KEYS = ("ncm", "aper", "ranpac", "ease")


def learned(key: str, tasks: int = 3, kind: str = "encoder", **chosen: Any) -> Any:
    """Return a float64 method that has learned some tasks."""
    method = tiny.make_method(key, kind, torch.float64, **chosen)
    for t in range(tasks):
        tiny.learn(method, t)
    return method


def plain_features(method: Method, t: int, split: str, kind: str = "encoder") -> tuple[Tensor, Tensor]:
    """Return the untouched backbone's features of a task's rows, and their columns."""
    batch = tiny.whole(tiny.rows(method, t, split))
    assert batch.labels is not None
    return tiny.backbone(kind, torch.float64).features(batch.inputs), batch.labels


def class_means(features: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of each class's rows, class by class, `(classes, d)`."""
    return torch.stack([features[labels == column].mean(0) for column in labels.unique()])


# --- the given task


def test_best_column_among_all_and_among_a_tasks() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.3, 0.2], [0.4, 0.1, 0.2, 0.3]])
    assert best_columns(scores, None) == [1, 0]
    assert best_columns(scores, [2, 3]) == [2, 3]
    # Column 7 belongs to a task that is still to come.
    assert best_columns(scores, [3, 7]) == [3, 3]


@pytest.mark.parametrize("key", KEYS)
def test_given_task_narrows_the_answer(key: str) -> None:
    method = learned(key, 2)
    batch = tiny.whole(tiny.rows(method, 0, "test"))
    assert set(method.predict(batch, 1)) <= {2, 3}


@pytest.mark.parametrize("key", KEYS)
def test_head_answers_while_a_task_is_learned(key: str) -> None:
    method = learned(key, 1)
    tiny.begin(method, 1)
    batch = tiny.whole(tiny.rows(method, 1))
    head = method.task_model.head
    head.biases[-1].data[1] += 1000.0
    assert method.predict(batch, None) == [3] * len(batch)


@pytest.mark.parametrize("key", KEYS)
def test_needs_statistics_and_says_so(key: str) -> None:
    method = learned(key, 1)
    assert method.needs.stored_statistics and not method.needs.task_id and not method.needs.rehearsal
    assert method.kinds == ("vector", "image", "encoder")
    assert method.low_rank_sum() is None or key == "ncm"


# --- NCM


@pytest.mark.parametrize("kind", ["vector", "image", "encoder"])
def test_ncm_is_the_nearest_mean_of_frozen_features(kind: str) -> None:
    method = learned("ncm", kind=kind)
    means = []
    for t in range(3):
        means.append(class_means(*plain_features(method, t, "train", kind)))
    for t in range(3):
        features, _ = plain_features(method, t, "test", kind)
        cosines = functional.normalize(features, dim=1) @ functional.normalize(torch.cat(means), dim=1).t()
        assert method.predict(tiny.whole(tiny.rows(method, t, "test")), None) == cosines.argmax(1).tolist()


def test_ncm_trains_and_stores_nothing_but_means() -> None:
    method = learned("ncm", 2)
    _, phases = tiny.begin(method, 2)
    assert phases == []
    counted = method.accounting()
    assert (counted.stored, counted.resident, counted.adapters, counted.active) == (0, 0, 0, 0)
    # Four classes of 32 float64 numbers and an int64 count each.
    assert counted.auxiliary_bytes == 4 * (32 + 1) * 8


def test_class_that_comes_again_has_the_mean_of_all_its_rows() -> None:
    stream = tiny.tasks("encoder", 2)
    stream[1] = replace(stream[1], classes=stream[0].classes)
    method = tiny.make_method("ncm", "encoder", torch.float64, stream)
    for t in range(2):
        tiny.learn(method, t)
    parts = [plain_features(method, t, "train") for t in range(2)]
    features, labels = (torch.cat(values) for values in zip(*parts, strict=True))
    assert torch.allclose(method.prototypes.means, class_means(features, labels))


# --- APER


def test_aper_puts_pretrained_and_adapted_features_side_by_side() -> None:
    method = learned("aper", 1, learning_rate=0.5)
    batch = tiny.whole(tiny.rows(method, 0, "test"))
    features = method.features(batch)
    plain, _ = plain_features(method, 0, "test")
    adapted = tiny.backbone("encoder", torch.float64)
    for name, layer in method.stack.layers.items():
        adapted.module.get_submodule(name).weight.data += layer.current.lora_B @ layer.current.lora_A
    assert torch.allclose(features[:, :32], plain)
    assert torch.allclose(features[:, 32:], adapted.features(batch.inputs))
    assert not torch.allclose(features[:, 32:], plain)


@pytest.mark.parametrize("key", ["aper", "ranpac"])
def test_adapter_is_trained_on_the_first_task_alone(key: str) -> None:
    method = learned(key, 1)
    before = method.stack.snapshot()
    assert any(factor.abs().max() > 0 for factor in before[1::2])
    tiny.learn(method, 1)
    _, phases = tiny.begin(method, 2)
    assert phases == []
    assert all(torch.equal(a, b) for a, b in zip(before, method.stack.snapshot(), strict=True))
    assert (method.accounting().adapters, method.accounting().active) == (1, 1)


def test_aper_counts_two_passes_and_means_of_twice_the_width() -> None:
    counted = learned("aper", 2).accounting()
    assert counted.passes_per_prediction == 2
    assert counted.auxiliary_bytes == 4 * (64 + 1) * 8


# --- RanPAC


def test_solution_is_ridge_regression() -> None:
    drawn = np.random.RandomState(0)
    rows, targets = drawn.randn(40, 12), drawn.randn(40, 3)
    x, y = torch.from_numpy(rows), torch.from_numpy(targets)
    for ridge in (1e-8, 0.3, 100.0):
        theirs = Ridge(alpha=ridge, fit_intercept=False).fit(rows, targets).coef_.T
        assert np.allclose(solution(x.t() @ x, x.t() @ y, ridge).numpy(), theirs)


@pytest.mark.parametrize("rows", [30, 8], ids=["more rows than columns", "fewer rows than columns"])
def test_held_out_errors_are_those_of_ridge_regression(rows: int) -> None:
    drawn = np.random.RandomState(1)
    x, other = drawn.randn(rows, 12), drawn.randn(5, 12)
    y, answers = drawn.randn(rows, 3), drawn.randn(5, 3)
    tensors = [torch.from_numpy(value) for value in (x, y, other, answers)]
    ours = measure_held_out_errors(*tensors)
    for ridge, error in zip(RIDGES, ours, strict=True):
        if ridge < 1e-6 and rows < 12:
            continue  # scikit-learn's own solution of a singular system is rounding here
        fitted = Ridge(alpha=ridge, fit_intercept=False).fit(x, y)
        assert np.isclose(error, np.square(fitted.predict(other) - answers).mean(), rtol=1e-4)


def test_ridge_follows_the_noise() -> None:
    drawn = np.random.RandomState(2)
    rows = torch.from_numpy(drawn.randn(100, 30))
    truth = rows @ torch.from_numpy(drawn.randn(30, 2))
    noise = torch.from_numpy(drawn.randn(100, 2))
    assert choose_ridge(rows, truth) == RIDGES[0]
    assert choose_ridge(rows, truth, least=0.5) == 1.0
    assert choose_ridge(rows, noise) >= 10
    # Of one row nothing is left to choose by: the largest.
    assert choose_ridge(rows[:1], truth[:1]) == RIDGES[-1]


def test_ridge_is_not_lost_in_the_rounding_of_a_float32_gram_matrix() -> None:
    # 60 rows of 300 columns leave G singular; its entries, which reach 10^6, are off by about 0.1.
    drawn = torch.Generator().manual_seed(0)
    features = 3 + torch.randn(160, 16, generator=drawn)
    rows = 10 * torch.relu(features @ torch.randn(16, 300, generator=drawn))
    targets = functional.one_hot((features[:, 0] > 3).long(), 2).float()
    gram, products = rows[:60].t() @ rows[:60], rows[:60].t() @ targets[:60]

    def error(ridge: float) -> float:
        return float((rows[60:] @ solution(gram, products, ridge) - targets[60:]).square().mean())

    # Nothing learned errs by 0.5; with a ridge that is lost G's rounding decides, and errs by far more.
    least = rounding(gram)
    assert 10 < least < 100
    assert error(100.0) < 0.5 < 100 < error(1e-8)
    assert choose_ridge(rows, targets, 1e12) == RIDGES[-1], "where no ridge is large enough"


def test_ranpac_is_ridge_regression_on_all_tasks_together() -> None:
    method = learned("ranpac", projection=50, learning_rate=0.1)
    projected, columns = [], []
    for t in range(3):
        batch = tiny.whole(tiny.rows(method, t))
        with torch.no_grad():
            features = method.features(batch)
        projected.append(torch.relu(features @ method.statistics["projection"]))
        columns.append(batch.labels)
    rows, targets = torch.cat(projected), functional.one_hot(torch.cat(columns), 6).double()
    theirs = Ridge(alpha=method.ridge, fit_intercept=False).fit(rows.numpy(), targets.numpy())
    assert np.allclose(method.statistics["weights"].numpy(), theirs.coef_.T, rtol=1e-3, atol=1e-3)
    for t in range(3):
        batch = tiny.whole(tiny.rows(method, t, "test"))
        with torch.no_grad():
            tested = torch.relu(method.features(batch) @ method.statistics["projection"])
        assert method.predict(batch, None) == theirs.predict(tested.numpy()).argmax(1).tolist()


def test_ranpac_scores_by_products_or_by_cosines() -> None:
    scores = {}
    for variant in ("official", "pilot"):
        method = learned("ranpac", 1, projection=2, variant=variant)
        method.statistics["projection"] = torch.eye(32, 2, dtype=torch.float64)
        # Columns (3, 4) and (10, 0) of the classifier.
        method.statistics["weights"] = torch.tensor([[3.0, 10.0], [4.0, 0.0]], dtype=torch.float64)
        feature = functional.pad(torch.tensor([[3.0, 4.0]], dtype=torch.float64), (0, 30))
        scores[variant] = method.scores(feature)
    # 3 3 + 4 4 = 25 against 3 10 = 30; cosines 25 / (5 5) = 1 against 30 / (5 10) = 0.6.
    assert torch.allclose(scores["official"], torch.tensor([[25.0, 30.0]]).double())
    assert torch.allclose(scores["pilot"], torch.tensor([[1.0, 0.6]]).double())


def test_ranpac_width_keeps_the_published_ratio_and_every_byte_is_counted() -> None:
    method = learned("ranpac", 2)
    # 10000 * 32 / 768 = 416.67
    size = 417
    assert method.statistics["gram"].shape == (size, size)
    # Projection, Gram matrix, and products and classifier of four classes, in float64.
    assert method.accounting().auxiliary_bytes == 8 * (32 * size + size * size + 2 * 4 * size)


def test_ranpac_without_a_adapter_regresses_on_frozen_features() -> None:
    method = learned("ranpac", 2, adapt=False)
    counted = method.accounting()
    assert (counted.stored, counted.adapters, counted.active) == (0, 0, 0)
    batch = tiny.whole(tiny.rows(method, 0, "test"))
    assert torch.equal(method.features(batch), plain_features(method, 0, "test")[0])


# --- EASE


def test_completion_by_hand() -> None:
    # Task 0 has one class, (2, 0) in space 0. Task 1 has two: (1, 0) and (0, 1) in space 0, (4, 0) and (0, 8)
    # in space 1. Cosines in space 0 are 1 and 0, their softmax e / (e + 1) = 0.7311 and 0.2689, so the old
    # class lies at (4 0.7311, 8 0.2689) in space 1.
    old = torch.tensor([[[2.0, 0.0]]])
    new = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[4.0, 0.0], [0.0, 8.0]]])
    full = complete_means([old, new])
    assert torch.equal(full[0][0], old[0])
    assert torch.allclose(full[0][1], torch.tensor([[2.9242, 2.1515]]), atol=1e-4)
    assert torch.equal(full[1], new)


def test_completion_is_by_all_classes_from_the_space_s_task_on() -> None:
    generator = torch.Generator().manual_seed(0)
    means = [torch.randn(t + 1, 2, 5, generator=generator) for t in range(3)]
    full = complete_means(means)
    newer = torch.cat([means[1][0], means[2][0]])
    for place in range(2):
        cosines = torch.stack([torch.cosine_similarity(means[0][0, place], row, dim=0) for row in newer])
        wanted = cosines.softmax(0) @ torch.cat([means[1][1], means[2][1]])
        assert torch.allclose(full[0][1, place], wanted, atol=1e-6)


def ease_features(method: Any, batch: Any) -> list[Tensor]:
    """Return the features of the backbone with each task's adapter added to its weights."""
    found = []
    for slot in range(method.stack.count()):
        plain = tiny.backbone("encoder", torch.float64)
        for name, layer in method.stack.layers.items():
            last = slot == len(method.stack.frozen_tasks)
            down, up = (
                (layer.current.lora_A, layer.current.lora_B)
                if last
                else method.stack.frozen_adapter(layer, slot)
            )
            plain.module.get_submodule(name).weight.data += up @ down
        found.append(plain.features(batch.inputs))
    return found


def test_ease_scores_and_answers_worked_out_directly() -> None:
    method = learned("ease", 2, learning_rate=0.5)
    with torch.no_grad():
        check_ease_scores(method)


def check_ease_scores(method: Any) -> None:
    means: list[list[Tensor]] = []
    for t in range(2):
        batch = tiny.whole(tiny.rows(method, t))
        means.append(
            [class_means(space, batch.labels) for space in ease_features(method, batch)][: 2 if t else 1]
        )
    unit = functional.normalize
    likeness = (unit(means[0][0], dim=1) @ unit(means[1][0], dim=1).t()).softmax(1)
    means[0].append(likeness @ means[1][1])
    for t in range(2):
        batch = tiny.whole(tiny.rows(method, t, "test"))
        first, second = (unit(space, dim=1) for space in ease_features(method, batch))
        assert not torch.allclose(first, second, rtol=1e-3)
        # alpha / (2 - 1) = 0.1 for the space of the other task.
        old = first @ unit(means[0][0], dim=1).t() + 0.1 * second @ unit(means[0][1], dim=1).t()
        new = 0.1 * first @ unit(means[1][0], dim=1).t() + second @ unit(means[1][1], dim=1).t()
        wanted = torch.cat([old, new], dim=1)
        assert torch.allclose(method.scores(method.features(batch)), wanted)
        assert method.predict(batch, None) == wanted.argmax(1).tolist()


def test_ease_learns_each_task_from_the_pretrained_model() -> None:
    method = learned("ease", 1, learning_rate=0.5)
    tiny.begin(method, 1)
    batch = tiny.whole(tiny.rows(method, 1))
    plain, _ = plain_features(method, 1, "train")
    # The new adapter is zero as yet, and the first is off.
    assert torch.equal(method.task_model.features(batch), plain)


def test_ease_counts_passes_adapters_and_means_that_were_seen() -> None:
    method = learned("ease", 3)
    counted = method.accounting()
    assert (counted.adapters, counted.active, counted.passes_per_prediction) == (3, 3, 3.0)
    # Two classes a task in 1 + 2 + 3 spaces of 32 numbers, and their columns.
    assert counted.auxiliary_bytes == 8 * (2 * (1 + 2 + 3) * 32 + 6)


def test_ease_scores_a_class_of_two_tasks_by_the_better_means() -> None:
    stream = tiny.tasks("encoder", 2)
    stream[1] = replace(stream[1], classes=stream[0].classes)
    method = tiny.make_method("ease", "encoder", torch.float64, stream)
    for t in range(2):
        tiny.learn(method, t)
    batch = tiny.whole(tiny.rows(method, 0, "test"))
    with torch.no_grad():
        scores = method.scores(method.features(batch))
    assert scores.shape == (len(batch), 2) and torch.isfinite(scores).all()
    assert [columns.tolist() for columns in method.columns] == [[0, 1], [0, 1]]
