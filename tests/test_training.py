"""The training loop, its learning rates and the order of its rows, against numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark.data.batches import VectorRows, shuffle_batches
from benchmark.errors import UserError
from benchmark.lora.method import LowRankHyperparameters
from benchmark.method import TRAINING, Context, Hyperparameters, Method, ParameterGroup, Phase
from benchmark.protocol import Protocol
from benchmark.running.building import prepare_device
from benchmark.running.training import rate_factor, train
from tests import tiny


def phase(loss: Any, parameter: nn.Parameter, **changes: Any) -> Phase:
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 2, "optimizer": "sgd", **changes}
    return Phase("adapt", [ParameterGroup([parameter], 0.1)], loss, **settings)


def five_rows() -> VectorRows:
    return VectorRows(torch.arange(5.0)[:, None], torch.zeros(5, dtype=torch.int64))


def test_loss_that_is_not_finite_names_step_and_phase() -> None:
    method = tiny.make_method("frozen", "vector")
    parameter, calls = nn.Parameter(torch.zeros(())), []

    def loss(_: Any) -> Tensor:
        calls.append(1)
        return parameter * (float("nan") if len(calls) == 4 else 1.0)

    # Five rows in twos are three steps an epoch, six in all.
    with pytest.raises(UserError, match=r"the loss became nan at step 4 of 6 of phase 'adapt'"):
        train(method, phase(loss, parameter), five_rows(), (0,), lambda share: None)


def test_a_run_of_steps_worked_by_hand() -> None:
    method = tiny.make_method("frozen", "vector")
    parameter, shares = nn.Parameter(torch.tensor(1.0)), []
    steps = train(
        method,
        phase(lambda _: 3 * parameter, parameter, milestones=(0.5,), factor=0.5),
        five_rows(),
        (0,),
        shares.append,
    )
    # Slope 3, rate 0.1 in the first epoch and 0.05 in the second, three steps each: 1 - 3 * 3 * 0.15.
    assert steps == 6 and math.isclose(parameter.item(), 1 - 1.35, abs_tol=1e-6)
    assert shares == [n / 6 for n in range(1, 7)]


def test_gradient_is_clipped_to_its_largest_norm() -> None:
    method = tiny.make_method("frozen", "vector")
    parameter = nn.Parameter(torch.zeros(2))
    slopes = torch.tensor([3.0, 4.0])
    one = phase(lambda _: (slopes * parameter).sum(), parameter, epochs=1, batch_size=5, clip=1.0)
    train(method, one, five_rows(), (0,), lambda share: None)
    # (3, 4) has norm 5; clipped to (0.6, 0.8), times the rate 0.1.
    assert torch.allclose(parameter, torch.tensor([-0.06, -0.08]), atol=1e-6)


def test_rate_factor_of_milestones_and_cosine() -> None:
    parameter = nn.Parameter(torch.zeros(()))
    stepped = phase(None, parameter, epochs=5, milestones=(0.6, 0.8), factor=0.5)
    assert [rate_factor(stepped, epoch) for epoch in range(5)] == [1, 1, 1, 0.5, 0.25]
    # Of a single epoch nothing has passed when it begins.
    assert rate_factor(phase(None, parameter, epochs=1, milestones=(0.6, 0.8), factor=0.5), 0) == 1
    smooth = phase(None, parameter, epochs=4, schedule="cosine-by-epoch")
    # (1 + cos(pi e / 4)) / 2 at e = 0 .. 3.
    expected = [1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2]
    assert np.allclose([rate_factor(smooth, epoch) for epoch in range(4)], expected)
    by_step = phase(None, parameter, epochs=4, schedule="cosine")
    assert np.allclose([rate_factor(by_step, 0, done / 4) for done in range(4)], expected)
    quarter = phase(None, parameter, epochs=3, schedule="quarter-cosine-by-epoch")
    # cos(99 pi e / (200 * 2)) at e = 0, 1, 2: degrees 0, 44.55, 89.1.
    assert np.allclose([rate_factor(quarter, epoch) for epoch in range(3)], [1, 0.71264, 0.01571], atol=1e-5)
    assert rate_factor(phase(None, parameter, epochs=1, schedule="quarter-cosine-by-epoch"), 0) == 1
    straight = phase(None, parameter, epochs=4, schedule="linear", milestones=(0.5,), factor=0.5)
    # 1 - 0, and after half of the epochs half of 1 - 1/2.
    assert [rate_factor(straight, 0, 0.0), rate_factor(straight, 2, 0.5)] == [1.0, 0.25]


def test_a_linear_schedule_moves_with_every_step() -> None:
    method, parameter = tiny.make_method("frozen", "vector"), nn.Parameter(torch.zeros(()))
    falling = phase(lambda _: parameter, parameter, epochs=1, batch_size=1, schedule="linear")
    train(method, falling, five_rows(), (0,), lambda share: None)
    # Gradient 1, rate 0.1, five steps: -0.1 (1 + 4/5 + 3/5 + 2/5 + 1/5) = -0.3.
    assert torch.allclose(parameter, torch.tensor(-0.3))


def test_the_order_of_rows_follows_the_place() -> None:
    method, parameter = tiny.make_method("frozen", "vector"), nn.Parameter(torch.zeros(()))
    seen: list[list[int]] = []
    watched = phase(lambda rows: seen.append(rows.rows) or parameter.square(), parameter, epochs=1)
    for place in [(0, 1), (0, 1), (1, 1)]:
        train(method, watched, five_rows(), place, lambda share: None)
    assert seen[:3] == seen[3:6] != seen[6:]


def test_every_row_is_seen_once_an_epoch_in_an_order_of_the_seed() -> None:
    orders = [list(shuffle_batches(7, 3, torch.Generator().manual_seed(seed))) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert [len(chosen) for chosen in orders[0]] == [3, 3, 1]
    assert sorted(row for chosen in orders[0] for row in chosen) == list(range(7))


def test_a_protocol_gives_its_rates_to_methods_without_a_course_of_their_own() -> None:
    method = tiny.make_method("seq-lora", "vector")
    rates = {"schedule": "cosine", "milestones": (0.4, 0.8), "milestone_factor": 0.5}
    method.protocol = method.protocol.model_copy(update=rates)
    given = method.main_phase(0, [])
    assert (given.schedule, given.milestones, given.factor) == ("cosine", (0.4, 0.8), 0.5)
    own = method.main_phase(0, [], milestones=(0.6,), factor=0.1)
    assert (own.schedule, own.milestones, own.factor) == ("constant", (0.6,), 0.1)
    smooth = method.main_phase(0, [], schedule="cosine-by-epoch")
    assert (smooth.schedule, smooth.milestones) == ("cosine-by-epoch", ())


class HeadOnly(Method):
    """A method without hyper-parameters."""

    def phases(self, t: int) -> list[Phase]:
        """Return one phase over the head."""
        return [self.main_phase(t, self.head_groups())]


def head_only() -> Method:
    made = tiny.make_method("ncm", "vector")
    return HeadOnly(Context(made.task_model, made.protocol, made.task_count), Hyperparameters())


def test_a_method_without_hyperparameters_trains_as_one_with_their_defaults() -> None:
    frozen, plain = tiny.make_method("frozen", "vector"), head_only()  # both train the head alone
    (expected,), (phase,) = (list(tiny.begin(method, 0)[1]) for method in (frozen, plain))
    # Adam at 1e-3 without weight decay, for the protocol's two epochs in batches of four.
    assert (phase.optimizer, phase.momentum, phase.epochs, phase.batch_size) == ("adam", 0.0, 2, 4)
    assert [(group.learning_rate, group.weight_decay) for group in phase.groups] == [(1e-3, 0.0)]
    assert (phase.optimizer, phase.momentum) == (expected.optimizer, expected.momentum)
    assert phase.groups[0].learning_rate == expected.groups[0].learning_rate
    assert dict(TRAINING) == {name: x.default for name, x in LowRankHyperparameters.model_fields.items()}
    learned = head_only()
    assert tiny.learn(learned, 0) > 0
    # Both heads start alike, since both are drawn from the same seed.
    started = plain.task_model.head_parameters()
    assert not any(map(torch.equal, started, learned.task_model.head_parameters()))


def test_a_setting_that_came_later_names_a_run_only_where_it_is_used() -> None:
    plain = tiny.protocol("vector").identity()
    assert not plain.keys() & {"schedule", "milestones", "milestone_factor", "crop_area"}
    changed = {"source": "elsewhere", "milestones": [0.5], "crop_area": 0.08}
    stepped = Protocol.model_validate(plain | changed).identity()
    assert stepped == plain | {"milestones": [0.5], "crop_area": 0.08}


def test_what_cannot_change_a_number_names_no_run() -> None:
    plain = tiny.protocol("vector")
    other = plain.model_copy(update={"evaluation_batch_size": 1, "source": "elsewhere"})
    assert other.identity() == plain.identity() != plain.model_copy(update={"batch_size": 1}).identity()


def test_new_memory_is_not_filled_before_it_is_written() -> None:
    torch.utils.deterministic.fill_uninitialized_memory = True  # as it is by default
    prepare_device("cpu")
    assert not torch.utils.deterministic.fill_uninitialized_memory
    assert torch.are_deterministic_algorithms_enabled()
