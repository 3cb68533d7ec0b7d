"""The low-rank bank against finite differences, against peft, and under any order of operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmark.adapters import AdapterBank
from benchmark.errors import UserError
from benchmark.models.adapted_linear import AdaptedLinear
from benchmark.models.roles import resolve, role_of
from tests import tiny


class Two(nn.Module):
    """A query and a value layer one after the other, of unequal sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(5, 4)
        self.value = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.value(torch.tanh(self.query(x)))


def banked(past: int = 0, rank: int = 2, current: bool = True, **options: Any) -> tuple[Two, AdapterBank]:
    """Return a float64 model with `past` random pairs and one under training."""
    torch.manual_seed(0)
    model = Two().double()
    bank = AdapterBank(model, ("query", "value"), rank, **options)
    for task in range(past + current):
        bank.freeze_current()
        bank.add(task)
        tiny.randomise(bank, task)
    if not current:
        bank.freeze_current()
    return model, bank


def run(model: nn.Module, bank: AdapterBank, x: Tensor) -> Tensor:
    bank.refresh()
    with torch.no_grad():
        return model(x)


def inputs(seed: int = 1) -> Tensor:
    return torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- arithmetic of the forward pass


def test_forward_is_the_sum_of_weight_and_scaled_pairs() -> None:
    model, bank = banked(past=1, scale=0.5)
    layer = model.query
    past = torch.tensor([[3.0], [1.0]], dtype=torch.float64)  # (layers, slots)
    current = torch.tensor([2.0, 1.0], dtype=torch.float64)  # (layers,)
    bank.scaling = lambda: (past, current)
    bank.refresh()
    # W + 0.5 * 3 * B_0 A_0 + 0.5 * 2 * B_1 A_1 at the first layer.
    weight = layer.weight + 1.5 * layer.past_up @ layer.past_down + 1.0 * layer.up @ layer.down
    expected = inputs() @ weight.t() + layer.bias
    assert torch.allclose(layer(inputs()), expected, atol=1e-14)


def test_gradients_of_factors_and_learned_scales_match_finite_differences() -> None:
    model, bank = banked(past=2)
    factors = bank.parameters()
    past = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    current = torch.rand(2, dtype=torch.float64, requires_grad=True)
    x = inputs()

    def forward(past: Tensor, current: Tensor, *_: Tensor) -> Tensor:
        bank.scaling = lambda: (past, current)
        bank.refresh()
        return model(x)

    # The factors are leaves of the model; gradcheck perturbs them in place.
    assert len(factors) == 4 and all(factor.requires_grad for factor in factors)
    assert torch.autograd.gradcheck(forward, (past, current, *factors))


def test_past_factors_and_weights_get_no_gradient() -> None:
    model, bank = banked(past=2)
    bank.refresh()
    model(inputs()).square().sum().backward()
    assert all(factor.grad is not None and factor.grad.abs().sum() > 0 for factor in bank.parameters())
    for layer in bank.layers.values():
        assert layer.weight.grad is None and layer.past_down.grad is None and layer.past_up.grad is None
        assert not layer.past_down.requires_grad and not layer.weight.requires_grad


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("scaled", [False, True])
def test_folded_equals_stacked(scale: float, scaled: bool) -> None:
    model, bank = banked(past=3, scale=scale)
    scales = torch.rand(2, 3, dtype=torch.float64) if scaled else None
    bank.scaling = None if scales is None else lambda: (scales, None)
    stacked = run(model, bank, inputs())
    weights = [layer.weight.clone() for layer in bank.layers.values()]
    bank.fold(scales)
    folded = run(model, bank, inputs())
    assert (folded - stacked).abs().max() < 1e-12
    bank.unfold()
    assert torch.equal(run(model, bank, inputs()), stacked)
    assert all(torch.equal(w, layer.weight) for w, layer in zip(weights, bank.layers.values(), strict=True))


def test_sum_is_one_pair_that_equals_the_forward_pass() -> None:
    model, bank = banked(past=2, scale=0.5)
    scales = torch.tensor([[2.0, 3.0], [4.0, 5.0]], dtype=torch.float64)
    bank.scaling = lambda: (scales, torch.tensor([6.0, 7.0], dtype=torch.float64))
    expected = run(model, bank, inputs())
    merged = Two().double()
    merged.load_state_dict({n: v for n, v in tiny.bytes_of(model).items()})
    for name, (down, up) in bank.sum().items():
        assert down.shape[0] == up.shape[1] == 6  # three pairs of rank 2
        merged.get_submodule(name).weight.data += up @ down
    assert (merged(inputs()) - expected).abs().max() < 1e-12


def test_zero_up_leaves_the_frozen_output_exact() -> None:
    torch.manual_seed(0)
    model = Two()
    plain = model(inputs().float())
    bank = AdapterBank(model, ("query", "value"), 2)
    bank.add(0)
    assert torch.equal(run(model, bank, inputs().float()), plain)


def test_normalised_pairs_do_not_depend_on_the_sizes_of_their_factors() -> None:
    model, bank = banked(past=1, current=False)
    bank.scaling = lambda: (1 / bank.factor_norms(), None)
    before = run(model, bank, inputs())
    for layer in bank.layers.values():
        layer.past_down, layer.past_up = layer.past_down * 7.0, layer.past_up * 0.01
    assert torch.allclose(run(model, bank, inputs()), before, atol=1e-14)


def test_norms_equal_those_of_the_formed_product() -> None:
    _, bank = banked(past=2)
    for m, layer in enumerate(bank.layers.values()):
        for slot in range(2):
            down, up = bank.pair(layer, slot)
            assert torch.isclose(bank.product_norms()[m, slot], torch.linalg.norm(up @ down))
            assert torch.isclose(
                bank.factor_norms()[m, slot], torch.linalg.norm(up) * torch.linalg.norm(down)
            )


def test_dropout_is_drawn_while_training_and_never_while_predicting() -> None:
    model, bank = banked(past=1, dropout=0.5)
    torch.manual_seed(0)
    bank.refresh()
    assert not torch.equal(model(inputs()), model(inputs()))
    first = run(model, bank, inputs())
    assert torch.equal(run(model, bank, inputs()), first)
    plain, undropped = banked(past=1)
    assert torch.equal(first, run(plain, undropped, inputs()))


# --- against peft


def peft_model(pairs: list[dict[str, tuple[Tensor, Tensor]]]) -> Any:
    """Return the tiny BERT under peft with one adapter per given `{layer: (down, up)}`, all switched on."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, lora_alpha=2, target_modules=["query", "value"])
    wrapped = get_peft_model(tiny.backbone("encoder", torch.float64).module, config, adapter_name="0")
    for number, pair in enumerate(pairs):
        if number:
            wrapped.add_adapter(str(number), config)
        for name, (down, up) in pair.items():
            layer = wrapped.base_model.model.get_submodule(name)
            layer.lora_A[str(number)].weight.data = down.clone()
            layer.lora_B[str(number)].weight.data = up.clone()
    wrapped.base_model.set_adapter([str(number) for number in range(len(pairs))])
    return wrapped.eval()


@pytest.mark.parametrize("count", [1, 3])
def test_bank_equals_peft(count: int) -> None:
    loaded = tiny.backbone("encoder", torch.float64)
    bank = AdapterBank(loaded.module, ("query", "value"), 2)
    pairs = []
    for task in range(count):
        bank.freeze_current()
        bank.add(task)
        tiny.randomise(bank, task)
        pairs.append({name: (layer.down.data, layer.up.data) for name, layer in bank.layers.items()})
    # Token ids 7 and up are words.
    ids = torch.randint(7, 20, (3, 6), generator=torch.Generator().manual_seed(0))
    bank.refresh()
    with torch.no_grad():
        ours = loaded.module(input_ids=ids).last_hidden_state
        theirs = peft_model(pairs)(input_ids=ids).last_hidden_state
        plain = tiny.backbone("encoder", torch.float64).module(input_ids=ids).last_hidden_state
    assert (ours - theirs).abs().max() < 1e-12
    assert (ours - plain).abs().max() > 0.1


# --- roles


# The tiny models have 2 blocks. T5 has an encoder and a decoder, whose blocks attend to themselves and
# to the encoder. So it has 2 + 2 * 2 = 6 of each attention layer, and 2 + 2 = 4 feed-forward pairs.
COUNTS = {
    "vector": {"projection": 1},
    "image": {"query": 2, "key": 2, "value": 2, "output": 2, "up": 2, "down": 2},
    "encoder": {"query": 2, "key": 2, "value": 2, "output": 2, "up": 2, "down": 2},
    "seq2seq": {"query": 6, "key": 6, "value": 6, "output": 6, "up": 4, "down": 4},
    "causal": {"query": 2, "key": 2, "value": 2, "output": 2, "gate": 2, "up": 2, "down": 2},
}


@pytest.mark.parametrize("kind", tiny.KINDS)
def test_roles_find_every_layer_once(kind: str) -> None:
    module = tiny.backbone(kind).module
    for role, count in COUNTS[kind].items():
        assert len(resolve(module, (role,))) == count, role
    every = resolve(module, tuple(COUNTS[kind]))
    assert len(every) == sum(COUNTS[kind].values())
    heads = [n for n, m in module.named_modules() if isinstance(m, nn.Linear) and n not in every]
    assert heads in ([], ["lm_head"])


@pytest.mark.parametrize(
    ("name", "role"),
    [
        # BERT's attention output ends like its feed-forward output; the longer alias decides.
        ("encoder.layer.0.attention.output.dense", "output"),
        ("encoder.layer.0.output.dense", "down"),
        ("encoder.layer.0.intermediate.dense", "up"),
        ("decoder.block.0.layer.1.EncDecAttention.q", "query"),
        ("transformer.layer.3.attention.out_lin", "output"),
        ("faq", None),
        ("classifier", None),
    ],
)
def test_role_of_a_name(name: str, role: str | None) -> None:
    assert role_of(name) == role


def test_missing_role_names_what_exists() -> None:
    with pytest.raises(UserError, match=r"no linear layer for the target 'gate'; it has: .*query, up, value"):
        AdapterBank(tiny.backbone("encoder").module, ("gate",), 2)


def test_one_missing_role_among_several_is_not_passed_over() -> None:
    with pytest.raises(UserError, match="'gate'"):
        AdapterBank(tiny.backbone("encoder").module, ("query", "gate"), 2)


def test_unknown_role_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="query"):
        AdapterBank(Two(), ("qury",), 2)


def test_rank_larger_than_a_layer_names_the_layer() -> None:
    with pytest.raises(UserError, match=r"rank 4 exceeds the layer value of 4 x 3"):
        AdapterBank(Two(), ("query", "value"), 4)


# --- state


def test_state_restores_outputs_and_bookkeeping() -> None:
    model, bank = banked(past=2)
    again, restored = banked(past=0)
    restored.restore({name: value.clone() for name, value in bank.state().items()})
    assert torch.equal(run(again, restored, inputs()), run(model, bank, inputs()))
    assert (restored.slots, restored.ranks, restored.current) == ([0, 1], [2, 2], 2)
    assert tiny.same(restored.state(), bank.state())


@pytest.mark.parametrize("other", ["wider", "taller", "deeper"])
def test_state_of_another_backbone_is_refused(other: str) -> None:
    _, bank = banked(past=1)
    state = dict(bank.state())
    if other == "wider":
        state["query.past_down"] = torch.zeros(2, 6)
    elif other == "taller":
        state["query.past_up"] = torch.zeros(9, 2)
    else:
        state |= {"third.past_down": torch.zeros(2, 5), "third.past_up": torch.zeros(4, 2)}
    with pytest.raises(UserError, match="another backbone"):
        banked()[1].restore(state)


# --- any order of operations


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.integers(1, 3)), st.just(("freeze", 0)), st.just(("discard", 0))
        )
    )
)
def test_any_order_of_operations_keeps_weights_and_books(operations: list[tuple[str, int]]) -> None:
    torch.manual_seed(0)
    model = Two()
    before = tiny.bytes_of(model)
    bank = AdapterBank(model, ("query", "value"), 2)
    slots, ranks, current = [], [], None
    for task, (operation, rank) in enumerate(operations):
        if operation == "add":
            bank.add(task, rank)
            tiny.randomise(bank, task)
            current = (task, rank)
        elif operation == "freeze":
            bank.freeze_current()
            if current is not None:
                slots.append(current[0])
                ranks.append(current[1])
            current = None
        else:
            bank.discard_current()
            current = None
    held = len(slots) + (current is not None)
    assert (bank.slots, bank.ranks, bank.count()) == (slots, ranks, held)
    assert bank.current == (None if current is None else current[0])
    total = sum(ranks) + (0 if current is None else current[1])
    # A pair of rank r holds r (5 + 4) numbers at the first layer and r (4 + 3) at the second.
    assert bank.stored() == 16 * total
    for layer in bank.layers.values():
        assert isinstance(layer, AdaptedLinear)
        assert layer.past_down.shape == (sum(ranks), layer.base.in_features)
        assert layer.past_up.shape == (layer.base.out_features, sum(ranks))
        assert all(bank.pair(layer, k)[0].shape[0] == rank for k, rank in enumerate(ranks))
    assert torch.isfinite(run(model, bank, inputs().float())).all()
    assert tiny.same(tiny.bytes_of(model), before)
