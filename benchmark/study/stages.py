"""What a study runs, in stages: each is known once the results of those before it are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.class_orders import chunks
from benchmark.errors import UserError
from benchmark.result_files import find, records
from benchmark.results import Result, parse
from benchmark.running.run import Run
from benchmark.scoring.metrics import numbers
from benchmark.study.members import REFERENCE, Members, decisions_of, keeps_the_same, worths_of
from benchmark.study.path import choose_lambda, place_lambdas
from benchmark.study.study_file import StudyFile

AIA = "average_anytime"
SHUFFLED, ORACLE, AS_MANY = "shuffled gate", "oracle", "keep-random, as many as the oracle"


@dataclass(frozen=True)
class Stage:
    """Runs that may be run in any order, and what they are for."""

    name: str
    runs: list[Run]


class Missing(UserError):
    """A run of the study has no result yet."""


class Study:
    """A study beside the results that there are.

    Attributes:
        folder: of results, searched with its subfolders.
    """

    def __init__(self, file: StudyFile, folder: Path, need_backbone: bool = True) -> None:
        """Read the results that there are."""
        self.file, self.folder = file, folder
        self.members = Members(file, need_backbone)
        self._read: dict[Path, int] = {}
        self._results: dict[str, Result] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read results that have come since; those of other work in the folder are passed over."""
        for path in find(self.folder) if self.folder.is_dir() else []:
            changed = path.stat().st_mtime_ns
            if self._read.get(path) == changed:
                continue
            self._read[path] = changed
            for where, data in records(path):
                result = parse(data, where)
                # A result whose settings name no run is no run of a study.
                with suppress(UserError):
                    self._results[Run.of(result).identity] = result

    def has(self, run: Run) -> bool:
        """Return whether a run has a result."""
        return run.identity in self._results

    def result(self, run: Run) -> Result:
        """Return a run's result.

        Raises:
            Missing: there is none.
        """
        if not self.has(run):
            raise Missing(f"there is no result of {run.name} in {self.folder}; bench study makes it")
        return self._results[run.identity]

    def results(self) -> list[Result]:
        """Return every result that there is of a run of the study, also of reported runs that lack others."""
        found: dict[str, Result] = {}
        with suppress(Missing):
            for stage in self.stages():
                found |= {run.identity: self.result(run) for run in stage.runs if self.has(run)}
        return list(found.values())

    # --- tuning

    def lambdas(self) -> list[float]:
        """Return the path, placed by the worths of the tuning runs at lambda 0."""
        worths = []
        for number in self.file.tuning_numbers:
            worths += worths_of(self.result(self.members.gate(number, 0.0, tuning=True)))
        return place_lambdas(worths, self.file.path.values)

    def tuning(self) -> dict[float, list[Result]]:
        """Return the tuning runs of every lambda."""
        return {
            value: [
                self.result(self.members.gate(number, value, tuning=True))
                for number in self.file.tuning_numbers
            ]
            for value in self.lambdas()
        }

    def find_best_lambda(self) -> float:
        """Return lambda*."""
        found = self.tuning()
        scores = {value: [points(result) for result in results] for value, results in found.items()}
        reductions = {
            value: [result.reduction or 0.0 for result in results] for value, results in found.items()
        }
        return choose_lambda(scores, reductions, self.file.path.least_reduction)

    # --- one reported run

    def ends(self, number: int) -> dict[float, Run]:
        """Return LiteLoRA at lambda* and at 0 on a reported run."""
        return {value: self.members.gate(number, value) for value in sorted({0.0, self.find_best_lambda()})}

    def path(self, number: int) -> dict[float, Run]:
        """Return LiteLoRA at every lambda on a reported run."""
        return {value: self.members.gate(number, value) for value in self.lambdas()}

    def rivals(self, number: int) -> dict[str, Run]:
        """Return what is compared with LiteLoRA at lambda* and does not depend on what it kept."""
        members = self.members
        return {
            REFERENCE: members.reference(number),
            "gate on held-out rows": members.gate(number, self.find_best_lambda(), held_out=True),
            "greedy (rehearsal)": members.control("keep-greedy", number),
        }

    def controls(self, number: int) -> dict[str, Run]:
        """Return the controls that keep as many adapters as LiteLoRA did at lambda*, and the oracle.

        The oracle keeps as many as the stream calls needed, and so does a keep-random of its own. Where
        LiteLoRA kept one alone, or all, every rule keeps the same, and the run is LiteLoRA's own.
        """
        members, gate = self.members, self.members.gate(number, self.find_best_lambda())
        result = self.result(gate)
        keep = sum(decisions_of(result))
        found = {
            f"keep-{rule}": self._keep(f"keep-{rule}", number, gate, keep=keep)
            for rule in ("first", "last", "random")
        }
        found |= self.shuffled(number)
        found["one adapter, rank k r"] = members.control("seq-lora-wide", number, multiple=keep)
        if result.needs_adapter:
            found[ORACLE] = members.control("keep-given", number, decisions=result.needs_adapter)
            needed = sum(result.needs_adapter)
            found[AS_MANY] = members.control("keep-random", number, keep=needed)
        return found

    def at_random(self, number: int) -> dict[float, Run]:
        """Return for every lambda keep-random with as many adapters as LiteLoRA kept there."""
        return {
            value: self._keep("keep-random", number, gate, keep=sum(decisions_of(self.result(gate))))
            for value, gate in self.path(number).items()
        }

    def _keep(self, method: str, number: int, gate: Run, **chosen: object) -> Run:
        """Return a control that keeps as many as a run of LiteLoRA, or that run where no other choice is."""
        same = keeps_the_same(decisions_of(self.result(gate)))
        return gate if same else self.members.control(method, number, **chosen)

    def shuffled(self, number: int) -> dict[str, Run]:
        """Return the controls that keep by permutations of LiteLoRA's decisions at lambda*."""
        gate = self.members.gate(number, self.find_best_lambda())
        decisions = decisions_of(self.result(gate))
        return {
            f"{SHUFFLED} {shuffle + 1}": self._keep(
                "keep-given", number, gate, decisions=decisions, shuffle=shuffle
            )
            for shuffle in range(self.file.shuffles)
        }

    def compared(self, number: int) -> list[Run]:
        """Return what outcomes need of a reported run before it is known what LiteLoRA kept."""
        return [*self.ends(number).values(), self.members.reference(number)]

    def outcomes_of(self, number: int) -> list[Run]:
        """Return every run of a reported run that an outcome is made of."""
        return [*self.compared(number), *self.shuffled(number).values()]

    def rows_of(self, number: int) -> list[Run]:
        """Return every run that a reported run's rows at lambda* are made of."""
        return _runs([self.ends(number), self.rivals(number), self.controls(number)])

    def curves_of(self, number: int) -> list[Run]:
        """Return every run that a reported run's curves are made of."""
        return _runs([self.path(number), self.at_random(number)])

    def complete(self) -> list[int]:
        """Return the reported runs of which everything is there that an outcome needs."""
        return self._complete(self.file.run_numbers, self.outcomes_of)

    def complete_controls(self) -> list[int]:
        """Return those of them of which every other control is there too."""
        return self._complete(self.complete(), self.rows_of)

    def complete_paths(self) -> list[int]:
        """Return those with the runs of `complete` whose curves are there too."""
        known = self.complete()
        return self._complete([n for n in self.file.path_numbers if n in known], self.curves_of)

    def _complete(self, numbers: Sequence[int], needed: Callable[[int], list[Run]]) -> list[int]:
        found = []
        for number in numbers:
            try:
                if all(self.has(run) for run in needed(number)):
                    found.append(number)
            except Missing:
                continue
        return found

    # --- the order of work

    def stages(self, at_once: int = 1) -> Iterator[Stage]:
        """Yield what is to be run; the results of a stage must be there before the next is asked for.

        What the planned outcomes need comes first, of every reported run, then the other controls and then
        the paths. Runs come in groups, each complete before the next begins, so that a study that is stopped
        stands on whole runs.

        Args:
            at_once: reported runs in a group, so that as many workers have enough to do.
        """
        tuning = self.file.tuning_numbers
        yield self._stage("tuning at lambda 0", [self.members.gate(n, 0.0, tuning=True) for n in tuning])
        path = [self.members.gate(n, value, tuning=True) for value in self.lambdas() for n in tuning]
        yield self._stage("tuning on the path", path)
        for group in chunks(self.file.run_numbers, at_once):
            known = [run for n in group for run in self.compared(n)]
            yield self._stage(f"{_name_group(group)}: lambda*, 0 and {REFERENCE}", known)
            yield self._stage(f"{_name_group(group)}: {SHUFFLED}", _runs([self.shuffled(n) for n in group]))
        for group in chunks(self.file.run_numbers, at_once):
            rows = [run for n in group for run in self.rows_of(n)]
            yield self._stage(f"{_name_group(group)}: controls", rows)
        for group in chunks(self.file.path_numbers, at_once):
            yield self._stage(f"{_name_group(group)}: path", _runs([self.path(n) for n in group]))
            yield self._stage(f"{_name_group(group)}: keep-random", _runs([self.at_random(n) for n in group]))

    def count_stages(self, at_once: int = 1) -> int:
        """Return how many stages there are, before their runs are known."""
        runs, paths = (len(chunks(n, at_once)) for n in (self.file.run_numbers, self.file.path_numbers))
        return 2 + 3 * runs + 2 * paths

    def _stage(self, name: str, runs: list[Run]) -> Stage:
        return Stage(name, list({run.identity: run for run in runs}.values()))


def _name_group(group: Sequence[int]) -> str:
    return f"run {group[0]}" if len(group) == 1 else f"runs {group[0]}-{group[-1]}"


def _runs(parts: Sequence[Mapping[Any, Run]]) -> list[Run]:
    return [run for group in parts for run in group.values()]


def points(result: Result, metric: str = AIA, reading: str = "trained_head") -> float:
    """Return a number of a result x 100.

    Raises:
        UserError: the result lacks it.
    """
    value = numbers(result, reading).get(metric)
    if value is None:
        raise UserError(f"{result.name} has no {metric} by the reading {reading}")
    return 100 * value
