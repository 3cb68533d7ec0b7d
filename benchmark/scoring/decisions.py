"""How well a method's decisions to keep an adapter agree with what is known of the tasks.

A decision is right where an adapter is kept for a task that needs one, or dropped for a task that does not.
The first adapter is never asked about by a gate, so the first task counts in none of these numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Decisions:
    """Tasks in the order learned, with what they need and what was decided.

    Attributes:
        needed: by task, whether it needs an adapter of its own.
        kept: by task, whether its adapter was kept.
        confidence: by task, a number that is larger the surer the method was to keep it, such as a gate's
            final logit; None where the method has none.
    """

    needed: tuple[bool, ...]
    kept: tuple[bool, ...]
    confidence: tuple[float, ...] | None = None

    @property
    def precision(self) -> float | None:
        """Share of the kept adapters that were needed; None where none was kept."""
        return _share([need for need, kept in self._pair_asked() if kept])

    @property
    def recall(self) -> float | None:
        """Share of the needed adapters that were kept; None where none was needed."""
        return _share([kept for need, kept in self._pair_asked() if need])

    @property
    def auc(self) -> float | None:
        """Probability that a needed adapter has a higher confidence than one that is not; ties count half.

        None without confidences, or where all or none of the tasks need an adapter.
        """
        if self.confidence is None:
            return None
        rated = list(zip(self.needed, self.confidence, strict=True))[1:]
        yes = [value for need, value in rated if need]
        no = [value for need, value in rated if not need]
        if not yes or not no:
            return None
        wins = sum((a > b) + 0.5 * (a == b) for a in yes for b in no)
        return wins / (len(yes) * len(no))

    def _pair_asked(self) -> list[tuple[bool, bool]]:
        return list(zip(self.needed, self.kept, strict=True))[1:]


def read_decisions(needed: Sequence[bool], reports: Sequence[Mapping[str, Any]]) -> Decisions | None:
    """Return the decisions that a result's reports hold; None where the answer or a decision is not known.

    Args:
        needed: of the stream; empty where it is not known.
        reports: by task; what an earlier report said and a later one leaves out still holds.
    """
    said: dict[str, Any] = {}
    kept: list[bool] = []
    logits: list[Any] = []
    for report in reports:
        said |= report
        if not isinstance(said.get("kept"), bool):
            return None
        kept.append(said["kept"])
        logits.append(said.get("gate_logit"))
    if not needed or len(kept) != len(needed):
        return None
    known = all(isinstance(value, int | float) and not isinstance(value, bool) for value in logits)
    return Decisions(tuple(needed), tuple(kept), tuple(map(float, logits)) if known else None)


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None
