"""The blocks of a backbone, and which of them a protocol lets adapters change.

Blocks are found, not named: the longest list of modules of one class, in an encoder-decoder one such list in
either half. `protocol.blocks` chooses among them: `all`, `last:4`, `first:2`, or numbers from 0, `8,9,11`. In
an encoder-decoder the choice holds for either half, and `last:4` of a half of two blocks is both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from benchmark.errors import UserError

Layer = TypeVar("Layer", bound=nn.Module)
ALL = "all"


@dataclass(frozen=True)
class Stack:
    """One list of equal blocks.

    Attributes:
        name: its dotted name in the model.
        blocks: the blocks, in the order in which they run.
    """

    name: str
    blocks: nn.ModuleList

    def __len__(self) -> int:
        return len(self.blocks)

    def index(self, layer: str) -> int | None:
        """Return the block that a layer's dotted name lies in; None for a layer in none of this stack."""
        if not layer.startswith(f"{self.name}."):
            return None
        return int(layer[len(self.name) + 1 :].partition(".")[0])


def find_stacks(module: nn.Module) -> list[Stack]:
    """Return a model's stacks of blocks: none, one, or an encoder's and a decoder's in this order."""
    if getattr(getattr(module, "config", None), "is_encoder_decoder", False):
        halves = [module.get_encoder(), module.get_decoder()]  # type: ignore[operator]
    else:
        halves = [module]
    names = {id(part): name for name, part in module.named_modules()}
    found = []
    for half in halves:
        stack = _longest(half, names[id(half)])
        if stack is not None:
            found.append(stack)
    return found


def _longest(module: nn.Module, prefix: str) -> Stack | None:
    """Return the longest outermost list of modules of one class; experts lie inside blocks and are none."""
    best: Stack | None = None
    outer: list[str] = []
    for name, part in module.named_modules(prefix=prefix):
        if not isinstance(part, nn.ModuleList) or not len(part) or len({type(block) for block in part}) != 1:
            continue
        if any(name.startswith(f"{other}.") for other in outer):
            continue
        outer.append(name)
        if best is None or len(part) > len(best):
            best = Stack(name, part)
    return best


def choose_blocks(choice: str, count: int) -> tuple[int, ...]:
    """Return the numbers of the blocks that a choice means among `count`, ascending.

    Raises:
        UserError: it means blocks that are not there.
    """
    if choice == ALL:
        return tuple(range(count))
    side, colon, number = choice.partition(":")
    if colon:
        wanted = int(number)
        if not 1 <= wanted <= count:
            raise UserError(
                f"protocol.blocks={choice}: the backbone has {count} blocks; "
                f"the nearest valid value is {side}:{min(max(wanted, 1), count)}"
            )
        return tuple(range(count))[-wanted:] if side == "last" else tuple(range(wanted))
    numbers = sorted({int(part) for part in choice.split(",")})
    if numbers[-1] >= count:
        raise UserError(
            f"protocol.blocks={choice}: the backbone has no block {numbers[-1]}; its {count} blocks "
            f"are numbered 0 to {count - 1}"
        )
    return tuple(numbers)


def find_adapted_blocks(module: nn.Module, choice: str) -> list[tuple[Stack, tuple[int, ...]]]:
    """Return a model's stacks with the numbers of the chosen blocks of each.

    Raises:
        UserError: the model has no blocks, or not those.
    """
    stacks = find_stacks(module)
    if not stacks:
        raise UserError(
            f"protocol.blocks={choice}: the backbone {type(module).__name__} has no list of blocks; "
            f"the only valid value is {ALL}"
        )
    longest = max(len(stack) for stack in stacks)
    wanted = choose_blocks(choice, longest)
    found = []
    for stack in stacks:
        side, colon, number = choice.partition(":")
        own = f"{side}:{min(int(number), len(stack))}" if colon else choice
        numbers = choose_blocks(own, len(stack)) if colon or choice == ALL else wanted
        found.append((stack, tuple(number for number in numbers if number < len(stack))))
    return found


def inside(module: nn.Module, layers: dict[str, Layer], choice: str) -> dict[str, Layer]:
    """Return those of the named layers that lie in the chosen blocks; with `all`, every one.

    Raises:
        UserError: the blocks are not there, or hold none of the layers.
    """
    if choice == ALL:
        return layers
    chosen = find_adapted_blocks(module, choice)
    kept = {
        name: layer
        for name, layer in layers.items()
        if any(stack.index(name) in numbers for stack, numbers in chosen)
    }
    if not kept:
        raise UserError(f"protocol.blocks={choice}: none of the target layers lies in these blocks")
    return kept


def first_adapted_block(module: nn.Module, choice: str) -> int:
    """Return the first adapted block of the stack that reads the input; 0 where nothing lies below it."""
    if choice == ALL:
        return 0
    _, numbers = find_adapted_blocks(module, choice)[0]
    return numbers[0] if numbers else 0
