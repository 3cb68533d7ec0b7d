"""Control: LiteLoRA without its gate, keeping the adapters of the first and of the last tasks.

Idea: LiteLoRA's claim is that its gate knows which adapters can go. This control learns every task exactly as
LiteLoRA's magnitude phase does and then keeps the adapters of the first task, as LiteLoRA must, and of the
last `keep` - 1, with no gate and no selection phase. Set `keep` to what a LiteLoRA run kept: if the scores
are equal, the gate's choice is worth no more than the number it found. Ours; no paper.

Trained, frozen and stored as in `litelora`, less the gates. Needs neither task id, old data nor statistics.
Works on every kind of backbone. Learning rates are LiteLoRA's.

Defaults that differ from the released program: there is none; what it shares with LiteLoRA has the defaults
of LiteLoRA's program.
"""

from __future__ import annotations

from methods.pieces.keeping import Keeping


class KeepLast(Keeping):
    """Keeps the last adapters."""

    def choose(self, count: int) -> list[int]:
        """Return the stream's last tasks."""
        return list(range(self.task_count - count, self.task_count))


METHOD = KeepLast
