"""The format of products is a setting: what it changes, what it leaves, and where it is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from benchmark.errors import UserError
from benchmark.models import precision
from benchmark.models.precision import round_frozen, use_precision

CPU = torch.device("cpu")
needs_bf16 = pytest.mark.skipif(not precision.has_bf16_products(), reason="no bfloat16 products here")


class Answer(dict[str, torch.Tensor]):
    """What transformers' models return: tensors by name."""


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1, bias=False)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[1.0, 1.0]]))

    def forward(self, x: torch.Tensor) -> Answer:
        return Answer(y=self.layer(x))


# bfloat16 keeps 8 bits: 257 = 1.00000001b x 2^8 has 9 and rounds to 256. 257 + 1 is 258 in float32, which
# has 8 bits itself, but 256 + 1 = 257 in the products' sum rounds to 256 or, summed in float32, to 256 too.
ROW = torch.tensor([[257.0, 1.0]])


@needs_bf16
def test_products_are_rounded_and_the_answer_is_float32() -> None:
    model = Model()
    assert model(ROW)["y"].item() == 258.0
    use_precision(model, "bf16", CPU)
    answer = model(ROW)["y"]
    assert answer.dtype == torch.float32 and answer.item() == 256.0
    # Weights and their gradients stay float32, and outside the model nothing is rounded.
    answer.sum().backward()
    assert model.layer.weight.dtype == model.layer.weight.grad.dtype == torch.float32  # type: ignore[union-attr]
    assert nn.functional.linear(ROW, model.layer.weight).item() == 258.0


@needs_bf16
def test_a_copy_is_rounded_too_and_a_failed_pass_leaves_nothing_open() -> None:
    model = Model()
    use_precision(model, "bf16", CPU)
    twin = copy.deepcopy(model)
    assert twin(ROW)["y"].item() == 256.0
    with pytest.raises(RuntimeError):
        model(torch.zeros(1, 3))
    assert not torch.is_autocast_enabled("cpu")
    assert nn.functional.linear(ROW, model.layer.weight).item() == 258.0


def test_what_the_device_does_not_have_is_refused_with_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="precision=tf32: this machine's cpu does not compute in it"):
        use_precision(Model(), "tf32", CPU)
    monkeypatch.setattr(precision, "has_bf16_products", lambda: False)
    with pytest.raises(UserError, match=r"precision=bf16.*it has: float32 "):
        use_precision(Model(), "bf16", CPU)


@needs_bf16
def test_rounding_frozen_weights_once_changes_no_answer_and_no_shared_weight() -> None:
    torch.manual_seed(0)
    words, frozen, adapted, head = nn.Embedding(7, 16), nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 7)
    head.weight = words.weight  # tied
    model = nn.Sequential(words, frozen, nn.GELU(), adapted, head).requires_grad_(False)
    model.append(trained := nn.Linear(7, 3))
    use_precision(model, "bf16", CPU)
    tokens = torch.arange(7)[None]
    before = model(tokens)
    round_frozen(model, "bf16", {adapted})
    assert torch.equal(model(tokens), before)
    rounded = [each.weight.dtype == torch.bfloat16 for each in (words, frozen, adapted, head, trained)]
    assert rounded == [False, True, False, True, False]


def test_float32_leaves_every_weight() -> None:
    model = Model().requires_grad_(False)
    round_frozen(model, "float32")
    assert model.layer.weight.dtype == torch.float32
