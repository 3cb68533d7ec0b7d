"""Merging: the rules against worked examples, and each method against merging dense weights directly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchmark.errors import UserError
from methods.magmax import larger
from methods.merge_dare import drop_entries
from methods.p_and_m import best_share
from methods.pieces.merging import current_change, flat, unflat
from tests import tiny

MERGING = ("merge-average", "merge-ties", "merge-dare", "magmax")


def trained(key: str, tasks: int = 3, **chosen: Any) -> tuple[Any, list[dict[str, Tensor]]]:
    """Return a float64 method that has learned some tasks, and each task's change before it was merged."""
    settings = chosen.pop("settings", {})
    options = {"learning_rate": 0.05} | chosen
    method: Any = tiny.make_method(key, "encoder", torch.float64, settings=settings, **options)
    changes = []
    for t in range(tasks):
        rows, phases = tiny.begin(method, t)
        for phase in phases:
            tiny.train(method, phase, rows, (0, t, phase.name), lambda share: None)
        changes.append(current_change(method.stack))
        tiny.reseed(0, t, "end")
        method.end_task(t, rows)
    return method, changes


def answers_of(method: Any, change: dict[str, Tensor]) -> Tensor:
    """Return the first task's logits of the untouched backbone with a dense change added to its weights."""
    plain = tiny.backbone("encoder", torch.float64)
    for name, value in change.items():
        plain.module.get_submodule(name).weight.data += value
    with torch.no_grad():
        return method.task_model.head(plain.features(tiny.whole(tiny.rows(method, 0, "test")).inputs))


# --- the rules by hand


def test_trim_elect_average_by_hand() -> None:
    from peft.utils.merge_utils import ties

    # floor(5 0.6) = 3 entries of each are kept: (3, 0, -2, 0, 4) and (-1, 0, -6, 5, 0).
    # Mass: 2, 0, -8, 5, 4; the tasks that agree with its sign: {3}, {}, {-2, -6}, {5}, {4}.
    first = torch.tensor([3.0, 0.5, -2.0, 1.0, 4.0])
    second = torch.tensor([-1.0, 0.5, -6.0, 5.0, 0.1])
    merged = ties([first, second], torch.ones(2), 0.6)
    assert torch.equal(merged, torch.tensor([3.0, 0.0, -4.0, 5.0, 4.0]))


def test_dropped_entries_are_zero_and_the_others_divided_by_the_share() -> None:
    torch.manual_seed(0)
    kept = drop_entries(torch.ones(10_000), 0.25)
    assert set(kept.tolist()) == {0.0, 4.0}
    # The mean of 10000 draws of 0 or 4 with mean 1 has deviation sqrt(0.25 0.75) 4 / 100 = 0.017.
    assert abs(kept.mean() - 1) < 0.07


def test_larger_magnitude_wins_and_the_later_of_equal_ones() -> None:
    merged = {"layer": torch.tensor([1.0, -3.0, 2.0])}
    change = {"layer": torch.tensor([-2.0, 1.0, -2.0])}
    assert torch.equal(larger(merged, change)["layer"], torch.tensor([-2.0, -3.0, -2.0]))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4))
def test_one_vector_and_back(shapes: list[tuple[int, int]]) -> None:
    change = {f"layer {i}": torch.randn(*shape) for i, shape in enumerate(shapes)}
    again = unflat(flat(change), change)
    assert tiny.same(again, change)


# --- the methods against dense weights


def wanted_change(key: str, method: Any, changes: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the change that the paper's rule makes of all tasks' dense changes at once."""
    if key == "merge-average":
        return {name: sum(change[name] for change in changes) / len(changes) for name in changes[0]}
    if key == "magmax":
        stacked = {name: torch.stack([change[name] for change in changes]) for name in changes[0]}
        return {n: 0.5 * x.gather(0, x.abs().argmax(0, keepdim=True))[0] for n, x in stacked.items()}
    vectors = torch.stack([flat(change) for change in changes])
    if key == "merge-ties":
        return unflat(trim_elect_average(vectors, 0.2), changes[0])
    sparse = []
    for t, vector in enumerate(vectors):
        tiny.reseed(0, t, "end")
        sparse.append(drop_entries(vector, 0.5))
    return unflat(torch.stack(sparse).mean(0), changes[0])


def trim_elect_average(vectors: Tensor, density: float) -> Tensor:
    """Return TIES' merge of `(tasks, n)`, entry by entry."""
    count = int(density * vectors.shape[1])
    kept = torch.zeros_like(vectors)
    for row, vector in zip(kept, vectors, strict=True):
        largest = vector.abs().argsort(descending=True)[:count]
        row[largest] = vector[largest]
    merged = []
    for entries in kept.t():
        elected = 1.0 if entries.sum() >= 0 else -1.0
        agreeing = entries[entries * elected > 0]
        merged.append(agreeing.mean() if len(agreeing) else entries.new_zeros(()))
    return torch.stack(merged)


@pytest.mark.parametrize("key", MERGING)
@pytest.mark.parametrize("alpha", [None, 6.0], ids=["scale 1", "scale 3"])
def test_answers_are_those_of_dense_weights_merged_directly(key: str, alpha: float | None) -> None:
    method, changes = trained(key, settings={"alpha": alpha})
    wanted = wanted_change(key, method, changes)
    assert flat(wanted).abs().max() > 1e-3
    found = method.merged()
    for name, value in wanted.items():
        assert torch.allclose(method.hyperparameters.scale * found[name], value), name
    assert torch.allclose(tiny.logits(method, 0), answers_of(method, wanted))


@pytest.mark.parametrize("key", MERGING)
def test_scale_multiplies_the_merged_change(key: str) -> None:
    method, _ = trained(key, 2, scale=0.25)
    quarter = {name: 0.25 * value for name, value in method.merged().items()}
    assert torch.allclose(tiny.logits(method, 0), answers_of(method, quarter))


@pytest.mark.parametrize("key", ["merge-average", "merge-ties", "merge-dare"])
def test_task_vectors_start_from_the_pretrained_model(key: str) -> None:
    method, _ = trained(key, 2)
    tiny.begin(method, 2)
    batch = tiny.whole(tiny.rows(method, 2))
    plain = tiny.backbone("encoder", torch.float64).features(batch.inputs)
    # The new adapter is zero as yet: only the pretrained weights answer.
    assert torch.allclose(method.task_model.features(batch), plain, atol=1e-12)


def test_magmax_goes_on_with_the_adapter_as_last_trained_and_not_with_the_merged_model() -> None:
    method, changes = trained("magmax", 2)
    tiny.begin(method, 2)
    assert all(torch.equal(now, old) for now, old in zip(method.stack.parameters(), method.last, strict=True))
    assert torch.allclose(tiny.logits(method, 0), answers_of(method, changes[-1]))


def test_first_task_alone_is_its_own_average() -> None:
    method, changes = trained("merge-average", 1)
    assert torch.allclose(tiny.logits(method, 0), answers_of(method, changes[0]))


# --- what is counted


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        # Three adapters of rank 2 at four layers of 32 x 32.
        ("merge-average", 3 * 4 * 2 * 64),
        ("merge-ties", 3 * 4 * 2 * 64),
        # One dense change, and for MagMax the adapter that goes on.
        ("merge-dare", 4 * 32 * 32),
        ("magmax", 4 * 32 * 32 + 4 * 2 * 64),
    ],
)
def test_counts(key: str, stored: int) -> None:
    counted = trained(key)[0].accounting()
    assert (counted.stored, counted.resident, counted.active, counted.auxiliary_bytes) == (stored, 0, 1, 0)
    assert counted.adapters == (3 if key in ("merge-average", "merge-ties") else 1)


def test_only_the_average_is_a_low_rank_sum() -> None:
    assert trained("merge-average", 2)[0].low_rank_sum() is not None
    for key in ("merge-ties", "merge-dare", "magmax"):
        method, _ = trained(key, 2)
        assert method.low_rank_sum() is None and "full rank" in method.no_sum


# --- bad input


@pytest.mark.parametrize("key", [*MERGING, "p-and-m"])
def test_changes_of_other_targets_are_refused(key: str) -> None:
    method, _ = trained(key, 1)
    other = tiny.make_method(key, "encoder", torch.float64, settings={"targets": ("query",)})
    with pytest.raises(UserError, match=r"do not fit layer .*value"):
        other.restore(method.state())


def test_magmax_cannot_go_on_with_an_adapter_of_another_rank() -> None:
    method, _ = trained("magmax", 1)
    other = tiny.make_method("magmax", "encoder", torch.float64, settings={"rank": 3})
    with pytest.raises(UserError, match=r"rank 2 and the protocol rank 3; set it with --set rank=2"):
        other.restore(method.state())


@pytest.mark.parametrize(("key", "value"), [("merge-ties", 0.0), ("merge-ties", 1.0), ("merge-dare", 1.5)])
def test_density_is_a_share(key: str, value: float) -> None:
    with pytest.raises(ValueError, match="density"):
        tiny.make_method(key, "vector", density=value)


# --- P&M


def one(*values: float) -> dict[str, Tensor]:
    """Return a change of one layer."""
    return {"layer": torch.tensor(values, dtype=torch.float64)}


def test_share_of_the_first_task_is_one() -> None:
    assert best_share(one(1.0, -2.0), one(3.0, 1.0), one(0.0, 0.0), {}, {}) == 1.0
    assert best_share(one(0.0), one(3.0), one(0.0), {}, {}) == 1.0


def test_share_by_hand() -> None:
    # One weight. The merged model sits at 1, the old solution at 1 with information 2, the new one at 3 with
    # information 1: (2 (m - 1)^2 + (m - 3)^2) / 2 is least at m = 5/3, a third of the way: a = 1/3.
    assert best_share(one(2.0), one(1.0), one(1.0), one(2.0), one(2.0)) == pytest.approx(1 / 3)
    # With the old solution at 0 the least is at 1, where the merged model is already.
    assert best_share(one(2.0), one(1.0), one(1.0), one(2.0), one(0.0)) == 0.0
    # With it at -1 it would be behind the merged model: no share is negative.
    assert best_share(one(2.0), one(1.0), one(1.0), one(2.0), one(-2.0)) == 0.0


@given(st.integers(0, 1000))
def test_share_minimises_the_tasks_quadratic_losses(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    information = torch.rand(3, 6, generator=generator, dtype=torch.float64)
    solutions = torch.randn(3, 6, generator=generator, dtype=torch.float64)
    merged = torch.randn(6, generator=generator, dtype=torch.float64)
    step = solutions[2] - merged
    sums = one(), one()
    sums[0]["layer"] = information[:2].sum(0)
    sums[1]["layer"] = (information[:2] * solutions[:2]).sum(0)
    share = best_share({"layer": step}, {"layer": information[2]}, {"layer": merged}, *sums)

    def loss(a: float) -> float:
        return float((information * (merged + a * step - solutions).square()).sum())

    assert loss(share) <= min(loss(a / 100) for a in range(101)) + 1e-12


def test_p_and_m_adds_the_share_of_each_change_to_the_merged_model() -> None:
    method: Any = tiny.make_method("p-and-m", "encoder", torch.float64, learning_rate=0.05)
    total: dict[str, Tensor] = {}
    for t in range(3):
        rows, [phase] = tiny.begin(method, t)
        tiny.train(method, phase, rows, (0, t, phase.name), lambda share: None)
        change = current_change(method.stack)
        method.end_task(t, rows)
        share = method.report(t)["share"]
        assert (share == 1.0) == (t == 0) and share > 0
        total = {name: total.get(name, 0) + share * value for name, value in change.items()}
        assert torch.allclose(tiny.logits(method, 0), answers_of(method, total))
    # Query and value in two blocks, 32 x 32, twice, in float64.
    assert method.accounting().auxiliary_bytes == 2 * 4 * 32 * 32 * 8
    assert (method.accounting().active, method.accounting().adapters) == (1, 3)


def test_perturbed_losses_are_those_of_larger_and_smaller_adapters() -> None:
    method: Any = tiny.make_method("p-and-m", "encoder", torch.float64)
    rows, _ = tiny.begin(method, 0)
    tiny.randomise(method.stack)
    batch = tiny.whole(rows)
    seen = {round(float(method.loss(batch).detach()), 10) for _ in range(30)}
    wanted = set()
    for factor in (1.0, 1.5, 0.5):
        method.perturbed = factor
        wanted.add(round(float(method.task_model.loss(batch).detach()), 10))
    assert len(wanted) == 3 and seen == wanted
    method.perturbed = 1.0
    method.loss(batch)
    assert method.perturbed == 1.0, "a prediction must see the adapter as it is"
