"""Forward-equivalents: counted on the blocks, so that no method can forget what it sends through them."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from benchmark.models.forward_equivalents import PassCounter, blocks
from tests import tiny


class Two(nn.Module):
    """Two blocks of 6 and 3 parameters: shares 2/3 and 1/3; the last layer is no block."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(2, 3, bias=False), nn.Linear(3, 1, bias=False)])
        self.last = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


@pytest.fixture
def model() -> Two:
    made = Two()
    made.requires_grad_(False)
    return made


def test_a_forward_pass_counts_its_rows(model: Two) -> None:
    counter = PassCounter(model)
    model(torch.ones(5, 2))
    assert counter.total == pytest.approx(5)  # 5 (2/3 + 1/3)
    model.layers[0](torch.ones(3, 2))
    assert counter.total == pytest.approx(7)  # 2/3 of 3 rows more: an early exit pays for the blocks it runs


def test_a_gradient_counts_twice_the_blocks_it_passes(model: Two) -> None:
    counter = PassCounter(model)
    model.layers[1].requires_grad_(True)
    loss = model(torch.ones(6, 2)).sum()
    assert counter.total == pytest.approx(6)
    loss.backward()
    assert counter.total == pytest.approx(10)  # 2 x 6 x 1/3: below the trained block no gradient flows
    model.layers[0].requires_grad_(True)
    model(torch.ones(6, 2)).sum().backward()
    assert counter.total == pytest.approx(28)  # 6 forward, 2 x 6 back


def test_a_head_on_frozen_features_costs_no_gradient(model: Two) -> None:
    counter = PassCounter(model)
    model.last.requires_grad_(True)
    model(torch.ones(4, 2)).sum().backward()
    assert counter.total == pytest.approx(4)


def test_a_teacher_that_is_a_copy_is_counted(model: Two) -> None:
    counter = PassCounter(model)
    with torch.no_grad():
        deepcopy(model)(torch.ones(3, 2))
    assert counter.total == pytest.approx(3)


def test_what_comes_from_elsewhere_can_be_added(model: Two) -> None:
    counter = PassCounter(model)
    counter.add(10, share=0.5)
    assert counter.total == 5


@pytest.mark.parametrize(("kind", "count"), [("vector", 1), ("image", 2), ("encoder", 2), ("causal", 2)])
def test_blocks_of_every_kind_are_found(kind: str, count: int) -> None:
    assert len(blocks(tiny.model(kind))) == count


@pytest.mark.parametrize(("key", "passes"), [("seq-lora", 3), ("frozen", 1)])
def test_learning_a_task_counts_each_epoch(key: str, passes: int) -> None:
    """6 rows, 2 classes: 12 rows an epoch; adapters in all blocks cost 3 a row, a head alone 1."""
    method = tiny.make_method(key, "image")
    counter = method.task_model.backbone.passes
    before = counter.total
    tiny.learn(method, 0)
    rows = len(tiny.rows(method, 0)) * method.protocol.epochs
    assert counter.total - before == pytest.approx(passes * rows)
