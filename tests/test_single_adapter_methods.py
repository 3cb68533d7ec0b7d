"""Methods with one adapter by design: EWC-LoRA, LwF-LoRA and SLAO."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from benchmark.data.batches import Rows
from benchmark.lora.inputs import in_order
from methods.pieces import distillation, fisher
from methods.slao import orthonormal
from tests import tiny
from tests.tiny import learned


def begun(key: str, t: int, kind: str = "encoder", **chosen: Any) -> tuple[Any, Rows]:
    """Return a float64 method that has begun task t, and its rows."""
    method = learned(key, t, kind, **chosen)
    return method, tiny.begin(method, t)[0]


def test_ewc_lora_s_head_learns_ten_times_as_fast_as_its_adapter() -> None:
    # lrate 0.0005 and fc_lrate 0.005 in three of the four released configurations.
    _, [phase] = tiny.begin(tiny.make_method("ewc-lora", "vector"), 0)
    adapter, head = phase.groups
    assert (adapter.learning_rate, head.learning_rate) == (5e-4, 5e-3)


# --- the information


def test_information_of_weights_is_the_squared_gradient_of_each_batch() -> None:
    method, rows = begun("ewc-lora", 0, "vector")
    tiny.randomise(method.stack)
    given = in_order(rows, 4, method.task_model.device)
    assert [len(batch) for batch in given] == [4, 4, 4]
    (found,) = fisher.of_weights(method.task_model.loss, method.stack, given).values()
    (layer,) = method.stack.layers.values()
    weight = layer.base.weight.detach().clone().requires_grad_(True)
    expected = torch.zeros_like(weight)
    for batch in given:
        layer.answer_with(weight)
        (gradient,) = torch.autograd.grad(method.task_model.loss(batch), [weight])
        expected += gradient.square() / 3
    assert expected.max() > 0 and torch.allclose(found, expected)


def test_information_of_factors_is_that_of_autograd() -> None:
    method, rows = begun("ewc-lora", 0, space="factors")
    tiny.randomise(method.stack)
    given = in_order(rows, 8, method.task_model.device)
    parameters = method.stack.parameters()
    found = fisher.of_parameters(method.task_model.loss, parameters, given)
    # 12 rows in batches of 8 and 4: weights 8/12 and 4/12.
    gradients = [torch.autograd.grad(method.task_model.loss(batch), parameters) for batch in given]
    for value, first, second in zip(found, *gradients, strict=True):
        assert torch.allclose(value, (8 * first.square() + 4 * second.square()) / 12)


# --- EWC-LoRA


def test_penalty_is_zero_where_a_task_begins_and_grows_with_the_square() -> None:
    method, rows = begun("ewc-lora", 1)
    batch = tiny.whole(rows)
    assert method.change() == 0, "the anchor is a change of zero"
    assert torch.equal(method.loss(batch), method.task_model.loss(batch))
    tiny.randomise(method.stack)
    once = method.change()
    for layer in method.stack.layers.values():
        layer.current.lora_B.data *= 3
    assert torch.isclose(method.change(), 9 * once)


def test_penalty_by_hand() -> None:
    method, rows = begun("ewc-lora", 1, "vector", penalty=6.0)
    (name,) = method.stack.layers
    layer = method.stack.layers[name]
    layer.current.lora_A.data.zero_()
    layer.current.lora_B.data.zero_()
    layer.current.lora_A.data[0, 5], layer.current.lora_B.data[3, 0] = 2.0, 0.5
    method.information[name] = torch.full_like(method.information[name], 7.0)
    # One entry of B A is 0.5 x 2 = 1; half of lambda times 7 x 1 is 21.
    batch = tiny.whole(rows)
    assert torch.isclose(method.loss(batch), method.task_model.loss(batch) + 21)


def test_merging_keeps_the_function_and_adding_factors_does_not() -> None:
    jumps = {}
    for variant in ("paper", "official"):
        method, rows = begun("ewc-lora", 1, variant=variant)
        tiny.randomise(method.stack)
        before = tiny.logits(method, 0)
        method.end_task(1, rows)
        tiny.begin(method, 2)
        jumps[variant] = (tiny.logits(method, 0)[:, : before.shape[1]] - before).abs().max().item()
    assert jumps["paper"] < 1e-10 < 1e-3 < jumps["official"]


def test_official_variant_adds_the_factors() -> None:
    method, rows = begun("ewc-lora", 1, variant="official")
    tiny.randomise(method.stack)
    parts = {
        name: (
            layer.frozen.lora_A + layer.current.lora_A.detach(),
            layer.frozen.lora_B + layer.current.lora_B.detach(),
        )
        for name, layer in method.stack.layers.items()
    }
    method.end_task(1, rows)
    summed = method.low_rank_sum()
    for name, (down, up) in parts.items():
        # Rank stays 2: (B_1 + B_2)(A_1 + A_2), with the crossed terms that the paper's sum lacks.
        assert torch.equal(summed[name][0], down) and torch.equal(summed[name][1], up)
    assert method.accounting().stored == 4 * 2 * (32 + 32)


def test_a_price_of_zero_is_no_price() -> None:
    method, rows = begun("ewc-lora", 1, penalty=0.0)
    tiny.randomise(method.stack)
    batch = tiny.whole(rows)
    assert torch.equal(method.loss(batch), method.task_model.loss(batch))


def test_penalty_counts_the_scale_of_the_adapter() -> None:
    changes = []
    for alpha in (2, 4):
        method: Any = tiny.make_method("ewc-lora", "vector", torch.float64, settings={"alpha": alpha})
        tiny.begin(method, 0)
        tiny.randomise(method.stack)
        layers = method.stack.layers.items()
        method.information = {name: torch.ones_like(layer.weight) for name, layer in layers}
        changes.append(method.change())
    # alpha / r is 1 and 2: the change of the weight is twice as large, its square four times.
    assert torch.isclose(changes[1], 4 * changes[0])


def test_one_adapter_of_constant_size_whatever_the_number_of_tasks() -> None:
    sizes = []
    for count in (1, 3):
        counted = learned("ewc-lora", count).accounting()
        sizes.append((counted.stored, counted.auxiliary_bytes, counted.adapters, counted.active))
    # 4 layers of 32 x 32: as many merged weights, and 8 bytes of information for each.
    assert sizes == [(4096, 4096 * 8, 1, 1)] * 2


def test_information_decays() -> None:
    once = learned("ewc-lora", 1, decay=0.0)
    first = {name: value.clone() for name, value in once.information.items()}
    forgetful, faithful = (learned("ewc-lora", 1, decay=decay) for decay in (0.0, 1.0))
    for method in (forgetful, faithful):
        assert tiny.same(method.information, first)
        tiny.learn(method, 1)
    for name, value in first.items():
        # The penalty is the same in both, so is what is learned: they differ by the first information alone.
        assert torch.allclose(faithful.information[name] - forgetful.information[name], value)


def test_high_price_holds_a_factor_where_it_was() -> None:
    moved = []
    for price in (0.0, 1e6):
        method, _ = begun("ewc-lora", 1, space="factors", penalty=price)
        before = method.stack.snapshot()
        tiny.learn(method, 1)
        after = method.stack.snapshot()
        moved.append(sum((a - b).square().sum() for a, b in zip(after, before, strict=True)).item())
    assert moved[1] < 0.5 * moved[0]


# --- LwF-LoRA


def test_divergence_by_hand() -> None:
    # softmax of (ln 3, 0) is (3/4, 1/4), of (0, 0) (1/2, 1/2); T = 1.
    # KL = 3/4 ln(3/2) + 1/4 ln(1/2) = 0.13081.
    teacher, student = torch.tensor([[3.0, 1.0]]).log(), torch.zeros(1, 2)
    assert distillation.divergence(teacher, student, 1.0).item() == pytest.approx(0.13081, abs=1e-5)
    # At T = 2 of logits twice as large the distributions are the same, and the factor is 4.
    assert distillation.divergence(2 * teacher, student, 2.0).item() == pytest.approx(4 * 0.13081, abs=1e-4)
    assert distillation.divergence(teacher, teacher, 3.0).abs() < 1e-7


@pytest.mark.parametrize("kind", ["encoder", "seq2seq", "causal"])
def test_distillation_is_zero_until_the_adapter_moves(kind: str) -> None:
    method, rows = begun("lwf-lora", 0, kind)
    batch = tiny.whole(rows, training=True)
    assert not method.teacher and torch.equal(method.loss(batch), method.task_model.loss(batch))
    method, rows = begun("lwf-lora", 1, kind)
    batch = tiny.whole(rows, training=True)
    # Llama's own loss is in float32 whatever the model's format.
    assert method.loss(batch).item() == pytest.approx(method.task_model.loss(batch).item(), rel=1e-6)
    for parameter in method.stack.parameters():
        parameter.data += 0.1
    assert method.loss(batch) > method.task_model.loss(batch) + 1e-4


def test_distillation_is_over_old_classes_and_teaches_the_adapter() -> None:
    method, rows = begun("lwf-lora", 1)
    batch = tiny.whole(rows)
    with torch.no_grad():
        old = method.task_model.logits(batch)[:, :2]
    tiny.randomise(method.stack)
    logits = method.task_model.logits(batch)
    kl = functional.kl_div((logits[:, :2] / 2).log_softmax(1), (old / 2).softmax(1), reduction="batchmean")
    assert torch.isclose(method.loss(batch), method.task_model.loss(batch) + 4 * kl)
    assert all(not factor.requires_grad for factor in method.teacher)


@pytest.mark.parametrize("loss", ["local", "full"])
def test_teacher_keeps_the_head_it_had(loss: str) -> None:
    method: Any = tiny.make_method("lwf-lora", "encoder", torch.float64, settings={"loss": loss})
    tiny.learn(method, 0)
    batch = tiny.whole(tiny.begin(method, 1)[0])
    assert method.loss(batch).item() == pytest.approx(method.task_model.loss(batch).item(), abs=1e-9)
    with torch.no_grad():
        old = method.task_model.logits(batch)[:, :2]
    # As if steps had moved the old rows, which a loss over all classes trains.
    method.task_model.head.weights[0].data[0] *= 2
    logits = method.task_model.logits(batch)
    kl = functional.kl_div((logits[:, :2] / 2).log_softmax(1), (old / 2).softmax(1), reduction="batchmean")
    assert kl > 1e-4
    assert torch.isclose(method.loss(batch), method.task_model.loss(batch) + 4 * kl)


def test_teacher_is_neither_trained_nor_left_in_place() -> None:
    method, rows = begun("lwf-lora", 1)
    tiny.randomise(method.stack)
    parameters, teacher = method.stack.parameters(), [factor.clone() for factor in method.teacher]
    for parameter in parameters:
        parameter.requires_grad_(True)
    method.loss(tiny.whole(rows)).backward()
    assert all(a is b for a, b in zip(parameters, method.stack.parameters(), strict=True))
    assert all(parameter.grad is not None for parameter in parameters)
    assert all(torch.equal(a, b) for a, b in zip(teacher, method.teacher, strict=True))
    method.end_task(1, rows)
    assert not method.teacher and not method.teacher_head


# --- SLAO


def test_merged_adapter_alone_answers() -> None:
    method = learned("slao", 3)
    summed = method.low_rank_sum()
    for number, (name, layer) in enumerate(method.stack.layers.items()):
        last_down, last_up = method.last[2 * number : 2 * number + 2]
        assert torch.equal(summed[name][0], last_down) and torch.equal(summed[name][1], layer.current.lora_B)
        assert not torch.equal(layer.current.lora_B, last_up), "after the first task the merged B lags behind"


def test_start_spans_the_last_directions_with_orthonormal_rows() -> None:
    method, _ = begun("slao", 1)
    for number, layer in enumerate(method.stack.layers.values()):
        last_down, last_up = method.last[2 * number : 2 * number + 2]
        assert torch.allclose(layer.current.lora_A @ layer.current.lora_A.t(), torch.eye(2).double())
        projected = last_down @ layer.current.lora_A.t() @ layer.current.lora_A
        assert torch.allclose(projected, last_down)
        assert torch.equal(layer.current.lora_B, last_up)
    # Signs: a row that is already a basis vector stays what it is.
    assert torch.equal(orthonormal(torch.tensor([[0.0, 2.0, 0.0]])), torch.tensor([[0.0, 1.0, 0.0]]))


def test_merging_by_hand() -> None:
    method, rows = begun("slao", 1, "vector")
    (layer,) = method.stack.layers.values()
    merged_up = method.merged[1].clone()
    layer.current.lora_A.data.fill_(0.25)
    layer.current.lora_B.data.copy_(merged_up + 1)
    method.end_task(1, rows)
    # Second task: B moves by 1 / sqrt 2, A is the newest.
    assert torch.allclose(layer.current.lora_B, merged_up + 2**-0.5)
    assert (layer.current.lora_A == 0.25).all()
    assert torch.equal(method.last[1], merged_up + 1)
    assert method.accounting().active == method.accounting().adapters == 1
    assert method.accounting().stored == 2 * 2 * (48 + 16)


# --- with other settings than the defaults, which tests/test_conformance.py has


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("ewc-lora", {"variant": "official"}),
    ("ewc-lora", {"space": "factors"}),
    ("er-lora", {"buffer": "class-balanced", "buffer_size": 3}),
]
variants = pytest.mark.parametrize(("key", "chosen"), VARIANTS)


@variants
@pytest.mark.parametrize(("count", "classes", "size"), [(1, 2, 4), (3, 1, 4), (3, 1, 1)])
def test_streams_of_one_task_one_class_or_one_sample(
    key: str, chosen: dict[str, Any], count: int, classes: int, size: int
) -> None:
    stream = tiny.tasks("encoder", count, classes, size)
    method = tiny.make_method(key, "encoder", stream=stream, settings={"epochs": 1}, **chosen)
    for t in range(count):
        tiny.learn(method, t)
    assert tiny.logits(method, 0).shape == (classes * size, count * classes)
    assert all(x.isfinite().all() for x in method.state().values() if x.is_floating_point())


@variants
@pytest.mark.parametrize("kind", ["image", "seq2seq", "causal"])
def test_three_tasks_in_bfloat16(key: str, chosen: dict[str, Any], kind: str) -> None:
    stream = tiny.tasks(kind, 3, rows=2)
    settings = {"epochs": 1, "batch_size": 16}
    method = tiny.make_method(key, kind, torch.bfloat16, stream, settings, **chosen)
    for t in range(3):
        tiny.learn(method, t)  # raises where a loss is not finite
    assert all(x.isfinite().all() for x in method.state().values() if x.is_floating_point())


@variants
def test_backbone_is_untouched(key: str, chosen: dict[str, Any]) -> None:
    method = learned(key, 3, **chosen)
    plain = tiny.bytes_of(tiny.backbone("encoder", torch.float64).module)
    assert tiny.same(tiny.bytes_of(method.task_model.backbone.module), plain)
