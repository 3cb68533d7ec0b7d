"""The runs of a study, by the part that each plays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.errors import UserError
from benchmark.results import Result
from benchmark.running.catalogue import load_method, load_stream
from benchmark.running.plan import find_streams, plan
from benchmark.running.run import Run
from benchmark.scoring.decisions import read_decisions
from benchmark.settings import write_setting
from benchmark.study.study_file import StudyFile

GATE, REFERENCE = "litelora", "sd-lora"


@dataclass
class Members:
    """Makes the runs that a study asks for, each once.

    Attributes:
        need_backbone: whether a backbone must be here; not where results alone are read.
    """

    file: StudyFile
    need_backbone: bool = True
    _made: dict[str, Run] = field(default_factory=dict)

    def gate(self, number: int, sparsity: float, held_out: bool = False, tuning: bool = False) -> Run:
        """Return LiteLoRA at a lambda on run `number`; while tuning it is scored on validation rows."""
        chosen: dict[str, Any] = {"sparsity": sparsity} | ({"selection_rows": "held-out"} if held_out else {})
        return self._run(GATE, number, chosen, {"protocol.score_on": "validation"} if tuning else {})

    def reference(self, number: int) -> Run:
        """Return SD-LoRA on run `number`."""
        return self._run(REFERENCE, number, {})

    def control(self, method: str, number: int, **chosen: Any) -> Run:
        """Return a control on run `number` that learns as LiteLoRA does."""
        known = load_method(method).Hyperparameters.model_fields
        shared = {
            name: value
            for name, value in self.gate(number, 0.0).hyperparameters.items()
            if name in known and name in load_method(REFERENCE).Hyperparameters.model_fields
        }
        return self._run(method, number, shared | chosen)

    def _run(
        self, method: str, number: int, chosen: Mapping[str, Any], shared: Mapping[str, Any] | None = None
    ) -> Run:
        """Return a run; what the file sets for the method wins over what is shared with LiteLoRA."""
        own = dict(chosen) | self.file.settings.get(method, {})
        fixed = {"sparsity", "selection_rows", "keep", "decisions", "shuffle", "multiple"}
        if clash := sorted(fixed & self.file.settings.get(method, {}).keys()):
            raise UserError(f"settings.{method}: {clash[0]} is the study's own to choose; leave it out")
        values = self.file.set | dict(shared or {}) | {f"{method}.{name}": own[name] for name in own}
        texts = tuple(f"{name}={write_setting(value)}" for name, value in values.items())
        key = json.dumps([method, number, texts])
        if key not in self._made:
            file = self.file
            (self._made[key],) = plan(
                *(method, file.stream, self._order(number), str(number), file.backbone, file.protocol, texts),
                need_backbone=self.need_backbone,
            )
        return self._made[key]

    def _order(self, number: int) -> str:
        """Return the order of run `number`, that of its name or place; a stream with few starts again.

        By name first, `4` or `own-4`: the rows of a `standard` board, run i with order i, are members too.
        """
        (reference,) = find_streams(self.file.stream).values()
        orders = list(load_stream(reference).orders)
        named = [name for name in (str(number), f"own-{number}") if name in orders]
        return named[0] if named else orders[number % len(orders)]


def decisions_of(result: Result) -> list[bool]:
    """Return by task whether the adapter was kept; all where the method does not decide."""
    found = read_decisions([True] * len(result.tasks), result.report)
    return list(found.kept) if found else [True] * len(result.tasks)


def worths_of(result: Result) -> list[float]:
    """Return what each adapter after the first was worth before its gate was learned, in nats."""
    said: dict[str, Any] = {}
    worths = []
    for report in result.report:
        said |= report
        worth = (said.get("worth") or {}).get("selection") or {}
        worths.append(float(worth.get("worth", 0.0)))
    return worths[1:]


def logits_of(result: Result) -> list[float] | None:
    """Return the final logit of each gate after the first; None where a task has several or none."""
    found = read_decisions([True] * len(result.tasks), result.report)
    return None if found is None or found.confidence is None else list(found.confidence[1:])


def keeps_the_same(decisions: Sequence[bool]) -> bool:
    """Whether every rule that keeps as many adapters keeps the same: one alone, or all."""
    return sum(decisions) in (1, len(decisions))
