"""LiteLoRA's gate: its noise, its gradient, its price, and what pruning leaves behind."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark.method import Method, Phase
from benchmark.running.training import rate_factor, train
from benchmark.stream import Request
from tasks import toy
from tests import tiny

QUIET = {"epochs": 1, "batch_size": 12}


def lite(kind: str = "vector", dtype: torch.dtype = torch.float32, **options: Any) -> Method:
    return tiny.make_method("litelora", kind, dtype, **options)


def selection(kind: str = "vector", **options: Any) -> tuple[Method, Any, Phase]:
    """Return a method whose second task's adapter is trained and whose gate is about to be."""
    method = lite(kind, settings=QUIET, **options)
    tiny.learn(method, 0)
    taken, (magnitude, chosen) = tiny.begin(method, 1)
    train(method, magnitude, taken, (0,), lambda share: None)
    return method, taken, chosen


def decide(method: Method, t: int, logit: float) -> None:
    """Learn task t up to its decision, and let the given logit decide."""
    taken, [first, *_] = tiny.begin(method, t)
    train(method, first, taken, (0, t), lambda share: None)
    method.gate.logit.data.fill_(logit)
    method.end_task(t, taken)


# --- the gate


@pytest.mark.parametrize("logit", [-1.0, 0.0, 0.5, 2.0])
def test_noisy_gate_is_open_as_often_as_a_gumbel_exceeds_minus_l(logit: float) -> None:
    # P(l + g > 0) = P(g > -l) = 1 - exp(-exp(l)) for g ~ Gumbel(0, 1), whose distribution is exp(-exp(-x)).
    method, _, _ = selection()
    method.gate.logit.data.fill_(logit)
    opened = []

    def watched(batch: Any) -> Tensor:
        opened.append(method.gate.open().detach().clone())
        return torch.zeros(())

    method.task_model.loss = watched
    torch.manual_seed(0)
    for _ in range(4000):
        method.selection_loss(None)
    share = torch.cat(opened).mean().item()
    expected = 1 - math.exp(-math.exp(logit))
    # Four standard errors of a share of 4000 draws.
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / 4000)
    assert method.gate.noise is None


def test_every_layer_and_step_draws_its_own_noise() -> None:
    method, taken, _ = selection("encoder")
    drawn = []
    original = method.task_model.loss

    def watched(batch: Any) -> Tensor:
        drawn.append(method.gate.noise)
        return original(batch)

    method.task_model.loss = watched
    for _ in range(2):
        method.selection_loss(tiny.whole(taken))
    # 2 blocks x (query, value) = 4 layers.
    assert torch.stack(drawn).shape == (2, 4)
    assert len(torch.unique(torch.stack(drawn))) == 8


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_gradient_of_the_gate_is_the_sigmoid_s(temperature: float) -> None:
    method, _, _ = selection("encoder", temperature=temperature)
    method.gate.logit = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    method.gate.noise = torch.tensor([-2.0, -0.6, 0.0, 1.5], dtype=torch.float64)
    weights = torch.tensor([3.0, -1.0, 2.0, 5.0], dtype=torch.float64)
    gates = method.gate.open()
    # 0.5 + noise = -1.5, -0.1, 0.5, 2.0: the first two are closed, exactly.
    assert gates.tolist() == [0.0, 0.0, 1.0, 1.0]
    (weights * gates).sum().backward()
    expected = 0.0
    for weight, z in zip(weights.tolist(), [-1.5, -0.1, 0.5, 2.0], strict=True):
        s = 1 / (1 + math.exp(-z / temperature))
        expected += weight * s * (1 - s) / temperature
    assert math.isclose(method.gate.logit.grad.item(), expected, rel_tol=1e-12)


def test_price_is_the_mean_of_open_gates_and_has_no_slope_in_closed_layers() -> None:
    method, _, _ = selection("encoder", sparsity=0.3)
    method.gate.logit = nn.Parameter(torch.tensor(0.5, dtype=torch.float64))
    method.task_model.loss = lambda batch: torch.zeros((), dtype=torch.float64)
    torch.manual_seed(3)
    uniform = torch.rand(4)
    noise = -torch.log(-torch.log(uniform))
    z = [0.5 + value for value in noise.tolist()]
    assert min(z) < 0 < max(z)  # this seed closes some layers and opens others
    torch.manual_seed(3)
    loss = method.selection_loss(None)
    assert math.isclose(loss.item(), 0.3 * sum(value > 0 for value in z) / 4, rel_tol=1e-12)
    loss.backward()
    slope = [s * (1 - s) if value > 0 else 0.0 for value in z for s in [1 / (1 + math.exp(-value))]]
    assert math.isclose(method.gate.logit.grad.item(), 0.3 * sum(slope) / 4, rel_tol=1e-5)


# --- the two phases


def test_selection_changes_the_current_logit_and_nothing_else() -> None:
    method, taken, phase = selection("encoder")
    assert [group.parameters for group in phase.groups] == [[method.gate.logit]]
    assert (phase.optimizer, phase.groups[0].learning_rate, phase.groups[0].weight_decay) == (
        "adamw",
        0.05,
        2e-4,
    )
    before = {name: value.clone() for name, value in method.state().items()}
    weights = tiny.bytes_of(method.task_model.backbone.module)
    logit = method.gate.logit.item()
    steps = train(method, phase, taken, (0, 1, "selection"), lambda share: None)
    assert steps == 1  # 12 rows in batches of 16, one epoch
    assert method.gate.logit.item() != logit
    assert tiny.same(method.state(), before)
    assert tiny.same(tiny.bytes_of(method.task_model.backbone.module), weights)


def test_first_task_trains_no_magnitude_and_no_gate() -> None:
    method = lite()
    _, phases = tiny.begin(method, 0)
    [phase] = phases
    trained = {id(p) for group in phase.groups for p in group.parameters}
    assert id(method.base.magnitudes) not in trained and id(method.gate.logit) not in trained
    method = lite()
    tiny.learn(method, 0)
    assert method.base.magnitudes.tolist() == [1.0]
    assert method.gate.logits.tolist() == [0.5] and method.gate.kept.tolist() == [1]


def test_magnitudes_of_kept_adapters_are_trained_at_their_own_rate() -> None:
    method = lite(settings=QUIET)
    tiny.learn(method, 0)
    taken, [magnitude, _] = tiny.begin(method, 1)
    adapter, magnitudes, head = magnitude.groups
    assert magnitudes.parameters == [method.base.magnitudes]
    assert (magnitudes.learning_rate, magnitudes.weight_decay) == (8e-3, 2e-4)
    assert (adapter.learning_rate, adapter.weight_decay, head.learning_rate) == (1e-2, 0.0, 1e-2)
    assert (magnitude.optimizer, magnitude.momentum) == ("sgd", 0.9)
    before = method.base.magnitudes.detach().clone()
    train(method, magnitude, taken, (0,), lambda share: None)
    assert (method.base.magnitudes != before).all()


def test_magnitudes_are_carried_over() -> None:
    method = lite()
    decide(method, 0, 0.5)
    decide(method, 1, 0.5)
    learned = method.base.magnitudes.tolist()
    assert learned != [1.0, 1.0]
    tiny.begin(method, 2)
    assert method.base.magnitudes.tolist() == [*learned, 1.0]


def test_rates_halve_after_60_and_80_percent_of_the_epochs() -> None:
    method = lite(settings={"epochs": 10})
    decide(method, 0, 0.5)
    _, [magnitude, _] = tiny.begin(method, 1)
    assert [rate_factor(magnitude, epoch) for epoch in range(10)] == [1.0] * 6 + [0.5] * 2 + [0.25] * 2


# --- the decision


@pytest.mark.parametrize(("logit", "kept"), [(1e-9, True), (0.3, True), (0.0, False), (-1e-9, False)])
def test_kept_if_the_logit_is_strictly_above_zero(logit: float, kept: bool) -> None:
    method = lite()
    decide(method, 0, 0.5)
    decide(method, 1, logit)
    assert method.gate.kept.tolist() == [1, int(kept)]
    assert method.stack.count() == 1 + kept
    # What is kept is switched on, however small its logit.
    assert method.stack.current_task is None or method.gate.open().tolist() == [1.0]


def test_first_task_is_always_kept() -> None:
    method = lite()
    decide(method, 0, -3.0)
    assert method.gate.kept.tolist() == [1] and method.stack.count() == 1


def test_a_gate_cannot_start_closed() -> None:
    # A closed gate would hide the adapter from the loss, and nothing would ever train it.
    with pytest.raises(ValueError, match="greater than 0"):
        lite(initial_logit=0.0)


def test_pruning_is_for_good() -> None:
    method = lite("encoder", settings=QUIET)
    decide(method, 0, 0.5)
    held = method.stack.sizes().stored
    decide(method, 1, -0.5)
    assert method.stack.sizes().stored == held and method.base.magnitudes.shape == (1,)
    assert method.stack.tasks() == [0]
    # One adapter, one magnitude, two logits, two decisions.
    assert (method.accounting().stored, method.accounting().active) == (held + 1 + 2 + 2, 1)
    decide(method, 2, 0.5)
    assert method.stack.tasks() == [0, 2] and method.gate.kept.tolist() == [1, 0, 1]
    assert method.accounting().adapters == 3 and method.accounting().active == 2
    assert method.stack.sizes().stored == 2 * held


@pytest.mark.parametrize("kind", ["vector", "encoder"])
def test_after_pruning_the_method_answers_as_if_the_adapter_had_never_been(kind: str) -> None:
    method, never = lite(kind, settings=QUIET), lite(kind, settings=QUIET)
    decide(method, 0, 0.5)
    decide(never, 0, 0.5)
    decide(method, 1, -0.5)
    # What task 1 leaves behind is its head rows and the magnitude of adapter 0, learned again.
    never.stack.freeze_current()
    never.base._measure_past()
    never.task_model.restore(method.task_model.state())
    never.base.magnitudes = nn.Parameter(method.base.magnitudes.detach().clone())
    assert torch.equal(tiny.logits(method, 0), tiny.logits(never, 0))
    assert method.stack.current_task is None and method.stack.sizes().stored == never.stack.sizes().stored


def test_restored_decisions_and_outputs_are_equal() -> None:
    method, again = lite(settings=QUIET), lite(settings=QUIET)
    for t, logit in enumerate([0.5, -0.5, 0.25]):
        decide(method, t, logit)
    again.restore(method.state())
    assert again.gate.kept.tolist() == [1, 0, 1] and again.gate.logits.tolist() == [0.5, -0.5, 0.25]
    assert again.stack.tasks() == method.stack.tasks() == [0, 2]
    assert (tiny.logits(again, 2) - tiny.logits(method, 2)).abs().max() < 1e-5
    assert tiny.same(again.state(), method.state())


def test_report_holds_gate_magnitude_and_decision() -> None:
    method = lite(settings=QUIET)
    decide(method, 0, 0.5)
    first = {"gate_logit": 0.5, "magnitude": 1.0, "kept": True, "magnitudes": {"0": 1.0}, "worth": {}}
    assert method.report(0) == first
    decide(method, 1, -0.5)
    report = method.report(1)
    assert (report["gate_logit"], report["kept"]) == (-0.5, False)
    # The pruned adapter's last magnitude is still told; the list holds kept adapters alone.
    assert list(report["magnitudes"]) == ["0"] and report["magnitude"] != 1.0


# --- on data


@pytest.mark.parametrize("price", [0.0, 50.0])
def test_price_decides_on_toy_data(price: float) -> None:
    # Without overlap no adapter serves two tasks: at no price each one earns its gate; at a price far above
    # any gain in loss none but the first does.
    settings = toy.Parameters(tasks=3, overlap=0.0, train_rows=100)
    stream = toy.load(Request("1", 0, toy.SMOKE, None, settings)).tasks
    method = lite(stream=stream, settings={"batch_size": 16, "epochs": 5}, sparsity=price)
    for t in range(3):
        tiny.learn(method, t)
    assert method.gate.kept.tolist() == ([1, 1, 1] if price == 0 else [1, 0, 0])
    # From 0.5 the logit rises where only the loss pulls at it.
    assert ((method.gate.logits[1:] > 0.5) == (price == 0)).all()
    assert method.accounting().active == (3 if price == 0 else 1)
