"""Gradient accumulation and checkpointing: the plain step, in less memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmark.data.batches import Batch
from benchmark.errors import UserError
from benchmark.lora.stack import AdapterStack
from benchmark.method import Method
from benchmark.models.backbone import LoadedBackbone
from benchmark.models.checkpointing import checkpoint_blocks
from benchmark.models.precision import Autocast
from benchmark.models.text_task_model import TextTaskModel
from benchmark.registry import METHODS
from benchmark.running.accumulation import micro_batches, require_cheaper_steps
from benchmark.running.training import LossCheck
from tests import tiny


def gradients(method: Method, t: int, parts: int) -> list[torch.Tensor] | None:
    """Return the gradients of the first step of task t's first phase, on one batch in so many parts."""
    given, phases = tiny.begin(method, t)
    phase = next(iter(phases), None)
    if phase is None:
        return None
    if phase.before is not None:
        phase.before()
    for parameter in method.task_model.parameters():
        parameter.requires_grad_(False)
    trained = [parameter for group in phase.groups for parameter in group.parameters]
    for parameter in trained:
        parameter.requires_grad_(True)
        parameter.grad = None
    batch = given.batch([0, 5, 7, 11, 2], training=True)
    for loss_of in (phase.loss, *phase.further_losses):
        for part, share in micro_batches(batch, parts):
            torch.manual_seed(0)
            (loss_of(part) * share).backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in trained]


def of_second_task(key: str, kind: str, parts: int, **settings: Any) -> list[torch.Tensor] | None:
    """Return the gradients that a method begins its second task with; None where it trains nothing then."""
    method = tiny.make_method(key, kind, torch.float64, settings=settings | {"epochs": 1})
    if settings.get("gradient_checkpointing"):
        checkpoint_blocks(method.task_model.backbone)
    tiny.learn(method, 0)
    return gradients(method, 1, parts) if method.training_tasks(1) else None


@tiny.everywhere()
def test_parts_of_a_batch_give_the_batch_s_gradients_or_the_method_says_so(key: str, kind: str) -> None:
    """In float64, five rows at once and in parts of 2 and 3: within 1e-6 of the largest gradient.

    Rounding alone is some 1e-16; a T5 norms and attends in float32 whatever its weights are, some 1e-8.
    """
    whole, parts = (of_second_task(key, kind, count) for count in (1, 2))
    if whole is None or parts is None:
        pytest.skip("trains nothing in its second task")
    largest = max(gradient.abs().max() for gradient in whole)
    apart = max((a - b).abs().max() for a, b in zip(whole, parts, strict=True))
    assert apart <= 1e-6 * largest or METHODS.load(key).whole_batches


@tiny.everywhere()
def test_a_checkpointed_block_gives_the_plain_gradient_to_the_bit(key: str, kind: str) -> None:
    if kind == "vector":
        pytest.skip("a vector backbone has no blocks")
    if not METHODS.load(key).checkpoints:
        with pytest.raises(UserError, match=rf"gradient_checkpointing=true: the method '{key}'"):
            chosen = tiny.protocol(kind, gradient_checkpointing=True)
            require_cheaper_steps(key, METHODS.load(key), chosen)
        return
    plain = of_second_task(key, kind, 1)
    again = of_second_task(key, kind, 1, gradient_checkpointing=True)
    if plain is None or again is None:
        pytest.skip("trains nothing in its second task")
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


def large_model(name: str, width: int = 32) -> Any:
    """Return a tiny random model of a large preset's class: grouped keys, tied embeddings, as those have."""
    import transformers

    shape: dict[str, Any] = {
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 2 * width,
        "vocab_size": 50,
        "tie_word_embeddings": True,
        "initializer_range": 0.2,
        "pad_token_id": 0,
    }
    if name == "llama-3.2-1b":
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**shape))
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**shape, head_dim=width // 4))


def step_of(name: str, precision: str, parts: int = 1, checkpointed: bool = False) -> list[torch.Tensor]:
    """Return the adapters' gradients of one batch of four rows, with answers of unlike lengths."""
    torch.manual_seed(0)
    module = large_model(name).eval().requires_grad_(False)
    if precision == "bf16":
        reduced = Autocast("cpu")
        module.register_forward_pre_hook(reduced.enter)
        module.register_forward_hook(reduced.leave, always_call=True)
    backbone = LoadedBackbone("causal", module, 32, tiny.tokenizer("causal"))
    stack = AdapterStack(module, ("query", "value"), 4, 4.0)
    if checkpointed:
        checkpoint_blocks(backbone)
    stack.add(0)
    tiny.randomise(stack)
    ids = torch.arange(3, 43).view(4, 10)
    targets = ids.clone()
    for row, prompt in enumerate((6, 8, 5, 9)):
        targets[row, :prompt] = -100
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    batch = Batch(given, None, targets, [0, 1, 2, 3], left=True)
    model = TextTaskModel(backbone, [], tiny.protocol("causal"))
    for part, share in micro_batches(batch, parts):
        (model.loss(part) * share).backward()
    return [parameter.grad for parameter in stack.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("name", ["llama-3.2-1b", "qwen3-0.6b"])
@pytest.mark.parametrize(
    ("change", "bound"),
    [
        # Sums in another order: float32 has 24 significant bits, 2^-24 = 6e-8, times a few hundred sums.
        ({"parts": 3}, 1e-5),
        ({"checkpointed": True}, 0.0),
        ({"parts": 2, "checkpointed": True}, 1e-5),
        # bfloat16 has 8 significant bits: 2^-8 = 0.4 % a product, a few products deep.
        ({"precision": "bf16"}, 0.1),
        ({"precision": "bf16", "parts": 2, "checkpointed": True}, 0.1),
    ],
    ids=["accumulated", "checkpointed", "both", "bf16", "all-three"],
)
def test_a_large_model_s_step_is_the_plain_one(name: str, change: dict[str, Any], bound: float) -> None:
    """Within a share of the largest gradient of the plain float32 step."""
    plain = step_of(name, "float32")
    other = step_of(name, **{"precision": "float32"} | change)
    assert len(plain) == len(other) == 8, "A and B of query and value in two blocks"
    largest = max(float(gradient.abs().max()) for gradient in plain)
    apart = max(float((a - b).abs().max()) for a, b in zip(plain, other, strict=True))
    assert apart <= bound * largest
    assert all(gradient.dtype == torch.float32 for gradient in other)


def test_shares_are_counted_in_what_the_loss_is_a_mean_over() -> None:
    """Three answers of 1, 2 and 4 tokens in two parts, the first of one row: 1/7 and 6/7 of the loss."""
    targets = torch.full((3, 4), -100)
    for row, length in enumerate((1, 2, 4)):
        targets[row, :length] = 5
    batch = Batch({"input_ids": torch.arange(6).view(3, 2)}, None, targets, [7, 8, 9])
    (first, one), (second, other) = micro_batches(batch, 2)
    assert (float(one), float(other)) == (pytest.approx(1 / 7), pytest.approx(6 / 7))
    assert first.rows == [7] and second.rows == [8, 9]
    assert second.inputs["input_ids"].tolist() == [[2, 3], [4, 5]]
    # With a head the mean is over rows, and more parts than rows are rows.
    labelled = Batch({"x": torch.zeros(3, 1)}, torch.tensor([0, 1, 0]), None, [0, 1, 2])
    assert [share for _, share in micro_batches(labelled, 8)] == [pytest.approx(1 / 3)] * 3
    ((whole, all_of_it),) = micro_batches(labelled, 1)
    assert whole is labelled and all_of_it == 1.0


def test_a_method_that_draws_old_rows_a_batch_is_refused_in_parts() -> None:
    chosen = tiny.protocol("image", micro_batches=2)
    with pytest.raises(UserError, match=r"micro_batches=2: the method 'er-lora'.* the only valid value is 1"):
        require_cheaper_steps("er-lora", METHODS.load("er-lora"), chosen)
    require_cheaper_steps("er-lora", METHODS.load("er-lora"), tiny.protocol("image"))
    require_cheaper_steps("seq-lora", METHODS.load("seq-lora"), chosen)


def test_a_trained_task_is_the_same_in_parts() -> None:
    """Adam divides by a gradient's size, so rounding may grow: weights agree to 1e-5 after two epochs."""
    states = []
    for parts in (1, 4):
        method = tiny.make_method("seq-lora", "causal", torch.float64, settings={"micro_batches": parts})
        tiny.learn(method, 0)
        states.append(method.state())
    for name, value in states[0].items():
        assert torch.allclose(value, states[1][name], rtol=0, atol=1e-5), name
    assert any(not torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_checkpointed_block_keeps_less_and_is_counted_twice() -> None:
    """Two equal blocks are half of a pass each: on n rows forward n, again n, gradients 2 n: 4 n for 3 n."""
    kept, counts = [], []
    for checkpointed in (False, True):
        method = tiny.make_method("seq-lora", "image")
        backbone = method.task_model.backbone
        if checkpointed:
            checkpoint_blocks(backbone)
        rows, _ = tiny.begin(method, 0)
        for parameter in method.stack.parameters():  # type: ignore[attr-defined]
            parameter.requires_grad_(True)
        batch, saved = tiny.whole(rows), 0

        def count(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal saved
            saved += tensor.numel()
            return tensor

        before = backbone.passes.total
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = method.loss(batch)
        loss.backward()
        kept.append(saved)
        counts.append((backbone.passes.total - before) / len(batch))
    assert kept[1] < kept[0] / 3
    assert counts == [pytest.approx(3.0), pytest.approx(4.0)]


def test_a_backbone_without_blocks_cannot_be_checkpointed() -> None:
    with pytest.raises(UserError, match=r"gradient_checkpointing.*no list of blocks.*valid value is false"):
        checkpoint_blocks(tiny.backbone("vector"))


def test_blocks_below_the_adapted_ones_are_not_computed_again() -> None:
    method = tiny.make_method("seq-lora", "causal", settings={"blocks": "last:1"})
    backbone = method.task_model.backbone
    checkpoint_blocks(backbone)
    rows, _ = tiny.begin(method, 0)
    for parameter in method.stack.parameters():  # type: ignore[attr-defined]
        parameter.requires_grad_(True)
    batch = tiny.whole(rows, True)
    before = backbone.passes.total
    method.loss(batch).backward()
    # Below: forward 1/2. Above: forward 1/2, again 1/2, gradients 2/2.
    assert backbone.passes.total - before == pytest.approx(2.5 * len(batch))


@pytest.mark.parametrize(("device", "seen"), [("cpu", 3), ("cuda", 32)])
def test_a_gpu_is_asked_for_its_losses_now_and_then(device: str, seen: int) -> None:
    """The loss of the third step is no number: a CPU ends there, a GPU when 32 are looked at together."""
    method = tiny.make_method("seq-lora", "vector")
    _, phases = tiny.begin(method, 0)
    watch = LossCheck(next(iter(phases)), 50, torch.device(device))
    taken = 0
    with pytest.raises(UserError, match=r"the loss became nan at step 3 of 50 of phase 'adapt'"):
        for step in range(50):
            taken += 1
            watch.see(torch.tensor(float("nan") if step >= 2 else 1.0), step)
    assert taken == seen


def test_what_is_left_is_looked_at_when_an_epoch_ends() -> None:
    method = tiny.make_method("seq-lora", "vector")
    _, phases = tiny.begin(method, 0)
    watch = LossCheck(next(iter(phases)), 5, torch.device("cuda"))
    watch.see(torch.tensor(1.0), 0)
    watch.check()
    watch.see(torch.tensor(float("inf")), 1)
    with pytest.raises(UserError, match="became inf at step 2 of 5"):
        watch.check()
