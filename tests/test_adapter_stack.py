"""The adapter stack against finite differences, against peft, and under any order of operations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.lora.layer import LoraLinear
from benchmark.lora.stack import AdapterStack
from tests import tiny


class Two(nn.Module):
    """A query and a value layer one after the other, of unequal sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(5, 4)
        self.value = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.value(torch.tanh(self.query(x)))


def stacked(past: int = 0, rank: int = 2, current: bool = True, **options: Any) -> tuple[Two, AdapterStack]:
    """Return a float64 model with `past` random pairs and one under training."""
    torch.manual_seed(0)
    model = Two().double()
    stack = AdapterStack(model, ("query", "value"), rank, **options)
    for task in range(past + current):
        stack.freeze_current()
        stack.add(task)
        tiny.randomise(stack, task)
    if not current:
        stack.freeze_current()
    return model, stack


def run(model: nn.Module, stack: AdapterStack, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x)


def inputs(seed: int = 1) -> Tensor:
    return torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- arithmetic of the forward pass


def test_forward_is_the_sum_of_weight_and_scaled_pairs() -> None:
    model, stack = stacked(past=1, scaling=0.5)
    layer = model.query
    past = torch.tensor([[3.0], [1.0]], dtype=torch.float64)  # (layers, slots)
    current = torch.tensor([2.0, 1.0], dtype=torch.float64)  # (layers,)
    stack.learned_scales = lambda: (past, current)
    # W + 0.5 * 3 * B_0 A_0 + 0.5 * 2 * B_1 A_1 at the first layer.
    weight = (
        layer.weight
        + 1.5 * layer.frozen.lora_B @ layer.frozen.lora_A
        + 1.0 * layer.current.lora_B @ layer.current.lora_A
    )
    expected = inputs() @ weight.t() + layer.bias
    assert torch.allclose(layer(inputs()), expected, atol=1e-14)


def test_gradients_of_factors_and_learned_scales_match_finite_differences() -> None:
    model, stack = stacked(past=2)
    factors = stack.parameters()
    past = torch.rand(2, 2, dtype=torch.float64, requires_grad=True)
    current = torch.rand(2, dtype=torch.float64, requires_grad=True)
    x = inputs()

    def forward(past: Tensor, current: Tensor, *_: Tensor) -> Tensor:
        stack.learned_scales = lambda: (past, current)
        return model(x)

    # The factors are leaves of the model; gradcheck perturbs them in place.
    assert len(factors) == 4 and all(factor.requires_grad for factor in factors)
    assert torch.autograd.gradcheck(forward, (past, current, *factors))


def test_past_factors_and_weights_get_no_gradient() -> None:
    model, stack = stacked(past=2)
    model(inputs()).square().sum().backward()
    assert all(factor.grad is not None and factor.grad.abs().sum() > 0 for factor in stack.parameters())
    for layer in stack.layers.values():
        assert (
            layer.weight.grad is None
            and layer.frozen.lora_A.grad is None
            and layer.frozen.lora_B.grad is None
        )
        assert not layer.frozen.lora_A.requires_grad and not layer.weight.requires_grad


@pytest.mark.parametrize("scaling", [1.0, 0.25])
@pytest.mark.parametrize("scaled", [False, True])
def test_merged_equals_stacked(scaling: float, scaled: bool) -> None:
    model, stack = stacked(past=3, scaling=scaling)
    scales = torch.rand(2, 3, dtype=torch.float64) if scaled else None
    stack.learned_scales = None if scales is None else lambda: (scales, None)
    beside = run(model, stack, inputs())
    weights = [layer.weight.clone() for layer in stack.layers.values()]
    stack.merge_frozen()
    assert (run(model, stack, inputs()) - beside).abs().max() < 1e-12
    with stack.merged_for_prediction():
        assert (run(model, stack, inputs()) - beside).abs().max() < 1e-12
        for layer in stack.layers.values():
            layer.current.lora_B.data.mul_(2)  # not looked at while it is merged
        assert (run(model, stack, inputs()) - beside).abs().max() < 1e-12
    for layer in stack.layers.values():
        layer.current.lora_B.data.div_(2)
    assert (run(model, stack, inputs()) - beside).abs().max() < 1e-12
    stack.unmerge()
    assert torch.equal(run(model, stack, inputs()), beside)
    assert all(torch.equal(w, layer.weight) for w, layer in zip(weights, stack.layers.values(), strict=True))


def test_sum_is_one_pair_that_equals_the_forward_pass() -> None:
    model, stack = stacked(past=2, scaling=0.5)
    scales = torch.tensor([[2.0, 3.0], [4.0, 5.0]], dtype=torch.float64)
    stack.learned_scales = lambda: (scales, torch.tensor([6.0, 7.0], dtype=torch.float64))
    expected = run(model, stack, inputs())
    merged = Two().double()
    merged.load_state_dict({n: v for n, v in tiny.bytes_of(model).items()})
    for name, (down, up) in stack.sum().items():
        assert down.shape[0] == up.shape[1] == 6  # three pairs of rank 2
        merged.get_submodule(name).weight.data += up @ down
    assert (merged(inputs()) - expected).abs().max() < 1e-12


def test_merging_for_good_adds_alpha_over_r_times_the_product() -> None:
    model, stack = stacked(scaling=0.25)
    layer = model.query
    # alpha / r = 0.25: W + 0.25 B A, kept although the adapter is dropped.
    expected = layer.weight + 0.25 * layer.current.lora_B @ layer.current.lora_A
    assert torch.allclose(layer.delta("current"), expected - layer.weight, atol=1e-15)
    before = run(model, stack, inputs())
    stack.merge_current()
    assert torch.allclose(layer.merged_weight(), expected, atol=1e-15) and layer.current is None
    assert (run(model, stack, inputs()) - before).abs().max() < 1e-12
    assert stack.count() == 0 and stack.merged_rank == 2 and stack.sizes().stored == 5 * 4 + 4 * 3


def test_adapters_that_are_scaled_row_by_row_have_no_common_weight() -> None:
    model, stack = stacked(past=1)
    rows = torch.rand(6, 2, dtype=torch.float64)
    stack.learned_scales = lambda: (rows[:, :1].expand(2, -1, -1), rows[:, 1].expand(2, -1))
    before = run(model, stack, inputs())
    with pytest.raises(ValueError, match="row by row"), stack.merged_for_prediction():
        pass
    # Row i of the first layer: W x_i + s_i0 B_0 A_0 x_i + s_i1 B_1 A_1 x_i.
    layer, x = model.query, inputs()
    parts = [
        x @ a.t() @ b.t()
        for a, b in (stack.frozen_adapter(layer, 0), (layer.current.lora_A, layer.current.lora_B))
    ]
    expected = x @ layer.weight.t() + layer.bias + rows[:, :1] * parts[0] + rows[:, 1:] * parts[1]
    assert torch.allclose(layer(x), expected, atol=1e-14)
    assert torch.equal(run(model, stack, inputs()), before)


def test_frozen_adapters_can_be_left_out() -> None:
    model, stack = stacked(past=1)
    stack.leave_out_frozen()
    # Of the sum W + B_0 A_0 + B_1 A_1 the middle term is missing.
    layer = model.query
    weight = layer.weight + layer.current.lora_B @ layer.current.lora_A
    assert torch.allclose(layer(inputs()), inputs() @ weight.t() + layer.bias, atol=1e-14)


def test_an_adapter_under_training_is_not_lost_by_adding_another() -> None:
    _, stack = stacked()
    before = stack.snapshot()
    with pytest.raises(
        RuntimeError, match=r"adapter of task 0 would be lost .* for task 1: call freeze_current"
    ):
        stack.add(1)
    assert all(torch.equal(a, b) for a, b in zip(before, stack.parameters(), strict=True))


def test_layers_see_a_changed_scale_in_the_next_pass_though_nobody_says_that_one_begins() -> None:
    model, stack = stacked(past=1, current=False)
    scale = torch.ones(2, 1, dtype=torch.float64)
    asked: list[float] = []

    def scales() -> tuple[Tensor, None]:
        asked.append(float(scale[0, 0]))
        return scale, None

    stack.learned_scales = scales
    first = model.query(inputs())  # a part of the model alone, twice
    scale *= 3
    assert not torch.allclose(model.query(inputs()), first)
    model(inputs())
    scale *= 0
    plain = torch.nn.functional.linear(inputs(), model.query.weight, model.query.bias)
    expected = torch.nn.functional.linear(torch.tanh(plain), model.value.weight, model.value.bias)
    assert torch.equal(model(inputs()), expected)
    # Both layers of a pass share one computation: two passes of one layer, two of the whole model.
    assert asked == [1.0, 3.0, 3.0, 0.0]


def test_zero_lora_b_leaves_the_frozen_output_exact() -> None:
    torch.manual_seed(0)
    model = Two()
    plain = model(inputs().float())
    stack = AdapterStack(model, ("query", "value"), 2)
    stack.add(0)
    assert torch.equal(run(model, stack, inputs().float()), plain)


def test_normalised_pairs_do_not_depend_on_the_sizes_of_their_factors() -> None:
    model, stack = stacked(past=1, current=False)
    stack.learned_scales = lambda: (1 / stack.factor_norms(), None)
    before = run(model, stack, inputs())
    for layer in stack.layers.values():
        layer.frozen.lora_A, layer.frozen.lora_B = layer.frozen.lora_A * 7.0, layer.frozen.lora_B * 0.01
    assert torch.allclose(run(model, stack, inputs()), before, atol=1e-14)


def test_norms_equal_those_of_the_formed_product() -> None:
    _, stack = stacked(past=2)
    for m, layer in enumerate(stack.layers.values()):
        for slot in range(2):
            down, up = stack.frozen_adapter(layer, slot)
            assert torch.isclose(stack.product_norms()[m, slot], torch.linalg.norm(up @ down))
            assert torch.isclose(
                stack.factor_norms()[m, slot], torch.linalg.norm(up) * torch.linalg.norm(down)
            )


def test_dropout_is_drawn_while_training_and_never_while_predicting() -> None:
    model, stack = stacked(past=1, dropout=0.5)
    torch.manual_seed(0)
    assert not torch.equal(model(inputs()), model(inputs()))
    first = run(model, stack, inputs())
    assert torch.equal(run(model, stack, inputs()), first)
    plain, undropped = stacked(past=1)
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
def test_stack_equals_peft(count: int) -> None:
    loaded = tiny.backbone("encoder", torch.float64)
    stack = AdapterStack(loaded.module, ("query", "value"), 2)
    pairs = []
    for task in range(count):
        stack.freeze_current()
        stack.add(task)
        tiny.randomise(stack, task)
        pairs.append(
            {
                name: (layer.current.lora_A.data, layer.current.lora_B.data)
                for name, layer in stack.layers.items()
            }
        )
    # Token ids 7 and up are words.
    ids = torch.randint(7, 20, (3, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = loaded.module(input_ids=ids).last_hidden_state
        theirs = peft_model(pairs)(input_ids=ids).last_hidden_state
        plain = tiny.backbone("encoder", torch.float64).module(input_ids=ids).last_hidden_state
    assert (ours - theirs).abs().max() < 1e-12
    assert (ours - plain).abs().max() > 0.1


# --- state


def test_state_restores_outputs_and_bookkeeping() -> None:
    model, stack = stacked(past=2)
    again, restored = stacked(past=0)
    restored.restore({name: value.clone() for name, value in stack.state().items()})
    assert torch.equal(run(again, restored, inputs()), run(model, stack, inputs()))
    assert (restored.frozen_tasks, restored.frozen_ranks, restored.current_task) == ([0, 1], [2, 2], 2)
    assert tiny.same(restored.state(), stack.state())


@pytest.mark.parametrize("other", ["wider", "taller", "deeper"])
def test_state_of_another_backbone_is_refused(other: str) -> None:
    _, stack = stacked(past=1)
    state = dict(stack.state())
    if other == "wider":
        state["query.frozen.lora_A"] = torch.zeros(2, 6)
    elif other == "taller":
        state["query.frozen.lora_B"] = torch.zeros(9, 2)
    else:
        state |= {"third.frozen.lora_A": torch.zeros(2, 5), "third.frozen.lora_B": torch.zeros(4, 2)}
    with pytest.raises(UserError, match="another backbone"):
        stacked()[1].restore(state)


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
    stack = AdapterStack(model, ("query", "value"), 2)
    slots, ranks, current = [], [], None
    for task, (operation, rank) in enumerate(operations):
        if operation == "add" and current is not None:
            with pytest.raises(RuntimeError, match="freeze_current"):
                stack.add(task, rank)
        elif operation == "add":
            stack.add(task, rank)
            tiny.randomise(stack, task)
            current = (task, rank)
        elif operation == "freeze":
            stack.freeze_current()
            if current is not None:
                slots.append(current[0])
                ranks.append(current[1])
            current = None
        else:
            stack.discard_current()
            current = None
    held = len(slots) + (current is not None)
    assert (stack.frozen_tasks, stack.frozen_ranks, stack.count()) == (slots, ranks, held)
    assert stack.current_task == (None if current is None else current[0])
    total = sum(ranks) + (0 if current is None else current[1])
    # A pair of rank r holds r (5 + 4) numbers at the first layer and r (4 + 3) at the second.
    assert stack.sizes().stored == 16 * total
    for layer in stack.layers.values():
        assert isinstance(layer, LoraLinear)
        assert layer.frozen.lora_A.shape == (sum(ranks), layer.base.in_features)
        assert layer.frozen.lora_B.shape == (layer.base.out_features, sum(ranks))
        assert all(stack.frozen_adapter(layer, k)[0].shape[0] == rank for k, rank in enumerate(ranks))
    assert torch.isfinite(run(model, stack, inputs().float())).all()
    assert tiny.same(tiny.bytes_of(model), before)
