"""Random starts: the numbers of torch's own generator, in the number format asked for, drawn in one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmark import initialisation

ROOT = Path(__file__).parents[1]
# What would draw on the device that holds its tensor, where a seed means other numbers than on the CPU.
IN_PLACE = {
    "uniform_",
    "normal_",
    "bernoulli_",
    "multinomial",
    "kaiming_uniform_",
    "xavier_uniform_",
    "rand_like",
    "randn_like",
}
# Pictures are changed on the CPU, before a batch moves.
ALLOWED = {"benchmark/initialisation.py", "benchmark/data/images.py"}


def test_a_uniform_start_is_what_the_seed_gives_on_the_cpu() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4, 2) * 3 - 1
    torch.manual_seed(3)
    drawn = initialisation.uniform(torch.empty(0), 4, 2, low=-1, high=2)
    torch.testing.assert_close(drawn, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_start_has_the_number_format_of_its_example(dtype: torch.dtype) -> None:
    assert initialisation.uniform(torch.empty(0, dtype=dtype), 3).dtype == dtype
    assert initialisation.kaiming_uniform(torch.empty(0, dtype=dtype), 3, 2).dtype == dtype


def test_a_matrix_starts_as_a_linear_layer_of_torch() -> None:
    torch.manual_seed(5)
    layer = nn.Linear(6, 4, bias=False)
    torch.manual_seed(5)
    assert torch.equal(initialisation.kaiming_uniform(torch.empty(0), 4, 6, a=5**0.5), layer.weight)


def test_an_index_of_no_weight_is_never_drawn() -> None:
    weights = torch.tensor([[0.0, 1.0, 0.0], [2.0, 0.0, 0.0]])
    assert initialisation.one_of(weights).tolist() == [1, 0]
    assert int(initialisation.one_of(weights[0])) == 1


def test_nothing_else_draws_on_a_device() -> None:
    """`randn` and `rand` are told apart by where they draw: with a device among their arguments."""
    found = []
    for path in sorted(path for room in ("benchmark", "methods") for path in (ROOT / room).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name in ALLOWED or Path(name).parts[1] == "profiling":
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        found += [f"{name}:{call.lineno}" for call in calls if draws_in_place(call)]
    assert found == []


def draws_in_place(call: ast.Call) -> bool:
    called = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    given = {word.arg for word in call.keywords}
    return called in IN_PLACE or (called in {"rand", "randn", "randperm", "randint"} and "device" in given)
