"""SD-LoRA's arithmetic, in float64 where it is compared with numbers worked out another way."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.method import Method
from tests import tiny

VARIANTS = ("official", "paper")


def sd_lora(kind: str = "encoder", dtype: torch.dtype = torch.float64, **options: Any) -> Method:
    return tiny.make_method("sd-lora", kind, dtype, **options)


def at_task(t: int, kind: str = "encoder", **options: Any) -> tuple[Method, Any]:
    """Return a method that has begun task t with random adapters behind it, and the task's rows."""
    method = sd_lora(kind, **options)
    for task in range(t + 1):
        taken, _ = tiny.begin(method, task)
        method.magnitudes = nn.Parameter(method.magnitudes.data.double())
        tiny.randomise(method.stack, task)
    return method, taken


def directions(method: Method) -> list[tuple[str, Tensor, Tensor]]:
    """Return (layer and slot, B_k A_k as a dense matrix, |B_k|_F |A_k|_F) of every past adapter."""
    found = []
    for name, layer in method.stack.layers.items():
        for slot in range(len(method.stack.frozen_tasks)):
            down, up = method.stack.frozen_adapter(layer, slot)
            found.append((f"{name}/{slot}", up @ down, torch.linalg.norm(up) * torch.linalg.norm(down)))
    return found


# --- item 1: the first task


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["vector", "image", "encoder"])
def test_task_0_starts_at_the_pretrained_features(kind: str, variant: str) -> None:
    method = sd_lora(kind, torch.float32, variant=variant)
    taken, _ = tiny.begin(method, 0)
    inputs = tiny.whole(taken).inputs
    plain = tiny.backbone(kind)
    with torch.no_grad():
        assert torch.equal(method.task_model.backbone.features(inputs), plain.features(inputs))


def test_task_0_is_plain_lora_with_scale_0_8() -> None:
    method, taken = at_task(0)
    plain = tiny.make_method("inc-lora", "encoder", torch.float64, settings={"alpha": 0.8 * 2})
    tiny.begin(plain, 0)
    tiny.randomise(plain.stack, 0)
    for ours, theirs in zip(
        method.task_model.head.parameters(), plain.task_model.head.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)
    batch = tiny.whole(taken)
    # alpha / r = 1.6 / 2 = 0.8; the stored magnitude is the float32 nearest to 0.8.
    assert torch.allclose(method.loss(batch), plain.loss(batch), atol=1e-6)


# --- item 2: directions


@pytest.mark.parametrize("variant", VARIANTS)
def test_stored_directions_are_scale_free(variant: str) -> None:
    method, _ = at_task(2, variant=variant)
    before = tiny.logits(method, 0)
    for layer in method.stack.layers.values():
        layer.frozen.lora_A, layer.frozen.lora_B = layer.frozen.lora_A * 30.0, layer.frozen.lora_B * 0.2
    method._measure_past()
    assert torch.allclose(tiny.logits(method, 0), before, atol=1e-6)


def test_official_directions_have_length_at_most_1() -> None:
    method, _ = at_task(2)
    for name, product, factors in directions(method):
        assert 0 < torch.linalg.norm(product) / factors <= 1, name


def test_official_direction_of_rank_10_has_length_near_one_over_root_10() -> None:
    # E|B A|_F^2 = r d_out d_in and (|B|_F |A|_F)^2 is near (r d_out) (r d_in), so the ratio is near 1 / r.
    method, _ = at_task(1, settings={"rank": 10})
    lengths = torch.stack(
        [torch.linalg.norm(product) / factors for _, product, factors in directions(method)]
    )
    assert abs(lengths.mean() - 10**-0.5) < 0.03
    rank_one, _ = at_task(1, settings={"rank": 1})
    for name, product, factors in directions(rank_one):
        assert torch.isclose(torch.linalg.norm(product), factors), name


@pytest.mark.parametrize("variant", VARIANTS)
def test_past_scale_divides_by_the_variant_s_norm(variant: str) -> None:
    method, _ = at_task(1, variant=variant)
    method.magnitudes = nn.Parameter(torch.tensor([2.0, 3.0], dtype=torch.float64))
    past, current = method.scales()
    wanted = [
        factors if variant == "official" else torch.linalg.norm(p) for _, p, factors in directions(method)
    ]
    assert torch.allclose(past[:, 0], 2 / torch.stack(wanted), rtol=1e-6)
    if variant == "official":
        assert torch.equal(current, torch.full_like(current, 3.0))
    else:
        lengths = [
            torch.linalg.norm(a.current.lora_B @ a.current.lora_A) for a in method.stack.layers.values()
        ]
        assert torch.allclose(current, 3 / torch.stack(lengths), rtol=1e-6)


# --- item 3: gradients


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_of_a_magnitude_sums_the_layers_inner_products(variant: str) -> None:
    method, taken = at_task(2, variant=variant)
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    for name, layer in method.stack.layers.items():

        def keep(_: nn.Module, given: tuple[Tensor], out: Tensor, name: str = name) -> None:
            out.retain_grad()
            seen[name] = (given[0].detach(), out)

        layer.register_forward_hook(keep)
    method.loss(tiny.whole(taken)).backward()
    for slot in range(2):
        expected = torch.zeros((), dtype=torch.float64)
        for m, (name, layer) in enumerate(method.stack.layers.items()):
            down, up = method.stack.frozen_adapter(layer, slot)
            x, out = seen[name]
            # dL/dp_k = sum over layers of <dL/dq, D_k x>, D_k = B_k A_k / norm.
            expected += (out.grad * (x @ down.t() @ up.t())).sum() / method.norms[m, slot]
        assert torch.isclose(method.magnitudes.grad[slot], expected, rtol=1e-6)
        assert expected.abs() > 1e-6


def test_only_adapter_magnitudes_and_new_head_rows_get_gradients() -> None:
    method, taken = at_task(2)
    method.loss(tiny.whole(taken)).backward()
    phase = method.phases(2)[0]
    trained = {id(parameter) for group in phase.groups for parameter in group.parameters}
    named = [
        *method.task_model.backbone.module.named_parameters(),
        *method.task_model.head.named_parameters(prefix="head"),
        ("magnitudes", method.magnitudes),
    ]
    with_gradient = {name for name, parameter in named if parameter.grad is not None}
    assert with_gradient == {name for name, parameter in named if id(parameter) in trained}
    # 2 blocks x (query, value) x (down, up) = 8, the magnitudes, weight and bias of the third task's rows.
    assert len(trained) == 8 + 1 + 2
    assert {name for name in with_gradient if name.startswith("head")} == {"head.weights.2", "head.biases.2"}
    for layer in method.stack.layers.values():
        assert (
            layer.frozen.lora_A.grad is None
            and layer.frozen.lora_B.grad is None
            and layer.weight.grad is None
        )


# --- item 4: old head rows


@pytest.mark.parametrize(("variant", "decay"), [("official", 0.0), ("paper", 0.0), ("official", 0.1)])
def test_old_head_rows_stay_bit_identical(variant: str, decay: float) -> None:
    method = sd_lora("vector", torch.float32, variant=variant, weight_decay=decay)
    tiny.learn(method, 0)
    before = {name: value.clone() for name, value in method.task_model.state().items()}
    tiny.learn(method, 1)
    after = method.task_model.state()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert len(after) == 2 * len(before)


# --- item 5: scalars per model


@pytest.mark.parametrize("kind", ["vector", "encoder"])
def test_one_magnitude_a_task_for_the_whole_model(kind: str) -> None:
    method, _ = at_task(2, kind)
    assert method.magnitudes.shape == (3,)
    layers = {"vector": 1, "encoder": 4}[kind]
    # Three adapters of rank 2 at each layer: 2 (48 + 16) numbers on vectors, 2 (32 + 32) in the encoder.
    assert method.accounting().stored == 3 * layers * 2 * 64 + 3
    # `at_task` begins in float64, where 0.8 reads back as it was written.
    assert method.report(2) == {"magnitudes": {"0": 0.8, "1": 0.8, "2": 0.8}}


# --- item 6: the switch to the next task


def test_official_variant_jumps_at_a_new_task() -> None:
    method, _ = at_task(0)
    method.magnitudes.data.fill_(1.7)
    before = tiny.logits(method, 0)
    old = before.shape[1]
    tiny.begin(method, 1)
    assert method.magnitudes.tolist() == [0.8, 0.8]
    assert (tiny.logits(method, 0)[:, :old] - before).abs().max() > 1e-2


def test_paper_variant_is_continuous_at_a_new_task() -> None:
    method, _ = at_task(1, variant="paper")
    method.magnitudes.data.copy_(torch.tensor([0.6, 1.7]))
    before = tiny.logits(method, 0)
    tiny.begin(method, 2)
    assert torch.allclose(method.magnitudes, torch.tensor([0.6, 1.7, 1.0], dtype=torch.float64))
    assert (tiny.logits(method, 0)[:, : before.shape[1]] - before).abs().max() < 1e-5


# --- item 7: a task of zero steps


@pytest.mark.parametrize("variant", VARIANTS)
def test_task_without_steps_gives_no_nan(variant: str) -> None:
    method = sd_lora(dtype=torch.float32, variant=variant)
    tiny.begin(method, 0)  # and no step: up stays zero
    taken, _ = tiny.begin(method, 1)
    assert torch.isfinite(tiny.logits(method, 0)).all()
    method.loss(tiny.whole(taken)).backward()
    assert all(torch.isfinite(p.grad).all() for p in [*method.stack.parameters(), method.magnitudes])
    assert torch.isfinite(
        torch.cat([group.flatten() for adapter in method.stack.sum().values() for group in adapter])
    ).all()


# --- item 10: the loss looks at the new classes alone


def test_loss_ignores_a_constant_on_old_logits() -> None:
    method, taken = at_task(1)
    batch = tiny.whole(taken)
    before = method.loss(batch)
    method.task_model.head.biases[0].data += 50.0
    assert torch.equal(method.loss(batch), before)
    method.task_model.head.biases[1].data[0] += 50.0
    assert not torch.equal(method.loss(batch), before)
    logits = method.task_model.logits(batch)
    # Columns 0 and 1 belong to the first task, 2 and 3 to this one.
    assert torch.isclose(method.loss(batch), functional.cross_entropy(logits[:, 2:], batch.labels - 2))


# --- settings


@pytest.mark.parametrize(
    ("variant", "asked", "optimizer", "momentum"),
    [("official", None, "sgd", 0.9), ("paper", None, "adam", 0.0), ("official", "adamw", "adamw", 0.0)],
)
def test_optimiser_is_the_variant_s_unless_asked_for(
    variant: str, asked: str | None, optimizer: str, momentum: float
) -> None:
    method = sd_lora("vector", variant=variant, optimizer=asked)
    _, [phase] = tiny.begin(method, 0)
    assert (phase.optimizer, phase.momentum) == (optimizer, momentum)


@pytest.mark.parametrize("variant", VARIANTS)
def test_restored_method_answers_the_same(variant: str) -> None:
    settings = {"epochs": 1, "batch_size": 12}
    method, again = (sd_lora(dtype=torch.float32, settings=settings, variant=variant) for _ in range(2))
    for t in range(2):
        tiny.learn(method, t)
    again.restore(method.state())
    assert again.stack.tasks() == [0, 1]
    assert (tiny.logits(again, 1) - tiny.logits(method, 1)).abs().max() < 1e-5
    for either in (method, again):
        tiny.learn(either, 2)
    assert tiny.same(method.state(), again.state())
