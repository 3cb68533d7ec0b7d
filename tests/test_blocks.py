"""Which blocks are adapted: found in every kind of backbone, chosen by a text, refused in one line."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.errors import UserError
from benchmark.models.blocks import choose_blocks, find_adapted_blocks, find_stacks, first_adapted_block
from benchmark.protocol import Protocol
from tests import tiny


class Experts(nn.Module):
    """Two blocks, each with a list of five experts, which is longer than the list of blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict({"experts": nn.ModuleList(nn.Linear(2, 2) for _ in range(5))}) for _ in range(2)
        )


@pytest.mark.parametrize(
    ("choice", "count", "expected"),
    [
        ("all", 3, (0, 1, 2)),
        ("last:2", 5, (3, 4)),
        ("first:2", 5, (0, 1)),
        ("last:5", 5, (0, 1, 2, 3, 4)),
        ("4,0,4", 5, (0, 4)),
    ],
)
def test_a_choice_means_block_numbers(choice: str, count: int, expected: tuple[int, ...]) -> None:
    assert choose_blocks(choice, count) == expected


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("last:99", "the backbone has 12 blocks; the nearest valid value is last:12"),
        ("first:0", "the nearest valid value is first:1"),
        ("3,12", "no block 12; its 12 blocks are numbered 0 to 11"),
    ],
)
def test_blocks_that_are_not_there_are_named(choice: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose_blocks(choice, 12)


@pytest.mark.parametrize("value", ["last", "last:", "-1", "1;2", "middle:3", "1.5"])
def test_a_protocol_refuses_other_texts(value: str) -> None:
    with pytest.raises(ValueError, match="all, last:4, first:2, or numbers"):
        Protocol(name="x", source="x", backbone="x", blocks=value)


def test_a_list_of_numbers_is_its_text() -> None:
    listed = Protocol(name="x", source="x", backbone="x", blocks=[8, 9])  # type: ignore[arg-type]
    assert listed.blocks == "8,9"


def test_a_protocol_at_its_defaults_names_the_run_it_always_named() -> None:
    identity = Protocol(name="x", source="x", backbone="x").identity()
    assert not identity.keys() & {"blocks", "prefix_dtype", "score_at"}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("image", ["layers"]),
        ("encoder", ["encoder.layer"]),
        ("seq2seq", ["encoder.block", "decoder.block"]),
        ("causal", ["model.layers"]),
        ("vector", []),
    ],
)
def test_blocks_are_found_in_every_kind_of_backbone(kind: str, names: list[str]) -> None:
    stacks = find_stacks(tiny.backbone(kind).module)
    assert [stack.name for stack in stacks] == names
    assert all(len(stack) == 2 for stack in stacks)


def test_lists_inside_blocks_are_not_taken_for_blocks() -> None:
    (stack,) = find_stacks(Experts())
    assert (stack.name, len(stack)) == ("layers", 2)


def test_a_backbone_without_blocks_takes_no_choice() -> None:
    with pytest.raises(UserError, match="has no list of blocks; the only valid value is all"):
        find_adapted_blocks(tiny.backbone("vector").module, "last:1")
    assert first_adapted_block(tiny.backbone("vector").module, "all") == 0


@pytest.mark.parametrize("kind", ["image", "encoder", "seq2seq", "causal"])
@pytest.mark.parametrize("key", ["seq-lora", "sd-lora", "seq-ia3", "osf"])
def test_only_the_chosen_blocks_are_adapted(key: str, kind: str) -> None:
    """Of two blocks the second is adapted, in both halves of a seq2seq model."""
    whole, half = (tiny.make_method(key, kind, settings={"blocks": b}) for b in ("all", "last:1"))
    names = [list(vars(m).get("linears") or m.stack.layers) for m in (whole, half)]
    stacks = find_stacks(half.task_model.backbone.module)
    assert all(any(stack.index(name) == 1 for stack in stacks) for name in names[1])
    assert len(names[0]) == 2 * len(names[1])


def test_the_first_adapted_block_is_that_of_the_half_that_reads() -> None:
    module = tiny.backbone("seq2seq").module
    assert first_adapted_block(module, "last:1") == 1
    assert first_adapted_block(module, "first:1") == 0


@pytest.mark.parametrize("key", ["cl-lora", "sema"])
def test_methods_that_divide_blocks_divide_those_adapted(key: str) -> None:
    """With one adapted block, the second, nothing below it is touched."""
    method = tiny.make_method(key, "image", settings={"blocks": "last:1"})
    tiny.learn(method, 0)
    assert torch.isfinite(tiny.logits(method, 0)).all()
    touched = [n for n, _ in method.task_model.backbone.module.named_modules() if n.endswith(".base")]
    assert touched and all(name.startswith("layers.1.") for name in touched)
