"""Frozen adapters with learned scales inside the weight of a step: when, and equal but for rounding."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.lora import layer as layers
from benchmark.lora.stack import AdapterStack
from tests import tiny


def test_the_cheaper_side_is_chosen_by_counting_multiply_adds() -> None:
    # N = 1040 inputs of a square layer of 384. Beside: 2 * 1040 R * 768 = 1,597,440 R. Inside:
    # (2 R + 1040) * 147,456 = 294,912 R + 153,354,240. They meet at R = 153,354,240 / 1,302,528 = 117.7.
    assert not layers.costs_less_inside(1040, 117, 384, 384)
    assert layers.costs_less_inside(1040, 118, 384, 384)
    # Few inputs: 2 * 100 R * 768 = 153,600 R is less than 294,912 R at any R.
    assert not layers.costs_less_inside(100, 10_000, 384, 384)


def model(dtype: torch.dtype = torch.float64, **options: Any) -> tuple[nn.Module, AdapterStack, list[Tensor]]:
    """Return a layer with three frozen adapters and one under training, its stack and its learned scales."""
    torch.manual_seed(0)
    module = nn.ModuleDict({"query": nn.Linear(5, 4)}).to(dtype)
    stack = AdapterStack(module, ("query",), 2, scaling=0.5, **options)
    for task in range(4):
        stack.freeze_current()
        stack.add(task)
        tiny.randomise(stack, task)
    scales = [
        torch.rand(1, 3, dtype=dtype, requires_grad=True),
        torch.rand(1, dtype=dtype, requires_grad=True),
    ]
    stack.learned_scales = lambda: (scales[0], scales[1])
    return module["query"], stack, scales


def step(layer: nn.Module, stack: AdapterStack, scales: list[Tensor], x: Tensor) -> list[Tensor]:
    """Return the output and the gradients of the input, of both scales and of the current adapter."""
    x = x.clone().requires_grad_()
    stack.forget_scales()
    torch.manual_seed(1)
    y = layer(x)
    return [y, *torch.autograd.grad(y.sin().sum(), [x, *scales, *stack.parameters()])]


def both(
    monkeypatch: pytest.MonkeyPatch, layer: nn.Module, stack: AdapterStack, scales: list[Tensor], x: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the same step as if the frozen adapters always cost less inside, and as if they never did."""
    results = []
    for inside in (True, False):
        monkeypatch.setattr(layers, "costs_less_inside", lambda *_, inside=inside: inside)
        results.append(step(layer, stack, scales, x))
    return results[0], results[1]


def test_outputs_and_gradients_are_the_same_inside_and_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(3, 7, 5, dtype=torch.float64)
    inside, beside = both(monkeypatch, *model(), x=x)
    assert all((one - other).abs().max() < 1e-12 for one, other in zip(inside, beside, strict=True))
    # Another order of sums: had both come from one way of computing, they would be equal to the last bit.
    assert not torch.equal(inside[0], beside[0])


def test_what_was_merged_for_good_stays_in_the_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, stack, scales = model()
    stack.merge_current()
    stack.add(4)
    inside, beside = both(monkeypatch, layer, stack, scales, x=torch.randn(7, 5, dtype=torch.float64))
    assert all((one - other).abs().max() < 1e-12 for one, other in zip(inside, beside, strict=True))


@pytest.mark.parametrize("case", ["dropout", "bfloat16", "autocast", "fixed", "row by row"])
def test_where_it_would_change_more_than_rounding_they_stay_beside(
    monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    dtype = {"bfloat16": torch.bfloat16, "autocast": torch.float32}.get(case, torch.float64)
    layer, stack, scales = model(dtype, **({"dropout": 0.5} if case == "dropout" else {}))
    if case == "fixed":  # merge_frozen serves these, once for all steps
        fixed, learned = scales[0].detach(), scales[1]
        stack.learned_scales = lambda: (fixed, learned)
        scales = [learned]
    if case == "row by row":
        stack.learned_scales = lambda: (scales[0][:, None].expand(1, 7, 3), scales[1])
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        inside, beside = both(monkeypatch, layer, stack, scales, x=torch.randn(7, 5, dtype=dtype))
    assert all(torch.equal(one, other) for one, other in zip(inside, beside, strict=True))
