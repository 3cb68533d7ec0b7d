"""Control: LiteLoRA without its gate, keeping the adapters of tasks chosen at random.

Idea: LiteLoRA's claim is that its gate knows which adapters can go. This control learns every task exactly as
LiteLoRA's magnitude phase does and then keeps the adapters of the first task, as LiteLoRA must, and of `keep`
- 1 sampled by the seed, with no gate and no selection phase. Set `keep` to what a LiteLoRA run kept: if the
scores are equal, the gate's choice is worth no more than the number it found. Ours; no paper.

Trained, frozen and stored as in `litelora`, less the gates. Needs neither task id, old data nor statistics.
Works on every kind of backbone. Learning rates are LiteLoRA's.

Defaults that differ from the released program: there is none; what it shares with LiteLoRA has the defaults
of LiteLoRA's program.
"""

from __future__ import annotations

import torch

from methods.pieces.keeping import Keeping


class KeepRandom(Keeping):
    """Keeps adapters sampled before the first task."""

    def choose(self, count: int) -> list[int]:
        """Return tasks sampled without replacement."""
        return (1 + torch.randperm(self.task_count - 1)[:count]).tolist()


METHOD = KeepRandom
