"""LoRA-DRS: the subtracted model, the projected steps, the triplet loss and the class means."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from benchmark.lora.inputs import in_order, second_moments
from benchmark.models.class_means import ClassMeans
from benchmark.running.training import rate_factor
from methods.lora_drs import leading
from methods.pieces.prototypes import augmented_triplet
from tests import tiny


def begun(t: int, kind: str = "encoder", **chosen: Any) -> tuple[Any, Any, Any]:
    """Return a float64 method that has begun task t, its rows and its phase."""
    method = tiny.make_method("lora-drs", kind, torch.float64, **{"learning_rate": 0.01} | chosen)
    for task in range(t):
        tiny.learn(method, task)
    rows, [phase] = tiny.begin(method, t)
    return method, rows, phase


def test_rates_and_schedule_are_those_of_the_released_configuration() -> None:
    # configs/cifar100.json: lrate 0.0005, fc_lrate 0.002; CosineSchedule: cos(99 pi e / (200 (K - 1))).
    method = tiny.make_method("lora-drs", "encoder", settings={"epochs": 20})
    _, [phase] = tiny.begin(method, 0)
    head = {id(parameter) for parameter in method.task_model.head_parameters()}
    rates = {id(group.parameters[0]) in head: group.learning_rate for group in phase.groups}
    assert rates == {False: 5e-4, True: 2e-3}
    assert rate_factor(phase, 19, 1.0) == pytest.approx(0.015707, abs=1e-6)  # cos(0.495 pi)


# --- the space


def test_moments_are_those_of_the_model_less_its_old_adapters() -> None:
    method, rows, _ = begun(0)
    tiny.randomise(method.stack)
    method.stack.freeze_current()
    found = method.moments_without_past(rows)
    plain = tiny.make_method("inc-lora", "encoder", torch.float64)
    tiny.begin(plain, 0)
    for name, layer in plain.stack.layers.items():
        past = method.stack.layers[name]
        layer.base.weight.data -= past.frozen.lora_B @ past.frozen.lora_A
    given = in_order(tiny.rows(plain, 0), 4, plain.task_model.device)
    expected = second_moments(plain.task_model.loss, plain.stack, given)
    for name, moments in found.items():
        assert torch.allclose(moments, expected[name])
    # Later layers see what earlier ones give, so a sum instead of a difference would be seen.
    last = list(found)[-1]
    untouched = tiny.make_method("inc-lora", "encoder", torch.float64)
    tiny.begin(untouched, 0)
    other = second_moments(untouched.task_model.loss, untouched.stack, given)[last]
    assert not torch.allclose(found[last], other, rtol=1e-3)


def test_answers_are_of_the_sum_again_after_the_moments_were_taken() -> None:
    method, _, _ = begun(0)
    tiny.learn(method, 0)
    before = tiny.logits(method, 0)
    tiny.begin(method, 1)
    assert torch.allclose(tiny.logits(method, 0)[:, :2], before, atol=1e-12)


def test_leading_eigenvectors_by_hand() -> None:
    # Shares of 10: 0.6, 0.9, 1.
    moments = torch.diag(torch.tensor([3.0, 6.0, 1.0]).double())
    sizes = [leading(moments, energy).shape[1] for energy in (0.1, 0.6, 0.7, 0.95, 1.0)]
    assert sizes == [1, 1, 2, 3, 3]
    assert torch.equal(leading(moments, 0.5).abs(), torch.tensor([[0.0], [1.0], [0.0]]).double())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_steps_of_both_factors_stay_in_the_space_of_a_square_layer(optimizer: str) -> None:
    rate = {"sgd": 3.0, "adam": 0.01}[optimizer]
    method, rows, phase = begun(1, optimizer=optimizer, energy=0.9)
    phase.groups[0].learning_rate = rate
    start = method.stack.snapshot()
    tiny.train(method, phase, rows, (0, 1, "adapt"), lambda share: None)
    for number, (now, old) in enumerate(zip(method.stack.parameters(), start, strict=True)):
        basis = method.spaces[number // 2]
        assert basis.shape[1] < 32
        moved = (now - old).t() if number % 2 == 0 else now - old
        assert moved.abs().max() > 1e-5
        assert (moved - basis @ (basis.t() @ moved)).abs().max() < 1e-12


def test_first_task_is_not_projected() -> None:
    _, _, phase = begun(0)
    assert phase.after_backward is None and phase.after_step is None


def test_official_step_is_divided_by_the_root_of_the_rank_and_paper_projects_the_gradient() -> None:
    moves = {}
    for variant in ("official", "paper"):
        method, rows, phase = begun(1, variant=variant, optimizer="sgd", energy=0.9)
        phase.epochs, phase.batch_size = 1, len(rows)
        start = method.stack.snapshot()
        tiny.train(method, phase, rows, (0, 1, "adapt"), lambda share: None)
        moves[variant] = [now - old for now, old in zip(method.stack.parameters(), start, strict=True)]
        roots = [basis.shape[1] ** 0.5 for basis in method.spaces]
    # A plain gradient step is linear in the gradient, so the two differ by the division alone.
    assert roots[0] > 1
    for number in (1, 3, 5, 7):  # at its first step only the up factor moves, since it is zero
        assert torch.allclose(moves["official"][number] * roots[number // 2], moves["paper"][number])
        assert moves["paper"][number].abs().max() > 0


def test_up_factor_of_a_layer_that_is_not_square_is_left_alone() -> None:
    method, _, _ = begun(1, "vector", energy=0.5)
    (basis,) = method.spaces
    assert basis.shape[0] == 48
    change = torch.randn(16, 2).double()
    assert torch.equal(method.inside(1, change, divide=True), change)
    down = torch.randn(2, 48).double()
    assert torch.allclose(method.inside(0, down, divide=False), down @ basis @ basis.t())


# --- the triplet loss


def angle(*degrees: float) -> torch.Tensor:
    turned = torch.tensor(degrees).double().deg2rad()
    return torch.stack([turned.cos(), turned.sin()], dim=1)


def test_triplet_by_hand() -> None:
    # Chords: 60 degrees 1, 90 degrees sqrt 2, 180 degrees 2.
    features, labels = angle(0, 60, 180), torch.tensor([0, 0, 1])
    none = torch.zeros(0, dtype=torch.int64), torch.zeros(0, 2).double()
    # Row 0: 1 - 2 + 1.5. Row 1, 120 degrees from row 2: 1 - sqrt 3 + 1.5. Row 2: 0 - sqrt 3 + 1.5 < 0.
    expected = (0.5 + (2.5 - 3**0.5)) / 3
    assert torch.isclose(augmented_triplet(features, labels, *none, 1.5), torch.tensor(expected).double())
    # A mean of class 2 at 90 degrees: it is nearer to row 1 (30) and to row 2 (90), and to row 0 (90).
    near = 2 * torch.tensor(15.0).double().deg2rad().sin()
    rows = [1 - 2**0.5 + 1.5, 1 - near + 1.5, 0 - 2**0.5 + 1.5]
    found = augmented_triplet(features, labels, torch.tensor([2]), angle(90), 1.5)
    assert torch.isclose(found, torch.stack([torch.as_tensor(row) for row in rows]).mean())


def test_own_mean_is_no_negative_and_without_a_negative_nothing_is_paid() -> None:
    features = angle(0, 60).requires_grad_(True)
    labels = torch.tensor([1, 1])
    loss = augmented_triplet(features, labels, torch.tensor([1]), angle(10), 1.0)
    loss.backward()
    assert loss == 0
    assert torch.equal(features.grad, torch.zeros(2, 2).double())


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_loss_is_the_heads_plus_the_triplets(weight: float) -> None:
    method, rows, _ = begun(1, triplet=weight)
    batch = tiny.whole(rows)
    units = functional.normalize(method.task_model.features(batch), dim=1)
    columns, directions = method.prototypes.directions()
    assert columns.tolist() == [0, 1], "only old classes have means yet"
    apart = augmented_triplet(units, batch.labels, columns, directions, 1.0)
    assert apart > 0
    assert torch.isclose(method.loss(batch), method.task_model.loss(batch) + weight * apart)


# --- the class means


def test_means_and_cosines_by_hand() -> None:
    means = ClassMeans(2, torch.zeros(1).double())
    means.add(torch.tensor([[4.0, 0.0], [0.0, 2.0], [2.0, 0.0]]).double(), torch.tensor([0, 2, 0]), 3)
    assert torch.equal(means.means, torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 2.0]]).double())
    scores = means.scores(torch.tensor([[3.0, 4.0]]).double())
    assert torch.allclose(scores, torch.tensor([[0.6, float("-inf"), 0.8]]).double())
    # Class 0 again: (6 + 0) / 3 and (0 + 3) / 3.
    means.add(torch.tensor([[0.0, 3.0]]).double(), torch.tensor([0]), 4)
    assert torch.equal(means.means[0], torch.tensor([2.0, 1.0]).double())
    assert means.counts.tolist() == [3, 0, 1, 0]


def test_prediction_is_the_nearest_mean_whatever_the_head_says() -> None:
    method, _, _ = begun(0)
    tiny.learn(method, 0)
    rows = tiny.rows(method, 0, "test")
    batch = tiny.whole(rows)
    units = functional.normalize(method.task_model.features(batch), dim=1)
    directions = functional.normalize(method.prototypes.means, dim=1)
    nearest = torch.cdist(units, directions).argmin(1).tolist()
    for weight in method.task_model.head.parameters():
        weight.data.neg_()
    assert method.predict(batch, None) == nearest


def test_given_task_narrows_the_answer_to_its_classes() -> None:
    method, _, _ = begun(0)
    for t in range(2):
        tiny.learn(method, t)
    batch = tiny.whole(tiny.rows(method, 0, "test"))
    assert set(method.predict(batch, 1)) <= {2, 3}
    assert set(method.predict(batch, 2)) == {0}, "a task without means yet has no right answer"


def test_counts_adapters_and_means() -> None:
    method, _, _ = begun(2)
    counted = method.accounting()
    assert (counted.adapters, counted.active) == (3, 3)
    # Four classes of 32 float64 numbers and one int64 count each.
    assert counted.auxiliary_bytes == 4 * (32 + 1) * 8
    assert 0 < method.report(2)["directions"] < 1
