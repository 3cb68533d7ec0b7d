"""What the complete runs of a study measured, as the numbers that its page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from benchmark.errors import UserError
from benchmark.results import TRAINED_HEAD, Result
from benchmark.scoring.curve_area import height_difference
from benchmark.scoring.decisions import Decisions, read_decisions
from benchmark.scoring.metrics import numbers
from benchmark.scoring.rank_permutation import AucTest
from benchmark.study.members import decisions_of, keeps_the_same, logits_of, worths_of
from benchmark.study.path import predict_kept
from benchmark.study.stages import AIA, SHUFFLED, Study, points
from benchmark.study.verdicts import Verdict, better_than_shuffled, non_inferiority, sees_need


@dataclass(frozen=True)
class Evidence:
    """The complete runs of a study.

    Attributes:
        runs: their numbers, of which the outcomes are.
        control_runs: those of them that have every control; it may be none.
        path_runs: those of them that took the whole path, of which the curves are; it may be none.
    """

    study: Study
    runs: tuple[int, ...]
    control_runs: tuple[int, ...]
    path_runs: tuple[int, ...]

    @cached_property
    def chosen(self) -> float:
        """Lambda*."""
        return self.study.find_best_lambda()

    @cached_property
    def lambdas(self) -> list[float]:
        """The path."""
        return self.study.lambdas()

    @cached_property
    def gate(self) -> dict[float, list[Result]]:
        """LiteLoRA's results by lambda, in the order of the runs that took the path."""
        return {
            value: [self.study.result(self.study.path(number)[value]) for number in self.path_runs]
            for value in self.lambdas
        }

    @cached_property
    def at_random(self) -> dict[float, list[Result]]:
        """By lambda, keep-random's results with as many adapters."""
        return {
            value: [self.study.result(self.study.at_random(number)[value]) for number in self.path_runs]
            for value in self.lambdas
        }

    @cached_property
    def rows(self) -> dict[str, list[Result]]:
        """The rows that all runs have, LiteLoRA at lambda* first; of the shuffled gate one a permutation."""
        ends = [
            {value: self.study.result(run) for value, run in self.study.ends(number).items()}
            for number in self.runs
        ]
        found: dict[str, list[Result]] = {"litelora": [each[self.chosen] for each in ends]}
        for number in self.runs:
            parts = self.study.rivals(number) | self.study.controls(number)
            for name, run in parts.items():
                if self.study.has(run):
                    found.setdefault(name, []).append(self.study.result(run))
        found["litelora, lambda 0"] = [each[0.0] for each in ends]
        return {name: results for name, results in found.items() if len(results) == len(self.runs)}

    @property
    def with_controls(self) -> Evidence:
        """What is known of the runs that have every control."""
        return replace(self, runs=self.control_runs)

    def scores(self, name: str, metric: str = AIA, reading: str = TRAINED_HEAD) -> np.ndarray | None:
        """Return a number of every run of a row x 100, `(n,)`; the shuffled gate's is a mean of permutations.

        None where a result lacks it.
        """
        values = []
        for results in self.parts(name):
            own = [numbers(result, reading).get(metric) for result in results]
            if None in own:
                return None
            values.append([100 * value for value in own if value is not None])
        return np.mean(np.array(values), axis=0)

    def parts(self, name: str) -> list[list[Result]]:
        """Return a row's results, or those of each permutation of the shuffled gate."""
        if name != SHUFFLED:
            return [self.rows[name]]
        return [results for row, results in self.rows.items() if row.startswith(SHUFFLED)]

    def count_active(self, name: str) -> tuple[float, float]:
        """Return a row's active adapters after the last task and in the mean over stages; means over runs.

        A shuffled gate keeps as many as LiteLoRA in the end, and may have had fewer of them on the way.
        """
        counts = np.array([result.active_adapters for results in self.parts(name) for result in results])
        return float(counts[:, -1].mean()), float(counts.mean())

    @property
    def names(self) -> list[str]:
        """The rows' names, the permutations of the shuffled gate as one."""
        return list(dict.fromkeys(SHUFFLED if SHUFFLED in name else name for name in self.rows))

    def differences(self, name: str, of: str = "litelora") -> list[float]:
        """Return a row, by default LiteLoRA at lambda*, minus another, in points of AIA, one a run."""
        found = self.differences_by(name, AIA, TRAINED_HEAD, of)
        if found is None:
            raise UserError(f"{of} or {name} lacks {AIA}: score_at must be every")
        return found

    def differences_by(
        self, name: str, metric: str, reading: str, of: str = "litelora"
    ) -> list[float] | None:
        """Return what `differences` does by another number or reading; None where a result lacks it."""
        ours, theirs = self.scores(of, metric, reading), self.scores(name, metric, reading)
        return None if ours is None or theirs is None else [float(value) for value in ours - theirs]

    # --- the planned outcomes

    @cached_property
    def first(self) -> Verdict:
        """Not inferior to SD-LoRA."""
        return non_inferiority(self.differences("sd-lora"), self.study.file.outcomes)

    @cached_property
    def second(self) -> Verdict:
        """Better than the shuffled gate."""
        same = sum(keeps_the_same(decisions_of(result)) for result in self.rows["litelora"])
        return better_than_shuffled(self.differences(SHUFFLED), same, self.study.file.outcomes)

    @cached_property
    def third(self) -> tuple[Verdict, AucTest | None]:
        """The final logit tells what is needed."""
        runs = []
        for result in self.rows["litelora"]:
            logits = logits_of(result)
            if result.needs_adapter and logits is not None:
                runs.append((result.needs_adapter[1:], logits))
        return sees_need(runs, self.study.file.outcomes)

    @property
    def auc_of_place(self) -> float | None:
        """The mean AUC that the rule "the earlier a task, the likelier it needs an adapter" has."""
        needs = [tuple(result.needs_adapter) for result in self.rows["litelora"] if result.needs_adapter]
        places = [Decisions(need, need, tuple(-float(place) for place in range(len(need)))) for need in needs]
        return mean_of([each.auc for each in places])

    @cached_property
    def reduction(self) -> float:
        """The mean share of adapters dropped at lambda*."""
        return float(np.mean([result.reduction or 0.0 for result in self.rows["litelora"]]))

    # --- secondary

    def height_differences(self) -> list[float]:
        """Return of each run the mean height of the reduction-score curve over keep-random's, in points."""
        found = []
        for place in range(len(self.path_runs)):
            ours = [_point(self.gate[value][place]) for value in self.lambdas]
            theirs = [_point(self.at_random[value][place]) for value in self.lambdas]
            height = height_difference(ours, theirs)
            if height is not None:
                found.append(height)
        return found

    def predictions(self) -> dict[float, tuple[float, float, float]]:
        """Return for every lambda what the worths at lambda 0 of the same run say of it.

        The mean number of adapters that they predict, that were kept, and the share of decisions alike.
        """
        found = {}
        for value in self.lambdas:
            guessed, kept, alike = [], [], []
            for place in range(len(self.path_runs)):
                said = predict_kept(worths_of(self.gate[0.0][place]), value)
                done = decisions_of(self.gate[value][place])
                guessed.append(1 + sum(said))
                kept.append(sum(done))
                alike.append(np.mean([a == b for a, b in zip(said, done[1:], strict=True)]))
            found[value] = float(np.mean(guessed)), float(np.mean(kept)), float(np.mean(alike))
        return found

    def decisions(self, name: str) -> list[Decisions]:
        """Return what a row's runs decided beside what was needed; empty where either is not known."""
        parts = self.parts(name)
        found = [read_decisions(each.needs_adapter, each.report) for results in parts for each in results]
        known = [each for each in found if each is not None]
        return known if len(known) == len(found) else []


def _point(result: Result) -> tuple[float, float]:
    return result.reduction or 0.0, points(result)


def gather(study: Study) -> Evidence:
    """Return the evidence of the runs that are complete.

    Raises:
        UserError: none is.
    """
    runs = study.complete()
    if not runs:
        raise UserError(
            f"no reported run of the study is complete in {study.folder}; bench study goes on with it"
        )
    return Evidence(study, tuple(runs), tuple(study.complete_controls()), tuple(study.complete_paths()))


def mean_of(values: Sequence[float | None]) -> float | None:
    """Return the mean of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
