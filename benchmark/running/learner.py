"""One run from data to result: learn each task, score, save, and continue where a kill left off."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmark.data.batches import Rows
from benchmark.data.scoring_checks import remarks
from benchmark.method import Method, Phase
from benchmark.models.task_model import TaskModel
from benchmark.results import (
    CLASS_MEANS,
    TRAINED_HEAD,
    Parameters,
    Result,
    TaskFacts,
    Timing,
    active_adapter_reduction,
    atomic_write,
    write,
)
from benchmark.row_scores import unpack
from benchmark.running.building import build, prepare_device
from benchmark.running.catalogue import is_registered_here, load_stream
from benchmark.running.checkpoint import Checkpoint, Progress, TaskRecord, pack
from benchmark.running.events import Callback, RunStarted, StepDone, TaskDone
from benchmark.running.histories import Histories, open_histories
from benchmark.running.method_code import hash_method
from benchmark.running.provenance import describe, finish_time, git_state, peak_memory
from benchmark.running.readings import (
    Reader,
    RowScores,
    find_scored_examples,
    pack_stage,
    readings_of,
    visible_task_id,
)
from benchmark.running.run import Run
from benchmark.running.selection import BestEpoch
from benchmark.running.task_loop import learn_task
from benchmark.running.training import evaluate, train
from benchmark.scoring.metrics import headline, mean_of_seen
from benchmark.stream import Examples, LoadedStream


class Learner:
    """Executes one run; see `learn_all`."""

    def __init__(
        self,
        run: Run,
        loaded: LoadedStream,
        fingerprint: str,
        path: Path,
        device: str,
        callback: Callback,
        gpus: int = 1,
        shared: Path | None = None,
    ) -> None:
        """Build model and method.

        Args:
            loaded: the stream's tasks with the rows this run may see.
            gpus: that the run computes on.
            shared: folder of what runs with equal histories share; None: this one shares nothing.
        """
        self.run, self.loaded, self.fingerprint = run, loaded, fingerprint
        self.path, self.callback = path, callback
        # Now and not at the end: the files may change while the loaded code runs on.
        here = is_registered_here(run)
        self.source = (None, None) if here else git_state()
        self.method_sha256 = None if here else hash_method(run.method)
        self.device, self.gpus = prepare_device(device, gpus), gpus
        kind = load_stream(run.stream_reference).kind
        self.method, self.backbone = build(run, loaded.tasks, self.device, kind, gpus)
        self.remarks = remarks(loaded.tasks, run.protocol, self.backbone)
        self.checkpoint = Checkpoint(path)
        self.progress = Progress(
            key=run.key(fingerprint), fingerprint=fingerprint, method_sha256=self.method_sha256
        )
        self.reader = Reader(self.method)
        self.histories: Histories | None = None
        if shared is not None:
            self.histories = open_histories(
                *(shared, run, self.method, fingerprint, self.backbone, self.source, self.device)
            )
        self._scored_rows: dict[int, Rows] = {}

    @property
    def task_model(self) -> TaskModel:
        """The method's task model."""
        return self.method.task_model

    def learn_all(self) -> Result:
        """Learn every task that is not finished yet, write the result and return it."""
        saved = self.checkpoint.load(self.progress.key, self.method_sha256)
        if saved is not None:
            self.progress, state = saved
            self.reader.blank |= self.progress.blank
            self.method.restore(state)
        self.callback(RunStarted(self.run, len(self.loaded.tasks), self.remarks))
        if self.run.zero_shot and not self.progress.finished:
            self.progress.untrained = self.score_untrained()
        for t in range(self.progress.finished, len(self.loaded.tasks)):
            self.progress.tasks.append(self.learn(t))
            self.checkpoint.save(self.progress, pack(self.method.state()))
            self._report(t)
        return self._finish()

    def learn(self, t: int) -> TaskRecord:
        """Learn and score task t, and return what came of it."""
        started, total = time.perf_counter(), len(self.loaded.tasks)
        passed = self.backbone.passes.total
        if self.histories is not None:
            self.histories.begin(t)
        learned = learn_task(
            self.method,
            t,
            lambda i: self.task_model.encode(self.loaded.tasks[i], self.loaded.tasks[i].train),
            self.run.seed,
            partial(self._train_phase, t),
            lambda share: self.callback(StepDone(self.run, t, (t + share) / total)),
        )
        counted, spares = self.method.accounting(), self.method.spares
        # Of every task that was learned, with steps or by statistics alone.
        report = self.method.report(t) if self.method.training_tasks(t) else {}
        passed = self.backbone.passes.total - passed
        trained = time.perf_counter()
        spared = self.histories.saved if self.histories is not None else 0.0
        readings, score_seconds = self._score_once(t)
        scores = readings[TRAINED_HEAD]["scores"]
        return TaskRecord(
            steps=learned.steps,
            trainable=learned.trainable,
            head_trainable=learned.head_trainable,
            # What a method chose not to learn it has saved.
            adapters=max(counted.adapters, t + 1) if spares else counted.adapters,
            active=counted.active,
            report=drop_repeated(report, [task.report for task in self.progress.tasks]),
            forward_equivalents=round(passed, 3),
            train_seconds=trained - started + spared,
            samples_per_second=learned.rows_seen / (trained - started + spared),
            scores=[*scores, *[None] * (total - len(scores))],
            readings=readings,
            score_seconds=score_seconds,
        )

    def _train_phase(
        self,
        t: int,
        method: Method,
        phase: Phase,
        rows: Rows,
        place: tuple[object, ...],
        step_done: Callable[[float], None],
    ) -> int:
        """Train a phase as `train` does; of task t's main phase the epoch that is selected counts."""
        passes, started = self.backbone.passes, time.perf_counter()
        if self.histories is not None and (known := self.histories.take_phase(phase)) is not None:
            passes.add(known["passes"])
            step_done(1.0)
            return int(known["steps"])
        passed = passes.total
        best = self._selection(phase, t)
        steps = train(method, phase, rows, place, step_done, best.epoch_done if best else None)
        if best is not None:
            best.restore()
        if self.histories is not None:
            self.histories.keep_phase(phase, steps, passes.total - passed, time.perf_counter() - started)
        return steps

    def _selection(self, phase: Phase, t: int) -> BestEpoch | None:
        """Return what chooses the epoch of task t that counts; None where it is the last."""
        rule = self.run.protocol.selection
        if rule == "last" or not phase.main:
            return None
        scores = []
        for i in self.method.training_tasks(t):
            task = self.loaded.tasks[i]
            examples = task.test if rule == "paper" else task.validation
            assert examples is not None
            rows = self.task_model.encode(task, examples)
            scores.append(partial(evaluate, self.method, i, rows, examples))
        return BestEpoch(phase, scores)

    def _score_once(self, t: int) -> tuple[dict[str, dict[str, list[Any]]], float]:
        """Return row t of every reading and the seconds it took, now or where the same state was scored."""
        started, histories = time.perf_counter(), self.histories
        if histories is not None and (known := histories.take_scores(t)) is not None:
            self.progress.blank = self.reader.blank = known["blank"]
            return known["readings"], histories.saved
        readings = self.score(t)
        seconds = time.perf_counter() - started
        if histories is not None:
            histories.keep_scores(t, {"readings": readings, "blank": self.reader.blank}, seconds)
        return readings, seconds

    def score(self, t: int) -> dict[str, dict[str, list[Any]]]:
        """Return row t of every reading, see `pack_stage`; a step that trained nothing is not scored."""
        scores: dict[int, RowScores] = {}
        if self.method.training_tasks(t):
            self.reader.take_means(range(t + 1))
            for i in self._tasks_to_score(t):
                scores[i] = self._take_over(t, i) or self.reader.read(
                    i, self._encode_scored(i), self._pick_scored_examples(i), seen=i <= t
                )
        self.progress.blank = self.reader.blank
        metrics = [self.task_model.metric(task) for task in self.loaded.tasks]
        return pack_stage(scores, metrics, self.reader.blank)

    def _tasks_to_score(self, t: int) -> list[int]:
        """Return the tasks that are scored after task t."""
        count = len(self.loaded.tasks)
        every = self.run.protocol.score_at == "every" or t == count - 1
        return [*range(0 if every else t, t + 1), *(range(t + 1, count) if self.run.zero_shot else ())]

    def _take_over(self, t: int, i: int) -> RowScores | None:
        """Return the row scores on task i where nothing since can have changed them; None where it may."""
        if not self.method.settled or visible_task_id(self.method, i) is None:
            return None
        if CLASS_MEANS not in self.reader.blank:
            # Classes of later tasks compete there.
            return None
        protocol, classes = self.run.protocol, set(self.loaded.tasks[i].classes)
        later = self.loaded.tasks[i + 1 : t + 1]
        shared = any(classes & set(task.classes) for task in later)
        retrained = protocol.loss == "full" or protocol.alignment > 0 or shared
        if retrained and self.task_model.head_size():
            return None
        rows, metric = len(self._pick_scored_examples(i)), self.task_model.metric(self.loaded.tasks[i])
        for record in reversed(self.progress.tasks[i:t]):
            if record.scores[i] is not None:
                packed = {name: reading["rows"][i] for name, reading in record.readings.items()}
                return {name: unpack(text, rows, metric).tolist() for name, text in packed.items()}
        return None

    def score_untrained(self) -> list[float | None]:
        """Return the score on each task of the frozen model; 0 where there is no class yet to answer with."""
        tasks = range(len(self.loaded.tasks))
        if not self.task_model.can_answer:
            return [0.0 for _ in tasks]
        answer = self.task_model.predict
        return [
            evaluate(self.method, i, self._encode_scored(i), self._pick_scored_examples(i), answer)
            for i in tasks
        ]

    def _pick_scored_examples(self, i: int) -> Examples:
        examples = find_scored_examples(self.loaded.tasks[i], self.run.protocol.score_on)
        assert examples is not None
        return examples

    def _encode_scored(self, i: int) -> Rows:
        if i not in self._scored_rows:
            self._scored_rows[i] = self.task_model.encode(self.loaded.tasks[i], self._pick_scored_examples(i))
        return self._scored_rows[i]

    def _report(self, t: int) -> None:
        task = self.progress.tasks[t]
        seconds = task.train_seconds + task.score_seconds
        mean = mean_of_seen(task.scores, t)
        name = self.loaded.tasks[t].name
        self.callback(TaskDone(self.run, t, len(self.loaded.tasks), name, task.scores[t], mean, seconds))

    def _finish(self) -> Result:
        adapters = pack(self.method.state(), self.progress.key)
        result = self._result(hashlib.sha256(adapters).hexdigest())
        # Adapters first: a result on disk means that everything it speaks of is there.
        atomic_write(self.path.with_suffix(".safetensors"), adapters)
        write(result, self.path)
        self.checkpoint.remove()
        return result

    def _result(self, adapters: str) -> Result:
        progress, run = self.progress, self.run
        facts = [self._facts(i) for i in range(len(self.loaded.tasks))]
        return Result(
            key=progress.key,
            method=run.method,
            stream=run.stream,
            order=run.order,
            seed=run.seed,
            run=load_stream(run.stream_reference).run_index(run.order, run.seed),
            backbone=run.backbone,
            backbone_weights=self.backbone.weights_hash,
            protocol=run.protocol.name,
            config=run.config(),
            needs=self._needs(),
            # With something added to it a method is no longer what others are measured against.
            reference=self.method.reference and not run.protocol.alignment,
            tasks=facts,
            needs_adapter=list(self.loaded.needs_adapter),
            readings=readings_of([task.readings for task in progress.tasks], progress.blank),
            untrained=progress.untrained,
            headline=headline(progress.matrix, [task.test for task in facts]),
            parameters=self._parameters(),
            steps=[task.steps for task in progress.tasks],
            forward_equivalents=[task.forward_equivalents for task in progress.tasks],
            report=[task.report for task in progress.tasks],
            adapters_sha256=adapters,
            provenance=describe(
                *(self.loaded, self.fingerprint, self.backbone, self.device, self.source, run.tuned),
                *(self.gpus, self.method_sha256),
            ),
            timing=self._timing(),
        )

    def _needs(self) -> dict[str, bool]:
        """Return what the method asks for; a head that keeps something of old classes asks for statistics."""
        needs, kept = asdict(self.method.needs), self.task_model.auxiliary_bytes() > 0
        return needs | {"stored_statistics": needs["stored_statistics"] or kept}

    def _facts(self, i: int) -> TaskFacts:
        task = self.loaded.tasks[i]
        return TaskFacts(
            name=task.name,
            classes=list(task.classes),
            train=len(task.train),
            validation=len(task.validation or ()),
            test=len(self._pick_scored_examples(i)),
            metric=self.task_model.metric(task),
        )

    def _parameters(self) -> Parameters:
        counted, tasks = self.method.accounting(), self.progress.tasks
        adapters, active = [task.adapters for task in tasks], [task.active for task in tasks]
        return Parameters(
            trainable=[task.trainable for task in tasks],
            head_trainable=[task.head_trainable for task in tasks],
            on_disk=counted.stored,
            in_memory=counted.resident,
            head=self.task_model.head_size(),
            backbone=self.backbone.size,
            auxiliary_bytes=counted.auxiliary_bytes + self.task_model.auxiliary_bytes(),
            adapters=adapters,
            active_adapters=active,
            active_adapter_reduction=active_adapter_reduction(adapters, active),
            passes_per_prediction=counted.passes_per_prediction,
        )

    def _timing(self) -> Timing:
        tasks = self.progress.tasks
        train_seconds = [task.train_seconds for task in tasks]
        score_seconds = [task.score_seconds for task in tasks]
        return Timing(
            finished=finish_time(),
            total_seconds=sum(train_seconds) + sum(score_seconds),
            train_seconds=train_seconds,
            score_seconds=score_seconds,
            samples_per_second=[task.samples_per_second for task in tasks],
            peak_memory_bytes=peak_memory(self.device, self.gpus),
        )


def drop_repeated(report: dict[str, Any], before: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what a report says that no report before it has said last, so that each fact is written once."""
    said: dict[str, Any] = {}
    for earlier in before:
        said |= earlier
    return {name: value for name, value in report.items() if name not in said or said[name] != value}
