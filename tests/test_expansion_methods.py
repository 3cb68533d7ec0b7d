"""Methods that add an adapter where a task asks for one: SEMA and MoCL-P."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from benchmark.models import small_models
from benchmark.running.driver import run
from benchmark.running.plan import plan
from benchmark.stream import Examples, Task
from methods.pieces.expanding_block import autoencoder
from tests import tiny

ROWS, INPUTS = 60, 48


def drawn(seed: int, shift: float) -> np.ndarray:
    """Return vectors `(ROWS, INPUTS)` in one plane, moved along one direction outside it."""
    source = np.random.RandomState(seed)
    vectors = np.zeros((ROWS, INPUTS), dtype=np.float32)
    vectors[:, :2] = source.randn(ROWS, 2)
    vectors[:, 5] = shift
    return vectors


def stream(*shifts: float) -> list[Task]:
    """Return a task of two classes for each shift."""
    made = []
    for t, shift in enumerate(shifts):
        labels = np.arange(ROWS) % 2
        splits = [
            Examples(drawn(10 * t + k, shift), labels, None, [f"{t} {k} {i}" for i in range(ROWS)])
            for k in (0, 1)
        ]
        made.append(Task(f"task {t}", splits[0], splits[1], classes=(f"{t} a", f"{t} b")))
    return made


def sema(tasks: list[Task], **chosen: Any) -> Any:
    """Return a method whose descriptors are small and quickly learned."""
    options = {"descriptor_width": 8, "descriptor_learning_rate": 0.05} | chosen
    return tiny.make_method("sema", "vector", stream=tasks, settings={"batch_size": 10}, **options)


# --- SEMA: the decision


@pytest.mark.parametrize(("shifts", "grown"), [((0, 0, 0), [1, 1, 1]), ((0, 3, 3), [1, 2, 2])])
def test_block_grows_where_inputs_shift_and_not_elsewhere(
    shifts: tuple[float, ...], grown: list[int]
) -> None:
    method = sema(stream(*shifts))
    adapters = []
    for t in range(3):
        tiny.learn(method, t)
        adapters.append(method.blocks[0].stack.count())
        assert method.report(t)["grown"] == ([""] if t == 0 or grown[t] > grown[t - 1] else [])
    assert adapters == grown
    counted = method.accounting()
    assert counted.adapters == counted.active == grown[-1]


@pytest.mark.parametrize(("threshold", "adapters"), [(0.0, 2), (1e6, 1)])
def test_threshold_decides(threshold: float, adapters: int) -> None:
    method = sema(stream(0, 3), threshold=threshold)
    for t in range(2):
        tiny.learn(method, t)
    assert method.blocks[0].stack.count() == adapters


def test_without_an_addition_the_head_alone_is_trained() -> None:
    method = sema(stream(0, 0))
    tiny.learn(method, 0)
    before = method.blocks[0].state()
    _, phases = tiny.begin(method, 1)
    [phase] = phases
    assert phase.name == "head"
    head = {id(parameter) for parameter in method.task_model.head_parameters()}
    assert {id(parameter) for group in phase.groups for parameter in group.parameters} == head
    tiny.learn(method, 1)
    assert tiny.same(before, method.blocks[0].state())


def test_surprise_by_hand() -> None:
    method = sema(stream(0))
    tiny.begin(method, 0)
    block = method.blocks[0]
    block.grow(0, INPUTS, 1)
    block.grow(0, INPUTS, 1)
    for descriptor in block.descriptors:
        for parameter in descriptor.parameters():
            parameter.data.zero_()
    block.tokens = torch.zeros(2, 1, INPUTS)
    block.tokens[0, 0, 0] = 12.0
    # Descriptors that answer 0 err by the mean square of a token: 144 / 48 = 3 and 0.
    assert block.reconstruction_errors(0).tolist() == [3.0, 0.0]
    # |3 - 1| / 0.5 = 4 and |0 - 1| / 0.5 = 2, mean 3; |3 - 2| / 0.1 = 10 and 20, mean 15. The least is 3.
    block.errors = torch.tensor([[1.0, 0.5], [2.0, 0.1]])
    assert block.surprise() == pytest.approx(3.0)
    # Errors that never varied say nothing.
    block.errors = torch.tensor([[1.0, 0.5], [2.0, 0.0]])
    assert block.surprise() == 0.0


def test_known_errors_are_of_the_rows_that_a_adapter_was_learned_on() -> None:
    method = sema(stream(0))
    tiny.learn(method, 0)
    block = method.blocks[0]
    method.look(tiny.whole(tiny.rows(method, 0)))
    errors = block.reconstruction_errors(0)
    assert torch.allclose(block.errors, torch.stack([errors.mean(), errors.std()])[None])
    assert len(errors) == ROWS and errors.std() > 0


def test_each_block_grows_once_a_task_in_order_and_learns_before_the_next_is_looked_at() -> None:
    method: Any = tiny.make_method("sema", "encoder", threshold=0.0, descriptor_width=4)
    tiny.learn(method, 0)
    rows, phases = tiny.begin(method, 1)
    counts = []
    names = []
    for phase in phases:
        names.append(phase.name)
        counts.append([block.stack.count() for block in method.blocks])
        tiny.train(method, phase, rows, (0, 1, phase.name), lambda share: None)
    first, second = (block.name for block in method.blocks)
    assert names == [f"{word} block {name}" for name in (first, second) for word in ("adapt", "describe")]
    assert counts == [[2, 1], [2, 1], [2, 2], [2, 2]]


# --- SEMA: the mixture


def mixed(method: Any) -> tuple[Any, Any]:
    """Return an encoder method's last block with three random adapters, and a batch of unequal lengths."""
    taken, _ = tiny.begin(method, 0)
    block = method.blocks[-1]
    for number in range(3):
        block.grow(number, small_models.HIDDEN, 4)
        tiny.randomise(block.stack, number)
    return block, tiny.whole(taken)


def test_adapters_are_mixed_by_a_softmax_over_the_mean_real_token() -> None:
    method: Any = tiny.make_method("sema", "encoder", torch.float64, expanding_blocks=1)
    block, batch = mixed(method)
    seen: dict[str, Any] = {}
    module = method.task_model.backbone.module.get_submodule(block.name)
    module.register_forward_pre_hook(lambda _, given: seen.update(x=given[0]))
    name, layer = next(iter(block.stack.layers.items()))
    layer.register_forward_hook(lambda _, given, out: seen.update(given=given[0], out=out))
    method.look(batch)
    mask = batch.inputs["attention_mask"].double()
    assert mask.min() == 0, "some token must be padding"
    mean = (seen["x"] * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    rows = torch.cat([block.past_router, block.router[None]]).double()
    weights = (mean @ rows[:, :-1].t() + rows[:, -1]).softmax(1)
    assert torch.allclose(block.shares.double(), weights)
    adapters = [block.stack.frozen_adapter(layer, slot) for slot in range(2)] + [
        (layer.current.lora_A, layer.current.lora_B)
    ]
    wanted = functional.linear(seen["given"], layer.weight, layer.bias)
    for number, (down, up) in enumerate(adapters):
        wanted = wanted + weights[:, number, None, None] * (seen["given"] @ down.t() @ up.t())
    assert torch.allclose(seen["out"], wanted)
    assert name.startswith(block.name)


def test_router_row_and_newest_adapter_get_gradients_and_nothing_older() -> None:
    method: Any = tiny.make_method("sema", "encoder", expanding_blocks=1)
    block, batch = mixed(method)
    method.loss(batch).backward()
    assert block.router.grad.abs().max() > 0
    assert all(parameter.grad.abs().max() > 0 for parameter in block.stack.parameters())
    assert all(weight.grad is None for network in block.descriptors for weight in network.parameters())


def test_blocks_before_the_expanding_ones_have_one_adapter_of_the_first_task() -> None:
    method: Any = tiny.make_method("sema", "encoder", expanding_blocks=1, threshold=0.0)
    for t in range(2):
        tiny.learn(method, t)
    assert [name.count("layer.0") for name in method.stack.layers] == [1, 1]
    assert method.stack.count() == 1 and method.blocks[0].stack.count() == 2
    assert not set(method.stack.layers) & set(method.blocks[0].stack.layers)


def test_more_expanding_blocks_than_there_are_means_all() -> None:
    method: Any = tiny.make_method("sema", "encoder", expanding_blocks=9)
    assert len(method.blocks) == small_models.BLOCKS and not method.stack.layers


def test_sema_counts_by_hand() -> None:
    method: Any = tiny.make_method("sema", "encoder", expanding_blocks=1, threshold=0.0, descriptor_width=4)
    for t in range(2):
        tiny.learn(method, t)
    counted = method.accounting()
    # Rank 2 on query and value of 32 x 32: 2 * 2 * 64 = 256 numbers an adapter and block. One in the first
    # block, two in the second with router rows of 33 and descriptors of (32 4 + 4) + (4 32 + 32) = 292.
    assert counted.resident == 3 * 256 + 2 * 33
    assert counted.stored == counted.resident + 2 * 292
    # Two numbers of float32 a descriptor; slot, rank, current and merged rank of the block's stack in int64.
    assert counted.auxiliary_bytes == 2 * 2 * 4 + 4 * 8


def test_autoencoder_returns_tokens_of_its_size() -> None:
    assert autoencoder(7, 3)(torch.zeros(2, 5, 7)).shape == (2, 5, 7)


def test_descriptor_is_linear_and_starts_without_biases() -> None:
    network, x, y = autoencoder(7, 3), torch.randn(7), torch.randn(7)
    # As the class AE of the official code: no activation stands between its two layers.
    assert torch.allclose(network(x) + network(y), network(x + y), atol=1e-6)
    assert torch.equal(network(torch.zeros(7)), torch.zeros(7))


def test_descriptor_sees_the_mean_token() -> None:
    method = sema(stream(0))
    tiny.begin(method, 0)
    block = method.blocks[0]
    block.grow(0, INPUTS, 1)
    for parameter in block.descriptors[0].parameters():
        parameter.data.zero_()
    block.tokens = torch.zeros(1, 2, INPUTS)
    block.tokens[0, 0, 0], block.tokens[0, 1, 0] = 12.0, -12.0
    # The tokens' mean is 0, which a descriptor that answers 0 gets right; each alone errs by 144 / 48 = 3.
    assert block.reconstruction_errors(0).tolist() == [0.0]
    block.mask = torch.tensor([[True, False]])  # padding has no part in the mean
    assert block.reconstruction_errors(0).tolist() == [3.0]


# --- MoCL-P


def mean_weight(method: Any, t: int) -> Tensor:
    """Return the mean weight of the newest adapter on a task's rows."""
    with torch.no_grad():
        return method.weights(method.queries(tiny.whole(tiny.rows(method, t))))[:, -1].mean()


@pytest.mark.parametrize(("threshold", "kept"), [(0.0, [1, 2, 3]), (1.0, [1, 1, 1])])
def test_adapters_of_little_weight_are_dropped_with_their_keys(threshold: float, kept: list[int]) -> None:
    method: Any = tiny.make_method("mocl-p", "encoder", torch.float64, threshold=threshold)
    for t, count in enumerate(kept):
        tiny.learn(method, t)
        assert method.stack.count() == len(method.keys()) == count
        assert (method.accounting().adapters, method.accounting().active) == (count, count)
        assert method.report(t)["kept"] == (t == 0 or threshold == 0)
    # An adapter of rank 2 at four layers of 32 x 32, and a key of 32.
    assert method.accounting().stored == kept[-1] * (4 * 2 * 64 + 32)


def test_decision_compares_the_mean_weight_on_the_task_s_rows() -> None:
    reference: Any = tiny.make_method("mocl-p", "encoder", torch.float64, threshold=0.0)
    for t in range(2):
        tiny.learn(reference, t)
    weight = float(mean_weight(reference, 1))
    assert reference.report(1)["weight"] == pytest.approx(weight)
    for threshold, count in ((weight - 1e-6, 2), (weight + 1e-6, 1)):
        method: Any = tiny.make_method("mocl-p", "encoder", torch.float64, threshold=threshold)
        for t in range(2):
            tiny.learn(method, t)
        assert method.stack.count() == count


def test_without_a_threshold_it_is_mocl() -> None:
    pruned: Any = tiny.make_method("mocl-p", "encoder", torch.float64, threshold=0.0)
    plain: Any = tiny.make_method("mocl", "encoder", torch.float64)
    for t in range(3):
        tiny.learn(pruned, t)
        tiny.learn(plain, t)
    assert tiny.same(pruned.state(), plain.state())


def test_old_adapters_and_keys_are_untouched_by_a_dropped_one() -> None:
    method: Any = tiny.make_method("mocl-p", "encoder", torch.float64, threshold=1.0)
    tiny.learn(method, 0)
    keys, factors = method.keys().detach().clone(), method.stack.snapshot()
    tiny.learn(method, 1)
    assert torch.equal(method.keys(), keys)
    layer = next(iter(method.stack.layers.values()))
    assert torch.equal(method.stack.frozen_adapter(layer, 0)[0], factors[0])
    # One adapter is left, so its weight is 1 for every input.
    assert torch.equal(mean_weight(method, 1), torch.ones((), dtype=torch.float64))


@pytest.mark.parametrize(
    ("method", "setting"),
    [("mocl-p", "threshold=1"), ("sema", "threshold=1000000")],
    ids=["dropped", "never added"],
)
def test_a_adapter_that_a_task_went_without_counts_as_saved(
    tmp_path: Path, method: str, setting: str
) -> None:
    """No adapter but the first stands: one of three is active, a reduction of 1 - 1/3."""
    small = ["stream.tasks=3", "stream.train_rows=24", "stream.test_rows=30", "epochs=1", setting]
    (done,) = run(plan(method, "toy", settings=small), tmp_path, None, 1, "cpu", False, lambda _: None)
    assert done.result is not None, done.error
    counts = done.result.parameters
    assert (counts.adapters, counts.active_adapters) == ([1, 2, 3], [1, 1, 1])
    assert counts.active_adapter_reduction == done.result.reduction == pytest.approx(2 / 3)
