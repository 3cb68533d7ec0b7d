"""TreeLoRA: the tree, the draws and the alignment term."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from methods.pieces import task_tree
from methods.tree_lora import in_units
from tests import tiny


def begun(t: int, kind: str = "encoder", **chosen: Any) -> tuple[Any, Any]:
    """Return a float64 method that has begun task t, and its rows."""
    method = tiny.make_method("tree-lora", kind, torch.float64, **{"learning_rate": 0.01} | chosen)
    for task in range(t):
        tiny.learn(method, task)
    return method, tiny.begin(method, t)[0]


# --- the tree


def test_tree_by_hand() -> None:
    # One number a task and layer. Layer 0: differences 1, 4, -2, 5, mean 2, similarities 2, 8, -4, 10, lower
    # median 2: tasks 0, 1, 3 against 2. Layer 1 of these: differences 3, 0, 3, mean 2, similarities 6, 0, 6,
    # median 6: tasks 0, 3 against 1.
    means = torch.tensor([[1.0, 3.0], [5.0, 3.0], [3.0, 1.0], [8.0, 4.0]])[..., None]
    tree = task_tree.build(means)
    assert tree.median == 2.0
    assert tree.left is not None and tree.right is not None
    assert (tree.left.tasks, tree.right.tasks) == ([0, 1, 3], [2])
    assert tree.left.median == 6.0 and tree.right.median is None
    assert tree.left.left is not None and tree.left.right is not None
    assert (tree.left.left.tasks, tree.left.right.tasks) == ([0, 3], [1])
    assert tree.left.left.left is None, "there is no third layer"
    assert tree.child_with(2) is tree.right and tree.child_with(3) is tree.left
    assert tree.right.child_with(2) is None


def test_equal_tasks_are_split_in_half() -> None:
    means = torch.tensor([[[1.0]], [[2.0]], [[3.0]]])  # every difference is 1
    tree = task_tree.build(means)
    assert tree.left is not None and tree.right is not None
    assert (tree.left.tasks, tree.right.tasks) == ([0], [1, 2])


@pytest.mark.parametrize("count", [0, 1])
def test_fewer_than_two_tasks_are_a_leaf(count: int) -> None:
    tree = task_tree.build(torch.ones(count, 3, 2))
    assert tree.tasks == list(range(count)) and tree.left is None


# --- what is kept


def test_mean_is_of_the_last_epoch_times_the_number_of_layers() -> None:
    method, rows = begun(0)
    seen = []
    for step in range(6):  # two epochs of three steps
        for layer in method.stack.layers.values():
            layer.current.lora_A.data.fill_(step)
        seen.append(step)
        method.loss(rows.batch([step]))
    method.end_task(0, rows)
    # Steps 3, 4, 5 have mean 4; four layers make 16.
    assert torch.allclose(method.means, torch.full_like(method.means, 16.0))
    assert method.means.shape == (1, 4, 2 * 32)


def test_layers_of_unequal_width_share_a_tensor() -> None:
    settings = {"targets": ("query", "down")}
    method = tiny.make_method("tree-lora", "encoder", torch.float64, settings=settings)
    tiny.begin(method, 0)
    flat = method.flat_downs()
    assert flat.shape == (4, 2 * 48)
    assert torch.equal(flat[1], list(method.stack.layers.values())[1].current.lora_A.flatten())
    assert not flat[0, 2 * 32 :].any()


# --- the draws


def test_far_tasks_are_likelier_and_rare_ones_are_tried() -> None:
    method, _ = begun(2)
    method.tree = task_tree.TaskTree([0, 1])
    method.draws = torch.full_like(method.draws, 50.0)
    method.distances = torch.tensor([[50.0], [500.0]]).double().expand(2, 4).clone()
    # Distances 1 and 10 with one bonus: over their range of 9, exp(10/9) against exp(1/9), e to 1.
    expected = torch.tensor([1, torch.e]).double() / (1 + torch.e)
    assert torch.allclose(method.probabilities()[:, 0], expected, atol=1e-5)
    method.distances[1] = 50.0
    method.draws[0] = 1
    method.distances[0] = 1.0
    assert (method.probabilities()[0] > method.probabilities()[1]).all()


def test_group_of_the_first_draw_is_favoured_by_its_median() -> None:
    method, _ = begun(2)
    leaf = task_tree.TaskTree([0], median=9.0)
    method.tree = task_tree.TaskTree([0, 1], 0.0, leaf, task_tree.TaskTree([1]))
    method.draws = torch.ones_like(method.draws)
    method.distances = torch.tensor([[900.0], [1.0]]).double().expand(2, 4).clone()
    width = torch.tensor(2 * method.rounds * 2).double().log().sqrt() / torch.tensor(2 + 1e-5).sqrt()
    # Task 0 is all but surely drawn first. The least bound, 1 + width, is added to both; then times 1.5.
    far, near = 1.5 * (901 + 2 * width), 2 * (1 + width)
    expected = torch.stack([far, near]) / (far - near + 1e-5)
    assert torch.allclose(method.probabilities()[:, 0], expected.softmax(0))


def test_distance_is_that_to_the_drawn_task() -> None:
    method, rows = begun(2)
    method.loss(rows.batch([0]))
    drawn = method.draws.argmax(0)
    assert torch.equal(method.draws.sum(0), torch.ones(4).double())
    for layer, task in enumerate(drawn.tolist()):
        distance = (method.running[layer] - method.means[task, layer]).abs().sum()
        assert torch.isclose(method.distances[task, layer], distance)
        assert method.distances[1 - task, layer] == 0


# --- the term


def test_size_is_one_whatever_the_sign_and_finite_at_zero() -> None:
    for number in (3.0, -3.0):
        value = torch.tensor(number, requires_grad=True)
        units = in_units(value)
        units.backward()
        assert abs(units.item() - 1) < 1e-5
        assert abs(value.grad.item() - 1 / number) < 1e-5  # type: ignore[union-attr]
    value = torch.tensor(0.0, requires_grad=True)
    in_units(value).backward()
    assert torch.isfinite(value.grad)  # type: ignore[arg-type]


def test_term_by_hand_and_its_rise_within_an_epoch() -> None:
    method, rows = begun(1, alignment=0.6)
    batch = rows.batch([0, 1])
    plain = method.task_model.loss(batch)
    assert torch.equal(method.loss(batch), plain), "an epoch's first step has no term"
    method.round = 1
    total = method.loss(batch)
    # One of three steps is over: a third of 0.6 of the loss is taken off.
    assert torch.isclose(total, 0.8 * plain)
    downs = method.stack.lora_a()
    found = torch.autograd.grad(total, downs)
    task = torch.autograd.grad(plain, downs)
    alignment = (method.flat_downs() * method.means[0]).sum().detach()
    for layer, (whole, own) in enumerate(zip(found, task, strict=True)):
        pull = -0.2 * plain.detach() / alignment * method.means[0, layer].view_as(own)
        assert pull.abs().max() > 0 and torch.allclose(whole - own, pull, rtol=1e-4)


def test_no_alignment_is_sequential_lora() -> None:
    ours, _ = begun(2, alignment=0.0)
    plain = tiny.make_method("seq-lora", "encoder", torch.float64, learning_rate=0.01)
    for task in range(2):
        [phase] = tiny.begin(plain, task)[1]
        phase.schedule = "cosine-by-epoch"
        tiny.train(plain, phase, tiny.rows(plain, task), (0, task, phase.name), lambda share: None)
    for mine, theirs in zip(ours.stack.parameters(), plain.stack.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_counts_one_adapter_and_half_a_adapter_more_in_bytes_each_task() -> None:
    method, _ = begun(2)
    counted = method.accounting()
    assert (counted.stored, counted.adapters, counted.active) == (4 * 2 * 64, 1, 1)
    assert counted.auxiliary_bytes == 2 * 4 * 2 * 32 * 8
    assert len(method.report(2)["drawn"]) == 2
