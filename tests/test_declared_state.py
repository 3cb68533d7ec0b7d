"""What a method declares is saved, restored and counted; methods hold one another, and mix no classes."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmark import state
from benchmark.method import Method
from benchmark.state import Sizes, auxiliary, learned, stored

SOURCES = sorted((Path(__file__).resolve().parents[1] / "methods").rglob("*.py"))


class Counter:
    """An object with a state of its own."""

    def __init__(self) -> None:
        self.count = torch.zeros(1)

    def state(self) -> dict[str, Tensor]:
        return {"count": self.count}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.count = tensors["count"]


class Base:
    """Two numbers that are trained, a statistic, and an object."""

    keeps = learned("weight") + auxiliary("mean", "counters", of=Counter)

    def __init__(self) -> None:
        self.weight: Any = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.mean: Any = None
        self.counters: list[Counter] = []


class Derived(Base):
    """Adds lists and dictionaries, and says that the weight is not needed while predicting."""

    keeps = (
        learned("weight", in_memory=False)
        + learned("keys")
        + stored("by_layer")
        + learned("gates", of=dict, in_memory=False)
    )

    def __init__(self) -> None:
        super().__init__()
        self.keys: Any = []
        self.by_layer: Any = {}
        self.gates: Any = []


def filled() -> Derived:
    made = Derived()
    made.mean = torch.zeros(3, dtype=torch.float64)
    made.counters = [Counter(), Counter()]
    made.keys = [nn.Parameter(torch.ones(4)) for _ in range(11)]
    made.by_layer = {"block.0.query": torch.ones(2, 2), "block.0.value": torch.ones(5)}
    made.gates = [{"hidden": nn.Parameter(torch.ones(2)), "key": nn.Parameter(torch.ones(1))}]
    return made


def test_names_follow_the_attributes() -> None:
    keys = [f"keys.{i}" for i in range(11)]
    layers = ["by_layer.block.0.query", "by_layer.block.0.value"]
    gates = ["gates.0.hidden", "gates.0.key"]
    counters = ["counters.0.count", "counters.1.count"]
    assert list(state.collect_saved(filled())) == ["weight", "mean", *counters, *keys, *layers, *gates]


def test_sizes_are_those_of_what_is_declared() -> None:
    # Numbers: weight 2, keys 11 x 4, by_layer 4 + 5, gates 2 + 1; of these keys and by_layer are in memory.
    # Bytes: three of float64 in the mean, one of float32 in each of two counters.
    assert state.sizes(filled()) == Sizes(2 + 44 + 9 + 3, 44 + 9, 3 * 8 + 2 * 4)
    assert state.sizes(Derived()) == Sizes(2, 0, 0)


def test_what_was_saved_is_restored_as_what_it_was() -> None:
    made, again = filled(), Derived()
    made.keys[10].data.fill_(7.0)
    made.counters[1].count += 5
    state.restore(again, state.collect_saved(made), torch.device("cpu"))
    assert isinstance(again.weight, nn.Parameter) and torch.equal(again.weight, made.weight)
    assert again.keys[10].tolist() == [7.0] * 4, "the eleventh comes after the tenth, not after the first"
    assert all(isinstance(key, nn.Parameter) for key in again.keys)
    assert type(again.by_layer["block.0.value"]) is Tensor and again.by_layer.keys() == made.by_layer.keys()
    assert isinstance(again.gates[0]["key"], nn.Parameter) and again.gates[0].keys() == {"hidden", "key"}
    assert again.mean.dtype == torch.float64 and again.counters[1].count.item() == 5
    empty = Derived()
    state.restore(empty, state.collect_saved(Derived()), torch.device("cpu"))
    assert empty.mean is None and empty.keys == [] and empty.by_layer == {} and empty.counters == []


def test_a_name_kept_twice_is_refused() -> None:
    class Holder:
        keeps = (state.Kept("held", flat=True), *stored("mean"))

        def __init__(self) -> None:
            self.held = Inner()
            self.mean = torch.zeros(1)

    class Inner:
        def state(self) -> dict[str, Tensor]:
            return {"mean": torch.zeros(1)}

    with pytest.raises(ValueError, match="Holder and what it holds both keep mean"):
        state.collect_saved(Holder())


# --- how methods are written


def classes(path: Path) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_a_class_of_methods_has_one_base_and_is_written_out(path: Path) -> None:
    for node in classes(path):
        assert len(node.bases) <= 1, f"{node.name} mixes {len(node.bases)} classes"
        assert not any(isinstance(each, ast.FunctionDef) and each.name == "__new__" for each in node.body)
    for call in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(call, ast.Call):
            made = ast.unparse(call.func)
            assert made.rsplit(".")[-1] not in ("create_model", "make_dataclass", "new_class")
            assert made != "type" or len(call.args) == 1, "a class made at run time"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_method_writes_out_what_follows_from_what_it_declares(path: Path) -> None:
    derived = {"accounting", "state", "restore"}
    for node in classes(path):
        own = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
        is_method = any(isinstance(each, ast.FunctionDef) and each.name == "begin_task" for each in node.body)
        assert not is_method or not own & derived, f"{node.name} writes out {own & derived}"
    assert all(getattr(getattr(Method, name), "__final__", False) for name in derived)
