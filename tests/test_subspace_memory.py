"""The memory of input directions: energy shares, the change to the complement, and both edges of half."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from methods.pieces.subspace_memory import SubspaceMemory, complement


def moments(values: list[float], seed: int = 0) -> Tensor:
    """Return a symmetric matrix with the given eigenvalues in a random basis, float64."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))[
        0
    ]
    return basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.t()


def projector(memory: SubspaceMemory) -> Tensor:
    """Return the matrix that leaves the free part."""
    return memory.free(torch.eye(len(memory.basis), dtype=torch.float64))


def test_first_task_stops_below_the_threshold_and_takes_at_least_one() -> None:
    # Energies are squares: 16, 4, 1, 0 of 21. Shares 0.762, 0.952, 1: below 0.96 are two directions.
    memory = SubspaceMemory.empty(moments([4, 2, 1, 0]))
    memory.update(moments([4, 2, 1, 0]), 0.96)
    assert memory.basis.shape == (4, 2) and not memory.retains
    one = SubspaceMemory.empty(memory.basis)
    one.update(moments([4, 2, 1, 0]), 0.5)
    assert one.basis.shape == (4, 1)


def test_later_task_adds_until_the_threshold_is_crossed() -> None:
    memory = SubspaceMemory(torch.eye(6, dtype=torch.float64)[:, :1])
    # Of energies 4, 9, 1, 0.25 (total 14.25) the memory holds 4: a share of 0.28. Adding 9 gives 0.91, below
    # 0.95, so 1 is added too and the share is 0.98.
    memory.update(torch.diag(torch.tensor([2, 3, 1, 0.5, 0, 0], dtype=torch.float64)), 0.95)
    assert memory.basis.shape[1] == 3
    expected = torch.diag(torch.tensor([0, 0, 0, 1, 1, 1], dtype=torch.float64))
    assert torch.allclose(projector(memory), expected, atol=1e-12)


def test_power_one_counts_the_energy_of_the_inputs_themselves() -> None:
    # Shares of 4, 2, 1, 0 without squares: 0.571, 0.857, 1: below 0.96 are two; below 0.8 one.
    for threshold, size in ((0.96, 2), (0.8, 1)):
        memory = SubspaceMemory.empty(moments([4, 2, 1, 0]))
        memory.update(moments([4, 2, 1, 0]), threshold, power=1, dual=False)
        assert memory.basis.shape[1] == size


def test_more_than_half_changes_to_the_complement_and_keeps_the_projector() -> None:
    given_moments = moments([4, 3, 2, 0.1])
    plain, dual = (SubspaceMemory.empty(given_moments) for _ in range(2))
    plain.update(given_moments, 0.9999, dual=False)
    dual.update(given_moments, 0.9999, dual=True)
    assert plain.basis.shape[1] == 3 and dual.basis.shape[1] == 1 and dual.retains
    assert torch.allclose(projector(plain), projector(dual), atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("dual", [True, False])
def test_whole_threshold_remembers_all_inputs_and_nothing_else(
    dtype: torch.dtype, power: int, dual: bool
) -> None:
    # Task t's inputs use axes 3 t to 3 t + 5 of a random basis of 32. The first task leaves out the direction
    # that reaches the threshold or, where rounding does not let it, none; each later one fills its six.
    axes = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(0)))[0].to(dtype)
    memory, sizes = SubspaceMemory.empty(axes), []
    for t in range(6):
        used = axes[:, 3 * t : 3 * t + 6]
        task = used @ torch.diag(torch.arange(6, 0, -1, dtype=dtype)) @ used.t()
        memory.update(task, 1.0, power, dual)
        left = memory.free(task)
        assert t == 0 or left.norm() < 1e-5 * task.norm()
        size = memory.basis.shape[1]
        assert torch.allclose(memory.basis.t() @ memory.basis, torch.eye(size, dtype=dtype), atol=1e-5)
        sizes.append(32 - size if memory.retains else size)
    assert sizes[0] in (5, 6) and sizes[-1] in (20, 21)
    assert memory.retains is dual
    unused = axes[:, 21:]
    assert torch.allclose(memory.free(unused), unused, atol=1e-5)


def test_moments_without_inputs_change_nothing() -> None:
    nothing = torch.zeros(4, 4, dtype=torch.float64)
    for memory in (
        SubspaceMemory.empty(nothing),
        SubspaceMemory(torch.eye(4, dtype=torch.float64)[:, :2]),
        SubspaceMemory(torch.eye(4, dtype=torch.float64)[:, :2], retains=True),
    ):
        before = projector(memory)
        memory.update(nothing, 0.9)
        assert torch.equal(projector(memory), before)


def test_exactly_half_stays_a_memory_of_what_is_used() -> None:
    memory = SubspaceMemory.empty(moments([4, 3, 0.01, 0]))
    memory.update(moments([4, 3, 0.01, 0]), 0.999999)
    assert memory.basis.shape == (4, 2) and not memory.retains
    used = moments([4, 3, 0, 0])
    assert (memory.free(used)).norm() < 1e-10


def test_released_directions_leave_the_complement() -> None:
    eye = torch.eye(4, dtype=torch.float64)
    memory = SubspaceMemory(eye[:, 2:], retains=True)
    # Within the free span {e3, e4} the task has energies 9 and 0.01 of 25.01: a share of 0.36, above 1 - 0.9;
    # without e3 it is 0.0004, below. So e3 alone is no longer free.
    memory.update(torch.diag(torch.tensor([4, 0, 3, 0.1], dtype=torch.float64)), 0.9)
    assert memory.retains and memory.basis.shape == (4, 1)
    assert torch.allclose(memory.basis[:, 0].abs(), eye[:, 3], atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=4),
    st.one_of(st.floats(0.5, 0.9999), st.just(1.0)),
    st.booleans(),
    st.sampled_from([1, 2]),
    st.integers(1, 6),
)
def test_over_many_tasks_the_basis_is_orthonormal_and_freedom_shrinks(
    seeds: list[int], threshold: float, dual: bool, power: int, rank: int
) -> None:
    memory = SubspaceMemory.empty(torch.zeros(6, 1, dtype=torch.float64))
    free = 6
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        values = torch.rand(6, generator=generator).double().pow(3).tolist()
        values = [*values[:rank], *[0.0] * (6 - rank)]
        task = moments(values, seed)
        memory.update(task, threshold, power, dual)
        size = memory.basis.shape[1]
        assert torch.allclose(memory.basis.t() @ memory.basis, torch.eye(size).double(), atol=1e-9)
        now = size if memory.retains else 6 - size
        assert now <= free
        free = now
        assert not dual or size <= 3
        if not memory.retains and len(seeds) > 1 and seed != seeds[0]:
            left = memory.free(task) if power == 2 else memory.free(memory.free(task).t())
            total, lost = (torch.linalg.svdvals(x).pow(power).sum() for x in (task, left))
            assert lost / total <= 1 - threshold + 1e-9
    again = SubspaceMemory()
    again.restore(memory.state())
    assert torch.equal(again.basis, memory.basis) and again.retains == memory.retains


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 9), st.data())
def test_change_to_the_complement_keeps_the_projector(seed: int, width: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(1, width))
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(width, size, generator=generator, dtype=torch.float64))[0]
    plain, turned = SubspaceMemory(basis), SubspaceMemory(complement(basis), retains=True)
    assert torch.allclose(projector(plain), projector(turned), atol=1e-9)
    assert abs(plain.free_share() - turned.free_share()) < 1e-12
    # Every direction the basis spans is in these moments, so an update at any threshold adds nothing to it;
    # what makes a memory turn is its size alone: more than half of the width, and not exactly half.
    updated = SubspaceMemory(basis.clone())
    updated.update(basis @ basis.t(), 0.9)
    assert updated.retains is (2 * size > width)
    assert torch.allclose(projector(updated), projector(plain), atol=1e-9)


def test_complement_is_orthonormal_and_orthogonal() -> None:
    basis = complement(torch.eye(5, dtype=torch.float64)[:, :2])
    assert torch.allclose(basis.t() @ basis, torch.eye(3).double())
    assert basis[:2].abs().max() < 1e-12
