"""CL-LoRA: a shared adapter in the first blocks, weighted ones per task in the others, class means."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional

from benchmark.registry import METHODS
from benchmark.running.training import train
from methods.cl_lora import class_means, row_shares
from methods.pieces.early_exit import first_blocks
from tests import tiny

transformers = pytest.mark.parametrize("kind", ["image", "encoder"])


@torch.enable_grad()
def learned(count: int, kind: str = "image", dtype: torch.dtype = torch.float64, **options: Any) -> Any:
    """Return the method after its first tasks."""
    method = tiny.make_method("cl-lora", kind, dtype, **options)
    for t in range(count):
        tiny.learn(method, t)
    return method


def shared(method: Any) -> list[Tensor]:
    return [factor.detach().clone() for factor in method.shared.parameters()]


# --- what is where, and what is trained


@transformers
def test_first_half_is_shared_and_the_other_half_has_a_adapter_per_task(kind: str) -> None:
    method = learned(3, kind)
    # Two blocks with query and value: block 0 is shared, block 1 has an adapter per task.
    assert all(".0." in name for name in method.shared.layers) and len(method.shared.layers) == 2
    assert all(".1." in name for name in method.stack.layers) and len(method.stack.layers) == 2
    assert method.shared.count() == 1 and method.stack.count() == 3
    counted = method.accounting()
    # Rank 2 and width 32: an adapter is 2 x 2 x 32 = 128 numbers. Shared 2 x 128, tasks 3 x 2 x 128, weights
    # 6.
    assert counted.stored == 256 + 768 + 6
    # Six class means of 32 numbers in float64.
    assert counted.auxiliary_bytes == 6 * 32 * 8
    assert (counted.adapters, counted.active, counted.passes_per_prediction) == (3, 3, 3.0)
    assert METHODS.load("cl-lora").needs.stored_statistics


def test_trained_are_the_adapter_its_weights_shared_up_factors_and_the_head() -> None:
    method = learned(1)
    _, [phase] = tiny.begin(method, 1)
    adapter, weights, ups, _ = phase.groups
    # The official log counts 276498 for ViT-B/16 at rank 10: 6 x 2 x 15360 + 6 x 2 x 7680 + 18, of which the
    # 6 weights of the unused key are left out here; the classifier's scale it counts with the head.
    assert sum(p.numel() for p in adapter.parameters) == 2 * 128
    assert [p.numel() for p in weights.parameters] == [2, 1]
    assert weights.parameters[1].item() == 1, "the classifier's scale restarts"
    assert sum(p.numel() for p in ups.parameters) == 2 * 64
    assert (phase.optimizer, phase.momentum, phase.schedule) == ("sgd", 0.9, "cosine-by-epoch")


def test_shared_down_factors_are_orthonormal_and_never_move() -> None:
    method = learned(0)
    start = shared(method)
    for down in start[::2]:
        assert torch.allclose(down @ down.t(), torch.eye(2).double())
    for t in range(2):
        tiny.learn(method, t)
        assert all(torch.equal(a, b) for a, b in zip(shared(method)[::2], start[::2], strict=True))
    assert all(up.abs().max() > 0 for up in shared(method)[1::2])


def test_weights_start_between_one_half_and_three_halves_and_old_ones_are_frozen() -> None:
    method = learned(1)
    old, adapters = method.weights[0].detach().clone(), method.stack.snapshot()
    tiny.begin(method, 1)
    assert ((method.weights[1] >= 0.5) & (method.weights[1] <= 1.5)).all()
    method = learned(2)
    assert torch.equal(method.weights[0], old)
    for layer, down, up in zip(method.stack.layers.values(), adapters[::2], adapters[1::2], strict=True):
        kept = method.stack.frozen_adapter(layer, 0)
        assert torch.equal(kept[0], down) and torch.equal(kept[1], up)


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.49, 0), (0.5, 1), (0.99, 1)])
def test_share_of_the_blocks_is_rounded_down(share: float, count: int) -> None:
    method = learned(2, shared_blocks=share)
    assert method.shared_count == count and (method.shared is None) == (count == 0)
    assert len(method.stack.layers) == 2 * (2 - count)


def test_all_blocks_cannot_be_shared() -> None:
    with pytest.raises(ValidationError):
        learned(0, shared_blocks=1.0)


def test_one_block_has_nothing_to_share() -> None:
    method = learned(1, "vector")
    assert method.shared is None
    _, [phase] = tiny.begin(method, 1)
    assert phase.further_losses == () and phase.after_backward is None


# --- answers


def by_hand(method: Any, task: int, batch: Any) -> Tensor:
    """Return the features of a plain backbone whose weights hold the shared product and the task's."""
    plain = tiny.backbone(method.task_model.backbone.kind, torch.float64)
    place = method.stack.tasks().index(task)
    for name, layer in method.shared.layers.items():
        plain.module.get_submodule(name).weight.data += method.shared.scaling * (
            layer.current.lora_B @ layer.current.lora_A
        )
    for index, (name, layer) in enumerate(method.stack.layers.items()):
        past = place < len(method.stack.frozen_tasks)
        down, up = (
            method.stack.frozen_adapter(layer, place)
            if past
            else (layer.current.lora_A, layer.current.lora_B)
        )
        weight = method.weights[place][index].item()
        plain.module.get_submodule(name).weight.data += method.stack.scaling * weight * (up @ down)
    return plain.features(batch.inputs)


@torch.no_grad()
@transformers
def test_each_class_is_scored_through_its_own_task(kind: str) -> None:
    method = learned(3, kind, settings={"alpha": 3.0}, learning_rate=0.2)
    batch = tiny.whole(tiny.rows(method, 1, "test"))
    scores = method.scores(batch)
    for task in range(3):
        features = by_hand(method, task, batch)
        means = method.prototypes[task]
        expected = functional.cosine_similarity(features[:, None], means[None], dim=2)
        assert torch.allclose(scores[:, method.columns(task)].double(), expected, atol=1e-5)
    assert method.predict(batch, None) == scores.argmax(1).tolist()
    # The adapters differ enough for a wrong one to show.
    assert (by_hand(method, 0, batch) - by_hand(method, 2, batch)).abs().max() > 1e-3


@torch.no_grad()
def test_prototypes_are_class_means_through_the_task_s_adapter() -> None:
    method = learned(2)
    batch = tiny.whole(tiny.rows(method, 1))
    features = by_hand(method, 1, batch)
    for mean, column in zip(method.prototypes[1], method.columns(1), strict=True):
        assert torch.allclose(mean, features[batch.labels == column].mean(0))


def test_class_without_a_row_has_a_mean_of_zero() -> None:
    # Class 7 has rows (1, 2) and (3, 4), class 5 has none.
    features = torch.tensor([[1.0, 2.0], [9.0, 9.0], [3.0, 4.0]])
    means = class_means(features, torch.tensor([7, 6, 7]), [7, 5])
    assert means.tolist() == [[2.0, 3.0], [0.0, 0.0]]


def test_given_task_limits_the_answers_and_unseen_classes_are_never_answered() -> None:
    method = learned(2)
    batch = tiny.whole(tiny.rows(method, 2, "test"))
    assert set(method.predict(batch, None)) <= {0, 1, 2, 3}
    assert set(method.predict(batch, 0)) <= {0, 1}
    assert set(method.predict(batch, 1)) <= {2, 3}


@torch.no_grad()
def test_class_of_two_tasks_is_scored_by_the_better_mean() -> None:
    # The fourth task has the first one's classes again.
    stream = tiny.tasks("image", 4)
    method = learned(4, stream=stream)
    assert method.columns(3) == method.columns(0)
    batch = tiny.whole(tiny.rows(method, 3, "test"))
    scores = method.scores(batch)[:, method.columns(0)]
    first, fourth = (
        functional.cosine_similarity(
            by_hand(method, task, batch)[:, None], method.prototypes[task][None], dim=2
        )
        for task in (0, 3)
    )
    assert torch.allclose(scores.double(), torch.maximum(first, fourth), atol=1e-5)


def test_answers_within_a_task_are_those_of_finished_tasks_and_leave_training_alone() -> None:
    method = learned(2)
    rows = tiny.rows(method, 0, "test")
    before = method.predict(tiny.whole(rows), None)
    taken, _ = tiny.begin(method, 2)
    loss = method.loss(tiny.whole(taken))
    assert method.predict(tiny.whole(rows), None) == before
    assert torch.allclose(method.loss(tiny.whole(taken)), loss)


# --- training


@torch.no_grad()
def test_earlier_adapters_take_no_part_in_training() -> None:
    method = learned(2)
    taken, _ = tiny.begin(method, 2)
    before = method.loss(tiny.whole(taken))
    for layer in method.stack.layers.values():
        assert layer.answering() == (None, ("current",))
        layer.frozen.lora_B = torch.randn_like(layer.frozen.lora_B)
    assert torch.equal(method.loss(tiny.whole(taken)), before)


def test_two_steps_a_batch_from_the_second_task_on() -> None:
    method = learned(0)
    # 12 rows in batches of 4 for 2 epochs: 6 batches.
    assert [tiny.learn(method, t) for t in range(3)] == [6, 12, 12]
    assert [tiny.learn(learned(1, distillation=0.0), 1)] == [6]


@torch.no_grad()
@transformers
def test_first_blocks_answer_as_a_shallower_model(kind: str) -> None:
    method = learned(1, kind)
    batch = tiny.whole(tiny.rows(method, 0))
    backbone = method.task_model.backbone
    whole = method.features(batch, 0)
    with first_blocks(backbone.module, method.shared.layers, 1):
        shallow = backbone.features(batch.inputs)
    plain = tiny.backbone(kind, torch.float64)
    blocks = plain.module.layers if kind == "image" else plain.module.encoder.layer
    for name, layer in method.shared.layers.items():
        plain.module.get_submodule(name).weight.data += layer.current.lora_B @ layer.current.lora_A
    assert isinstance(blocks, nn.ModuleList)
    del blocks[1]
    assert torch.allclose(shallow, plain.features(batch.inputs))
    assert torch.equal(method.features(batch, 0), whole), "all blocks are back"
    with pytest.raises(KeyError), first_blocks(backbone.module, method.shared.layers, 1):
        raise KeyError
    assert torch.equal(method.features(batch, 0), whole)


def test_distilled_loss_by_hand_and_what_it_reaches() -> None:
    method = learned(1, settings={"alpha": 3.0})
    taken, _ = tiny.begin(method, 1)
    tiny.randomise(method.shared)
    batch = tiny.whole(taken)
    method.classifier_scale.data.fill_(3.0)
    loss = method.distil(batch)
    module, rows = method.task_model.backbone.module, torch.cat(list(method.task_model.head.weights))
    logits = []
    with torch.no_grad(), first_blocks(module, method.shared.layers, 1):
        for factors in (method.shared.snapshot(), method.teacher):
            with method.shared.using(factors):
                features = method.task_model.backbone.features(batch.inputs)
                # Rows 2 and 3 are the new classes'.
                logits.append(3 * functional.cosine_similarity(features[:, None], rows[None, 2:], dim=2))
    student, teacher = (x / 2 for x in logits)
    # 5 times the cross-entropy of the softened answers, without a factor of 4.
    expected = -5 * (teacher.softmax(1) * student.log_softmax(1)).sum(1).mean()
    assert torch.isclose(loss, expected)
    for factor in [*method.stack.parameters(), *method.shared.parameters()]:
        factor.requires_grad_(True)
    method.distil(batch).backward()
    assert all(up.grad.abs().max() > 0 for up in method.shared.parameters()[1::2])
    assert all(factor.grad is None for factor in method.stack.parameters()), "later blocks are left out"
    # At the teacher itself the divergence is least: nothing pulls the shared adapter.
    for factor, old in zip(method.shared.parameters(), method.teacher, strict=True):
        factor.data.copy_(old)
        factor.grad = None
    method.distil(batch).backward()
    assert all(up.grad.abs().max() < 1e-12 for up in method.shared.parameters()[1::2])


def test_distilled_gradient_is_weighted_by_the_old_rows_and_the_other_is_not() -> None:
    # Rows (3, 4), (0, 0), (0, 1) have norms 5, 0, 1 and the mean 2.
    assert row_shares(torch.tensor([[3.0, 4.0], [0.0, 0.0], [0.0, 1.0]])).tolist() == [2.5, 0.0, 0.5]
    assert row_shares(torch.zeros(3, 2)).tolist() == [0.0, 0.0, 0.0]
    method = learned(1)
    tiny.begin(method, 1)
    ups, old = method.shared.parameters()[1::2], method.teacher[1::2]
    for distilling in (True, False):
        for up in ups:
            up.grad = torch.ones_like(up)
        method.distilling = distilling
        method.reassign()
        for up, before in zip(ups, old, strict=True):
            norms = torch.stack([row.norm() for row in before])
            shares = norms / norms.mean() if distilling else torch.ones(len(norms)).double()
            assert up.grad is not None and torch.allclose(up.grad, shares[:, None].expand_as(up))


def test_distilled_steps_draw_the_shared_adapter_to_the_teacher() -> None:
    method = learned(1)
    taken, _ = tiny.begin(method, 1)
    batch, ups = tiny.whole(taken), method.shared.parameters()[1::2]
    for up in ups:
        up.data += 0.3 * torch.randn_like(up)
        up.requires_grad_(True)
    # Only the shared adapter moves here: of the loss, the divergence is all that it can lower.
    method.classifier_scale = nn.Parameter(torch.tensor(10.0), requires_grad=False)
    losses = []
    for _ in range(200):
        for up in ups:
            up.grad = None
        loss = method.distil(batch)
        loss.backward()
        method.reassign()
        losses.append(loss.item())
        for up in ups:
            up.data -= 0.05 * up.grad
    for up, old in zip(ups, method.teacher[1::2], strict=True):
        up.data.copy_(old)
    least = method.distil(batch).item()
    assert losses[0] - least > 1e-3
    assert losses[-1] - least < (losses[0] - least) / 2


def test_classifier_is_a_scaled_cosine() -> None:
    method = learned(1)
    taken, _ = tiny.begin(method, 1)
    method.classifier_scale.data.fill_(3.0)
    batch, rows = tiny.whole(taken), torch.cat(list(method.task_model.head.weights))
    features = method.features(batch, 1)
    cosines = functional.cosine_similarity(features[:, None], rows[None], dim=2)
    assert torch.allclose(method.logits(features), 3 * cosines)
    # Columns 2 and 3 are the new classes; the weights of two tasks have a likeness of their own.
    expected = functional.cross_entropy(3 * cosines[:, 2:], batch.labels - 2)
    assert torch.isclose(method.loss(batch), expected + 1e-4 * method.likeness())


def test_likeness_of_weights_by_hand() -> None:
    method = learned(2, orthogonality=2.0)
    taken, _ = tiny.begin(method, 2)
    values = ([3.0, 4.0], [4.0, -3.0], [4.0, 3.0])
    method.weights = [nn.Parameter(torch.tensor(value).double()) for value in values]
    # With (4, 3): (3, 4) gives 24 / 25, (4, -3) gives 7 / 25; the mean is 0.62.
    assert method.likeness().item() == pytest.approx(0.62)
    batch = tiny.whole(taken)
    alone = functional.cross_entropy(method.logits(method.features(batch, 2))[:, 4:], batch.labels - 4)
    assert torch.isclose(method.loss(batch), alone + 2 * 0.62)
    method.likeness().backward()
    assert method.weights[0].grad is None and method.weights[2].grad is not None


# --- what is kept


def test_task_without_a_step_gives_no_nan() -> None:
    method = learned(0)
    tiny.begin(method, 0)  # and no step: all up factors stay zero
    method.end_task(0, tiny.rows(method, 0))
    rows, [phase] = tiny.begin(method, 1)
    train(method, phase, rows, (0,), lambda share: None)
    assert all(torch.isfinite(value).all() for value in method.state().values())


@pytest.mark.parametrize(("count", "classes", "rows"), [(1, 2, 3), (2, 1, 1)])
def test_smallest_streams(count: int, classes: int, rows: int) -> None:
    method = learned(count, stream=tiny.tasks("image", count, classes, rows))
    for t in range(count):
        assert len(method.predict(tiny.whole(tiny.rows(method, t, "test")), None)) == classes * rows
    assert method.report(count - 1)["weights"].keys() == method.stack.layers.keys()
    assert method.low_rank_sum() is None
