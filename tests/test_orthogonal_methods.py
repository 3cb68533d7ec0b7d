"""O-LoRA and N-LoRA: what a new adapter is charged for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from benchmark.data.batches import Rows
from benchmark.errors import UserError
from benchmark.models import small_models
from benchmark.running.checkpoint import pack
from methods.n_lora import dense_weight
from methods.pieces import penalties
from tests import tiny


def at_task(t: int, key: str = "o-lora", kind: str = "encoder", **chosen: Any) -> tuple[Any, Rows]:
    """Return a float64 method that has begun task t, its adapters as if trained, and the task's rows."""
    method = tiny.make_method(key, kind, torch.float64, **chosen)
    for task in range(t + 1):
        rows, _ = tiny.begin(method, task)
        tiny.randomise(method.stack, seed=task)
    return method, rows


def overlaps(method: Any) -> Tensor:
    """Return A_k A_t^T of every layer and earlier adapter, `(M, slots, r, r)`."""
    stack = method.stack
    return torch.stack(
        [
            torch.stack(
                [
                    stack.frozen_adapter(layer, k)[0] @ layer.current.lora_A.t()
                    for k in range(len(stack.frozen_tasks))
                ]
            )
            for layer in stack.layers.values()
        ]
    )


# --- O-LoRA, sanity list of the core methods


def test_overlap_by_hand() -> None:
    method, _ = at_task(1, kind="vector")
    (layer,) = method.stack.layers.values()
    layer.frozen.lora_A.zero_()
    layer.frozen.lora_A[0, 0], layer.frozen.lora_A[1, 1] = 2.0, 1.0
    layer.current.lora_A.data.zero_()
    layer.current.lora_A.data[0, :2] = torch.tensor([3.0, -1.0])
    # A_past A^T has the column (2 x 3, 1 x -1) = (6, -1): absolute sum 7, squared sum 37.
    assert penalties.overlap(method.stack, 1).item() == 7
    assert penalties.overlap(method.stack, 2).item() == 37


@pytest.mark.parametrize("power", [1, 2])
def test_stacked_overlap_is_that_of_each_earlier_task(power: int) -> None:
    method, _ = at_task(2)
    assert torch.isclose(penalties.overlap(method.stack, power), overlaps(method).abs().pow(power).sum())


def test_first_task_has_no_overlap() -> None:
    method, rows = at_task(0)
    assert penalties.overlap(method.stack, 1) == 0
    assert torch.equal(method.loss(tiny.whole(rows)), method.task_model.loss(tiny.whole(rows)))


def test_gradient_of_the_overlap() -> None:
    method, _ = at_task(2)
    for parameter in method.stack.parameters():
        parameter.requires_grad_(True)
    penalties.overlap(method.stack, 1).backward()
    for layer in method.stack.layers.values():
        # d sum |P A^T| / dA = sign(P A^T)^T P; neither the past nor the up factor has a share in it.
        sign = torch.sign(layer.frozen.lora_A @ layer.current.lora_A.t())
        assert torch.allclose(layer.current.lora_A.grad, sign.t() @ layer.frozen.lora_A)
        assert layer.current.lora_B.grad is None and layer.frozen.lora_A.grad is None


def test_overlap_of_initial_factors_has_its_expected_size() -> None:
    # An entry of A_past A^T is a sum of d products of uniforms of variance 1/(3d): about normal with variance
    # 1/(9d), so its mean absolute value is sqrt(2/pi) / (3 sqrt d). The stack draws with bound 1/sqrt(d).
    method = tiny.make_method("o-lora", "encoder", torch.float64, settings={"rank": 16})
    for t in range(2):
        tiny.begin(method, t)
    layers, rank, width = 4, 16, small_models.HIDDEN
    expected = layers * rank * rank * (2 / torch.pi) ** 0.5 / (3 * width**0.5)
    assert penalties.overlap(method.stack, 1).item() == pytest.approx(expected, rel=0.1)


def test_new_adapter_leaves_the_function_as_it_was() -> None:
    method, _ = at_task(1)
    before = tiny.logits(method, 0)
    tiny.begin(method, 2)
    assert (tiny.logits(method, 0)[:, : before.shape[1]] - before).abs().max() < 1e-10


def test_length_has_a_finite_gradient_where_the_up_factor_is_zero() -> None:
    method = tiny.make_method("o-lora", "encoder", torch.float64, norm=0.3)
    rows, _ = tiny.begin(method, 0)
    expected = sum(layer.current.lora_A.norm() for layer in method.stack.layers.values())  # type: ignore[attr-defined]
    assert torch.isclose(penalties.factor_length(method.stack), expected)  # type: ignore[attr-defined]
    method.loss(tiny.whole(rows)).backward()
    assert all(torch.isfinite(p.grad).all() for p in method.stack.parameters())  # type: ignore[attr-defined]


def test_without_penalties_it_is_incremental_lora_bit_for_bit() -> None:
    plain = tiny.make_method("inc-lora", "encoder", learning_rate=0.01)
    free = tiny.make_method("o-lora", "encoder", learning_rate=0.01, optimizer="adam", orthogonal=0)
    charged = tiny.make_method("o-lora", "encoder", learning_rate=0.01, optimizer="adam", orthogonal=5)
    for method in (plain, free, charged):
        for t in range(3):
            tiny.learn(method, t)
    assert pack(free.state()) == pack(plain.state()) != pack(charged.state())


def test_orthogonal_adapter_is_silent_on_the_past_s_rows() -> None:
    method, _ = at_task(1, kind="vector")
    (layer,) = method.stack.layers.values()
    basis = torch.linalg.qr(layer.frozen.lora_A.t())[0]
    layer.current.lora_A.data -= layer.current.lora_A.data @ basis @ basis.t()
    assert penalties.overlap(method.stack, 1) < 1e-10
    assert (layer.current.lora_B @ layer.current.lora_A @ layer.frozen.lora_A.t()).abs().max() < 1e-10


def test_weights_by_task_hold_on_after_the_last() -> None:
    method = tiny.make_method("o-lora", "vector", orthogonal_by_task=(0, 0.5), norm_by_task=(0.1,))
    seen = []
    for t in range(3):
        tiny.begin(method, t)
        seen.append((method.orthogonal, method.norm))  # type: ignore[attr-defined]
    assert seen == [(0, 0.1), (0.5, 0.1), (0.5, 0.1)]


def test_paper_s_penalty_is_the_squared_one() -> None:
    for variant, power in (("official", 1), ("paper", 2)):
        method, rows = at_task(1, variant=variant, orthogonal=0.25)
        batch = tiny.whole(rows)
        expected = method.task_model.loss(batch) + 0.25 * overlaps(method).abs().pow(power).sum()
        assert torch.isclose(method.loss(batch), expected)


@pytest.mark.parametrize("weights", [(0.5, -1.0), (float("nan"),)])
def test_a_negative_weight_in_a_list_is_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        tiny.make_method("o-lora", "vector", norm_by_task=weights)


def test_trained_numbers_stay_the_same_and_stored_ones_grow_by_them() -> None:
    method: Any = tiny.make_method("o-lora", "encoder")
    for t in range(3):
        _, [phase] = tiny.begin(method, t)
        # 2 blocks x (query, value), each 2 x 32 down and 32 x 2 up.
        assert sum(parameter.numel() for parameter in phase.groups[0].parameters) == 4 * 128
        assert method.accounting().stored == (t + 1) * 4 * 128


def test_one_task_is_enough() -> None:
    for key in ("o-lora", "n-lora"):
        method = tiny.make_method(key, "vector", stream=tiny.tasks("vector", 1))
        tiny.learn(method, 0)
        assert torch.isfinite(tiny.logits(method, 0)).all()


def test_penalty_lowers_the_overlap() -> None:
    ended = []
    for weight in (0.0, 1.0):
        method = tiny.make_method("o-lora", "encoder", orthogonal=weight, learning_rate=0.01)
        tiny.learn(method, 0)
        tiny.learn(method, 1)
        ended.append(penalties.overlap(method.stack, 1).item())  # type: ignore[attr-defined]
    assert ended[1] < 0.8 * ended[0]


# --- N-LoRA


def test_both_prices_by_hand() -> None:
    method, _ = at_task(0, "n-lora")
    for parameter in method.stack.parameters():
        parameter.data.zero_()
    layer = next(iter(method.stack.layers.values()))
    layer.current.lora_A.data[0, 0], layer.current.lora_A.data[0, 1], layer.current.lora_A.data[1, 1] = (
        2.0,
        -1.0,
        3.0,
    )
    layer.current.lora_B.data[0, 0], layer.current.lora_B.data[1, 1] = 5.0, -4.0
    # B A has the rows (5 x 2, 5 x -1) = (10, -5) and (0, -4 x 3) = (0, -12): 27. A B has the rows
    # (2 x 5, -1 x -4) = (10, 4) and (0, 3 x -4) = (0, -12): 26.
    assert penalties.dense_size(layer.current.lora_A, layer.current.lora_B).item() == 27
    assert penalties.measure_crossed_size(layer.current.lora_A, layer.current.lora_B).item() == 26


def test_square_layers_have_the_price_of_the_released_code() -> None:
    method, rows = at_task(0, "n-lora")  # 32 x 32 layers: the code's form, at the lambda of its scripts
    dense, crossed = (
        sum_over_layers(method, size) for size in (penalties.dense_size, penalties.measure_crossed_size)
    )
    plain = method.task_model.loss(tiny.whole(rows))
    assert torch.isclose(method.loss(tiny.whole(rows)), plain + 0.4 * crossed)
    paper, rows = at_task(0, "n-lora", variant="paper", sparsity=0.4)
    assert torch.isclose(paper.loss(tiny.whole(rows)), plain + 0.4 * dense)
    assert not torch.isclose(dense, crossed)


def test_other_layers_have_the_form_of_the_paper_at_a_lambda_of_its_own() -> None:
    # d = 1024, r = 8 of T5-large: 0.4 x (8 / 1024)^1.5 = 0.4 / 128^1.5 = 0.4 / 1448.15.
    assert dense_weight(8, 1024, 1024) == pytest.approx(0.4 / 1448.15, rel=1e-5)
    method, rows = at_task(0, "n-lora", "vector")  # one layer of 48 x 16, rank 2: d = sqrt(768) = 27.713
    plain = method.task_model.loss(tiny.whole(rows))
    price = 0.4 * (2 / 27.712813) ** 1.5  # 0.00775
    assert price == pytest.approx(0.00775, abs=1e-5)
    expected = plain + price * sum_over_layers(method, penalties.dense_size)
    assert torch.isclose(method.loss(tiny.whole(rows)), expected)


def test_both_forms_price_random_factors_alike() -> None:
    torch.manual_seed(0)
    down, up = torch.randn(8, 384), torch.randn(384, 8)
    dense, crossed = penalties.dense_size(down, up), penalties.measure_crossed_size(down, up)
    # Sums of absolute normal numbers: d^2 sqrt(r) against r^2 sqrt(d), so (384 / 8)^1.5 = 333 apart.
    assert dense / crossed == pytest.approx(333, rel=0.25)
    assert dense_weight(8, 384, 384) * dense == pytest.approx(0.4 * crossed, rel=0.25)


def sum_over_layers(method: Any, size: Any) -> Tensor:
    return torch.stack(
        [size(layer.current.lora_A, layer.current.lora_B) for layer in method.stack.layers.values()]
    ).sum()


def test_official_price_needs_square_layers() -> None:
    with pytest.raises(UserError, match=r"48 x 16.*variant=paper") as caught:
        tiny.make_method("n-lora", "vector", variant="official")
    assert "\n" not in str(caught.value)


def test_price_makes_the_update_smaller() -> None:
    sizes = []
    for price in (0.0, 1.0):
        method = tiny.make_method("n-lora", "encoder", sparsity=price, learning_rate=0.01)
        tiny.learn(method, 0)
        sizes.append(sum_over_layers(method, penalties.measure_crossed_size).item())
    assert sizes[1] < 0.8 * sizes[0]
