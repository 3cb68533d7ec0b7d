"""Scoring with all adapters in one weight: the answers of the stack, at the cost of the plain model."""

from __future__ import annotations

import pytest
import torch

from tests import tiny


@pytest.mark.parametrize("key", ["sd-lora", "sd-lora-rr", "sd-lora-kd", "litelora"])
def test_merged_adapters_score_as_the_stack_does(key: str) -> None:
    method = tiny.make_method(key, "encoder", torch.float64)
    for t in range(3):
        tiny.learn(method, t)
    stacked = tiny.logits(method, 0)
    layer = next(iter(method.stack.layers.values()))
    with method.predicting():
        weight, beside = layer.answering()
        merged = tiny.logits(method, 0)
    assert weight is not None and beside == (), "no adapter is left beside the weight"
    assert torch.allclose(merged, stacked, atol=1e-10)
    assert torch.equal(tiny.logits(method, 0), stacked), "afterwards the stack answers again"


@pytest.mark.parametrize("key", ["mocl", "gainlora", "independent"])
def test_scales_of_a_row_are_never_merged(key: str) -> None:
    method = tiny.make_method(key, "encoder")
    for t in range(2):
        tiny.learn(method, t)
    before = [layer.answering()[0] for layer in method.stack.layers.values()]
    with method.predicting():
        after = [layer.answering()[0] for layer in method.stack.layers.values()]
    assert all(a is b for a, b in zip(before, after, strict=True))
