"""SD-LoRA's two smaller forms: reduced ranks and dropped directions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests import tiny


def test_rank_schedule_of_the_paper() -> None:
    method = tiny.make_method("sd-lora-rr", "encoder", settings={"rank": 10})
    assert [method.rank(t) for t in (0, 3, 4, 7, 8, 19)] == [10, 10, 8, 8, 6, 6]  # type: ignore[attr-defined]


def test_ranks_follow_the_schedule_and_never_vanish() -> None:
    method: Any = tiny.make_method("sd-lora-rr", "vector", first_cut=1, second_cut=2, last_share=0.1)
    for t in range(3):
        tiny.learn(method, t)
    # Rank 2: 0.8 x 2 rounds to 2, 0.1 x 2 to 0, of which 1 is left.
    assert [*method.stack.frozen_ranks, len(method.stack.parameters()[0])] == [2, 2, 1]
    # Without a cut it is SD-LoRA.
    whole: Any = tiny.make_method("sd-lora-rr", "vector", first_cut=9, second_cut=9)
    plain: Any = tiny.make_method("sd-lora", "vector")
    for t in range(2):
        tiny.learn(whole, t)
        tiny.learn(plain, t)
    assert tiny.same(whole.state(), plain.state())


def at_third_task(variant: str) -> tuple[Any, Any]:
    """Return a float64 method in its third task with two earlier directions, and the rows."""
    method: Any = tiny.make_method("sd-lora-kd", "encoder", torch.float64, variant=variant)
    for t in range(3):
        rows, _ = tiny.begin(method, t)
        tiny.randomise(method.stack, seed=t)
    return method, rows


def product(method: Any, layer: Any, slot: int) -> Tensor:
    down, up = method.stack.frozen_adapter(layer, slot)
    return up @ down


def combine(method: Any, weights: tuple[float, float]) -> None:
    """Make the current direction the given combination of the two earlier, normalised ones."""
    for index, layer in enumerate(method.stack.layers.values()):
        mixed = sum(
            weight * product(method, layer, slot) / method.norms[index, slot]
            for slot, weight in enumerate(weights)
        )
        left, values, right = torch.linalg.svd(mixed)
        layer.current.lora_B = torch.nn.Parameter(left[:, :4] * values[:4])
        layer.current.lora_A = torch.nn.Parameter(right[:4])


def test_known_combination_is_found_and_dropped_without_changing_the_function() -> None:
    method, rows = at_third_task("official")
    combine(method, (0.6, -0.3))
    method.magnitudes.data.copy_(torch.tensor([0.8, 0.9, 0.5]))
    coefficients, residual = method.fit()
    assert torch.allclose(coefficients, torch.tensor([0.6, -0.3]).double(), atol=1e-6)
    assert residual < 1e-6
    before = tiny.logits(method, 0)
    method.end_task(2, rows)
    assert method.stack.tasks() == [0, 1]
    # 0.8 + 0.5 x 0.6 and 0.9 - 0.5 x 0.3
    assert method.magnitudes.tolist() == pytest.approx([1.1, 0.75], abs=1e-6)
    assert (tiny.logits(method, 0) - before).abs().max() < 1e-5


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_dead_directions_are_dropped_and_disturb_no_later_fit(variant: str) -> None:
    method: Any = tiny.make_method("sd-lora-kd", "vector", torch.float64, variant=variant)
    rows, _ = tiny.begin(method, 0)
    method.end_task(0, rows)  # the first is kept, though its up factor is zero
    rows, _ = tiny.begin(method, 1)
    method.end_task(1, rows)
    assert method.stack.tasks() == [0] and method.last_residual == 0.0
    rows, _ = tiny.begin(method, 2)
    tiny.randomise(method.stack)
    method.end_task(2, rows)
    assert method.stack.tasks() == [0, 2] and method.last_residual == pytest.approx(1.0)


def test_coefficients_outlast_the_task_only_where_magnitudes_are_carried_over() -> None:
    for variant, expected in (("official", [0.8, 0.8, 0.8]), ("paper", [1.1, 0.75, 1.0])):
        method, rows = at_third_task(variant)
        method.magnitudes.data.copy_(torch.tensor([0.8, 0.9, 0.5]))
        method.fit = lambda: (torch.tensor([0.6, -0.3]).double(), 0.0)
        # 0.8 + 0.5 x 0.6 and 0.9 - 0.5 x 0.3
        method.end_task(2, rows)
        tiny.begin(method, 0)  # any task: what counts is that one begins
        assert method.magnitudes.tolist() == pytest.approx(expected)


@pytest.mark.parametrize("variant", ["official", "paper"])
def test_residual_is_that_of_the_dense_matrices(variant: str) -> None:
    method, rows = at_third_task(variant)
    coefficients, residual = method.fit()
    earlier, new = [], []
    for index, layer in enumerate(method.stack.layers.values()):
        parts = [product(method, layer, slot) / method.norms[index, slot] for slot in range(2)]
        earlier.append(torch.stack([part.flatten() for part in parts], dim=1))
        dense = layer.current.lora_B @ layer.current.lora_A
        new.append((dense / dense.norm() if variant == "paper" else dense).flatten())
    matrix, target = torch.cat(earlier), torch.cat(new)
    expected = torch.linalg.lstsq(matrix, target[:, None]).solution[:, 0]
    assert torch.allclose(coefficients, expected, atol=1e-6)
    left = (target - matrix @ expected).norm() / target.norm()
    assert residual == pytest.approx(left.item(), rel=1e-6) and residual > 0.5
    method.end_task(2, rows)
    assert method.stack.tasks() == [0, 1, 2], "a direction of its own is kept"
    assert method.report(2)["residual"] == residual
