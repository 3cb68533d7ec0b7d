"""InfLoRA-b5: InfLoRA in the first five blocks alone, with plain GPM as its memory (arXiv 2404.00228).

Idea, official repository and what is trained, frozen and stored: as `inflora`. Fewer adapters cost less, and
the first blocks' inputs drift least. It is the row named InfLoRA in SD-LoRA's tables. Follows the official
code (methods/inflorab5.py), which keeps the memory of plain GPM: it only grows and is never changed for its
complement, so it may fill more than half of the space. A model of five blocks or fewer is adapted throughout;
a seq2seq model's encoder and decoder count their blocks each from the start.

Published settings: rank 10 on key and value, Adam, batch 128; ImageNet-R 5e-4, 50 epochs, energy 0.98 on 5
tasks and 0.99 on 10 and 20; CIFAR-100 1e-3, 20 epochs, energy 0.95 (shipped configurations).

Defaults that differ from the released program: none for ImageNet-R in 5 tasks; those of other settings are
used in the protocols `inflora`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from methods.inflora import InfLoRA

BLOCKS = 5


class InfLoRAInFiveBlocks(InfLoRA):
    """InfLoRA whose adapters stand in the first five blocks."""

    dual = False

    def adapted_blocks(self, chosen: Sequence[int]) -> Collection[int]:
        """Return the first five blocks."""
        return chosen[:BLOCKS]


METHOD = InfLoRAInFiveBlocks
