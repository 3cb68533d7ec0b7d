"""Searches a method's hyper-parameters: a number of trials that is the same for every method.

A trial is an ordinary run, or one for each seed and order, whose score matrix is filled from validation
rows. Its result file is all that is remembered: sampler and pruner start anew each time and are given again
what the files hold, so that a search that was stopped goes on, and one that is repeated runs nothing.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmark.errors import UserError
from benchmark.results import Tuned, read
from benchmark.running.catalogue import load_method
from benchmark.running.checkpoint import Checkpoint
from benchmark.running.data_index import DataIndex
from benchmark.running.driver import check_writable, settle_without_work
from benchmark.running.events import Callback, Event, RunDone, TaskDone
from benchmark.running.job import Conditions, Job, Outcome
from benchmark.running.plan import plan
from benchmark.running.run import Run
from benchmark.running.sweep_folder import SweepFolder
from benchmark.running.worker import Stopped, load_data, run_job
from benchmark.scoring.metrics import mean_of_seen
from benchmark.settings import write_setting
from benchmark.space import Objective
from benchmark.tuning.search_space import Space, as_data, drop_fixed, points, space_of, suggest
from benchmark.tuning.tuning_file import TrialFacts, TuningFile, path_of, write

if TYPE_CHECKING:
    import optuna

SAMPLER_SEED = 0
REPEATS = 20
"""How often the sampler may name a point again before one that was not tried is taken."""
SEED = "1000"
"""The seed of trials where none is asked for: one that no published table uses."""

FIRST_RUNG, REDUCTION = 2, 2
"""The better half goes on, judged first after the second task: before it nothing can be forgotten."""

PRUNER = f"successive halving by task, from task {FIRST_RUNG}, the best of {REDUCTION} go on"


@dataclass(frozen=True)
class Search:
    """What is searched: the words of `benchmark.running.plan.plan`, for one method and one stream.

    Attributes:
        selection: rows that decide: validation rows, or TEST rows as some papers do.
    """

    method: str
    stream: str
    trials: int
    orders: str | None = None
    seeds: str = SEED
    backbone: str | None = None
    protocol: str | None = None
    settings: Sequence[str] = ()
    selection: Literal["validation", "paper"] = "validation"

    def runs(self, values: dict[str, Any]) -> list[Run]:
        """Return the runs of one point."""
        split = "validation" if self.selection == "validation" else "test"
        own = [f"{self.method}.{name}={write_setting(value)}" for name, value in values.items()]
        texts = [*self.settings, *own, f"protocol.score_on={split}"]
        return plan(self.method, self.stream, self.orders, self.seeds, self.backbone, self.protocol, texts)

    def space(self) -> Space:
        """Return what is searched.

        Raises:
            UserError: the split that is scored is set twice, or nothing is left to search.
        """
        for text in self.settings:
            if text.partition("=")[0].strip().rpartition(".")[2] == "score_on":
                raise UserError(f"--set {text}: which rows decide is set by --selection validation or paper")
        return drop_fixed(space_of(load_method(self.method)), self.settings, self.method)


def runs(asked: Search) -> int:
    """Return how many runs a search takes at most.

    Raises:
        UserError: what is asked for is not understood, or there is nothing to search.
    """
    grid = points(asked.space(), asked.trials)
    return (asked.trials if grid is None else len(grid)) * len(asked.runs({}))


@dataclass
class Judge(ABC):
    """Watches a trial task by task, and says where it is to end.

    Attributes:
        objective: what a trial is judged by.
        before: the score of each of the trial's runs that is complete.
        seen: of the present run, the mean score over the tasks seen, by stage.
        latest: how many tasks the trial has learned, and its score then.
    """

    objective: Objective = "average_performance"
    before: list[float] = field(default_factory=list)
    seen: dict[int, float] = field(default_factory=dict)
    tasks: int = 0
    latest: tuple[int, float | None] = (0, None)

    def hopeless(self, task: int, task_count: int, mean: float | None) -> bool:
        """Take the mean score over the tasks seen; return whether the trial is to end here.

        The last task of a run is never the end: the run is over, and its result is worth its file.
        """
        if mean is None:
            return False
        self.seen[task] = mean
        so_far = (sum(self.before) + self.score_of(self.seen)) / (len(self.before) + 1)
        self.latest = (self.tasks + task + 1, so_far)
        ends = self._ends(task, task_count)
        return ends and task + 1 < task_count

    @abstractmethod
    def _ends(self, task: int, task_count: int) -> bool:
        """Return whether a trial is to end after a task of the present run."""

    def score_of(self, means: Mapping[int, float]) -> float:
        """Return the score of a run by its mean over the tasks seen, for each stage that was scored."""
        if self.objective == "average_performance":
            return means[max(means)]
        return sum(means.values()) / len(means)

    def complete(self, matrix: Sequence[Sequence[float | None]]) -> None:
        """Take a run that is over."""
        means = {t: mean_of_seen(row, t) for t, row in enumerate(matrix)}
        self.before.append(self.score_of({t: mean for t, mean in means.items() if mean is not None}))
        self.tasks += len(matrix)
        self.seen = {}

    @property
    def score(self) -> float:
        """The mean score of the complete runs."""
        return sum(self.before) / len(self.before)


@dataclass
class OptunaJudge(Judge):
    """Ends what Optuna's pruner gives up."""

    trial: optuna.Trial = field(kw_only=True)

    def _ends(self, task: int, task_count: int) -> bool:
        step, so_far = self.latest
        assert so_far is not None, "there is a score when a trial is judged"
        self.trial.report(so_far, step)
        return self.trial.should_prune()


def tune(
    asked: Search, out: Path, data_dir: Path | None, device: str, conditions: Conditions, callback: Callback
) -> Path:
    """Run the trials, write what was tried and chosen, and return where.

    Args:
        out: folder of results, which are the trials' too.
        conditions: those of a run in this process.
        callback: gets the events of every trial.

    Raises:
        UserError: Optuna is not installed, there is nothing to search, no trial was completed, another
            process works on a trial, or the data cannot be read.
        KeyboardInterrupt: the user stopped the search; the trials so far are on disk.
    """
    optuna = _optuna()
    space = asked.space()
    grid = points(space, asked.trials)
    check_writable(out)
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=SAMPLER_SEED),
        pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=FIRST_RUNG, reduction_factor=REDUCTION),
    )
    for point in grid or ():
        study.enqueue_trial(point)
    states = optuna.trial.TrialState
    endings = {"complete": states.COMPLETE, "pruned": states.PRUNED, "failed": states.FAIL}
    tried: list[TrialFacts] = []
    for _ in range(asked.trials if grid is None else len(grid)):
        trial, values = _ask_anew(study, space, tried, endings)
        jobs = [Job(run, out.resolve(), data_dir, device, False, conditions) for run in asked.runs(values)]
        facts = try_point(values, jobs, OptunaJudge(trial=trial), callback)
        study.tell(trial, facts.score if facts.state == "complete" else None, endings[facts.state])
        tried.append(facts)
    sampler = f"TPE, seed {SAMPLER_SEED}" if grid is None else "every point once"
    return keep(asked, out, jobs, tried, as_data(space), sampler)


def _ask_anew(
    study: optuna.Study, space: Space, tried: Sequence[TrialFacts], endings: Mapping[str, Any]
) -> tuple[optuna.Trial, dict[str, Any]]:
    """Return a point that was not tried yet; the sampler learns the score of one that comes again."""
    for _ in range(REPEATS):
        trial = study.ask()
        values = suggest(trial, space)
        before = next((each for each in tried if each.values == values), None)
        if before is None:
            return trial, values
        study.tell(trial, before.score if before.state == "complete" else None, endings[before.state])
    known = [each.values for each in tried]
    for point in points(space, sys.maxsize) or ():
        if point not in known:
            study.enqueue_trial(point)
            break
    trial = study.ask()
    return trial, suggest(trial, space)


def try_point(values: dict[str, Any], jobs: list[Job], judge: Judge, callback: Callback) -> TrialFacts:
    """Run one trial."""
    for job in jobs:
        outcome = _learn(job, judge, callback)
        callback(RunDone(job.run, outcome))
        if outcome.stopped:
            step, so_far = judge.latest
            return TrialFacts(values=values, state="pruned", score=so_far, tasks=step)
        if outcome.error is not None:
            return TrialFacts(
                values=values, state="failed", score=None, tasks=judge.latest[0], error=outcome.error
            )
        result = outcome.result
        assert result is not None
        judge.complete(result.matrix)
    return TrialFacts(values=values, state="complete", score=judge.score, tasks=judge.tasks)


def _learn(job: Job, judge: Judge, callback: Callback) -> Outcome:
    """Return what came of one run of a trial; a stopped one was hopeless.

    What lies on disk is judged before anything is run: of a search that goes on, the pruner decides the same.

    Raises:
        UserError: the run is another process's, or failed before it had learned anything.
        KeyboardInterrupt: the user asked to stop.
    """
    hopeless = False
    for t, row in enumerate(_read_known_rows(job)):
        if judge.hopeless(t, len(row), mean_of_seen(row, t)):
            return Outcome(job.run, stopped=True)

    def report(event: Event) -> None:
        nonlocal hopeless
        callback(event)
        if isinstance(event, TaskDone) and judge.hopeless(event.task, event.task_count, event.mean):
            hopeless = True
            raise Stopped

    outcome = settle_without_work(job, DataIndex(job.out, job.data_dir)) or run_job(job, report)
    if outcome.stopped and not hopeless:
        raise KeyboardInterrupt
    if outcome.elsewhere:
        raise UserError(f"another process works on a trial ({job.run.name}); wait for it and run this again")
    if outcome.error is not None and SweepFolder(job.out).failure(job.run) is None:
        raise UserError(outcome.error)
    return outcome


def _read_known_rows(job: Job) -> list[list[float | None]]:
    """Return the rows of a run's score matrix that lie on disk, complete or not."""
    known = DataIndex(job.out, job.data_dir).find_fingerprint(job.run)
    fingerprint = known or load_data(job.run, job.data_dir)[1]
    path = job.run.path(job.out, fingerprint)
    if path.exists():
        return read(path).matrix
    saved = Checkpoint(path).load(job.run.key(fingerprint))
    return saved[0].matrix if saved else []


def keep(
    asked: Search,
    out: Path,
    jobs: list[Job],
    tried: list[TrialFacts],
    space: dict[str, Any],
    sampler: str,
    pruner: str = PRUNER,
    objective: Objective = "average_performance",
) -> Path:
    """Write the search down and return where; of equally good trials the first is chosen.

    Raises:
        UserError: no trial was completed.
    """
    complete = [
        (trial.score, -number, trial) for number, trial in enumerate(tried) if trial.state == "complete"
    ]
    if not complete:
        raise UserError(f"none of {len(tried)} trials of {asked.method} was completed: {tried[0].error}")
    best = max(complete)[2]
    run = jobs[0].run
    file = TuningFile(
        method=run.method,
        stream=run.stream,
        protocol=run.protocol.name,
        backbone=run.backbone,
        orders=list(dict.fromkeys(job.run.order for job in jobs)),
        seeds=list(dict.fromkeys(job.run.seed for job in jobs)),
        settings=list(asked.settings),
        chosen=Tuned(
            trials=len(tried),
            sampler=sampler,
            pruner=pruner,
            selection=asked.selection,
            space=space,
            values=best.values,
            objective=objective,
            tuned_on=list(dict.fromkeys(f"{job.run.order}/{job.run.seed}" for job in jobs)),
        ),
        trials=tried,
    )
    path = path_of(out, run.method, run.stream, run.protocol.name)
    write(file, path)
    return path


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise UserError(
            "bench tune needs Optuna: pip install 'continual-peft-bench[tune]', or pip install optuna"
        ) from None
    # A line for every trial would stand between ours.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
