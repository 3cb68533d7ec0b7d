"""Results made up for tests: complete, valid, and different only where a test says so."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.results import (
    TRAINED_HEAD,
    Parameters,
    Provenance,
    Reading,
    Result,
    TaskFacts,
    Timing,
    Tuned,
    read,
    to_json,
    write,
)
from benchmark.row_scores import pack as pack_rows
from benchmark.running.run import Run
from benchmark.scoring.metrics import headline

TASKS = ("apples", "pears", "plums")


STANDARD = Protocol(name="standard", source="made up", backbone="seed")


def matrix(last: float, tasks: int = 3, first: float = 0.9) -> list[list[float | None]]:
    """Return a lower triangle: `first` on the diagonal, `last` on everything learned before."""
    return [[first if i == t else last if i < t else None for i in range(tasks)] for t in range(tasks)]


def result(
    method: str = "alpha",
    seed: int = 0,
    order: str = "forward",
    last: float = 0.6,
    *,
    scores: list[list[float | None]] | None = None,
    names: tuple[str, ...] = TASKS,
    protocol: Protocol | None = None,
    hyperparameters: dict[str, Any] | None = None,
    parameters: dict[str, Any] | None = None,
    **changes: Any,
) -> Result:
    """Return one run; `changes` replace fields of the result."""
    tasks = len(names)
    scores = matrix(last, tasks) if scores is None else scores
    used = protocol or Protocol(name="tiny", source="made up", backbone="seed")
    facts = [
        TaskFacts(name=n, classes=["a", "b"], train=8, validation=2, test=10, metric="accuracy")
        for n in names
    ]
    fields: dict[str, Any] = {
        "key": "",
        "method": method,
        "stream": "orchard",
        "order": order,
        "seed": seed,
        "backbone": "seed",
        "protocol": used.name,
        "config": {
            "protocol": used.model_dump(mode="json"),
            "hyperparameters": hyperparameters or {"lr": 0.1},
            "parameters": parameters or {},
            "zero_shot": False,
        },
        "needs": {"task_id": False, "rehearsal": False, "stored_statistics": False},
        "reference": False,
        "tasks": facts,
        "readings": readings(scores),
        "headline": headline(scores, [10] * tasks),
        "parameters": counts(tasks),
        "steps": [4] * tasks,
        "forward_equivalents": [12.0] * tasks,
        "report": [{"kept": True} for _ in names],
        "adapters_sha256": "0" * 64,
        "provenance": provenance(names),
        "timing": timing(tasks),
    }
    made = Result(**{**fields, **changes})
    return made if "key" in changes else keyed(made)


def readings(scores: list[list[float | None]]) -> dict[str, Reading]:
    """Return a result's first reading, without row scores; rows of the matrix end with their last score."""
    rows = [row[: 1 + max((i for i, x in enumerate(row) if x is not None), default=-1)] for row in scores]
    return {TRAINED_HEAD: Reading(matrix=rows)}


def with_rows(made: Result) -> Result:
    """Return a result with row scores from which its matrix follows; scores are tenths, of 10 rows."""
    kept = {}
    for name, reading in made.readings.items():
        rows = [
            [
                "" if x is None else pack_rows([1.0] * round(10 * x) + [0.0] * round(10 - 10 * x), "accuracy")
                for x in row
            ]
            for row in reading.matrix
        ]
        kept[name] = reading.model_copy(update={"rows": rows})
    return made.model_copy(update={"readings": kept})


def keyed(made: Result) -> Result:
    """Return a result with the key that its settings and data give; as it is where they name no run."""
    with suppress(UserError):
        made.key = Run.of(made).key(made.provenance.data_fingerprint)
    return made


def counts(tasks: int = 3, active: int | None = None) -> Parameters:
    active = tasks if active is None else active
    return Parameters(
        trainable=[1200] * tasks,
        head_trainable=[20] * tasks,
        on_disk=1200 * tasks,
        in_memory=1200 * tasks,
        head=60,
        backbone=100_000,
        auxiliary_bytes=2048,
        adapters=list(range(1, tasks + 1)),
        active_adapters=[min(t + 1, active) for t in range(tasks)],
        active_adapter_reduction=1 - active / tasks,
    )


def provenance(names: tuple[str, ...] = TASKS, **changes: Any) -> Provenance:
    fields: dict[str, Any] = {
        "versions": {"torch": "2.0", "python": "3.11"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "dirty": False,
        "data_origin": "a basket",
        "data_fingerprint": "f00d",
        "data_revisions": {"basket": "r1"},
        "backbone_origin": "example/seed",
        "backbone_revision": "cafe",
        "device": "cpu",
        "threads": 1,
        "dtype": "float32",
        "class_order": None,
        "task_order": list(names),
    }
    return Provenance(**{**fields, **changes})


def tuned(trials: int = 8) -> Tuned:
    """Return how a search chose the values that a result of `result` has."""
    values: dict[str, Any] = {"lr": 0.1}
    return Tuned(
        trials=trials,
        sampler="grid",
        pruner="none",
        selection="validation",
        space={"lr": [0.1]},
        values=values,
    )


def reference_rows(runs: int = 5, floor: float = 0.45, **changes: Any) -> list[Result]:
    """Return tuned runs of the two ends: one adapter trained on every task (AP 60 %), all at once (90 %)."""
    ends = []
    for seed in range(runs):
        searched = provenance(tuned=tuned())
        single = counts()
        single.adapters = [1, 1, 1]
        one = result("floor", seed, last=floor, reference=True, provenance=searched, **changes)
        ends.append(one.model_copy(update={"parameters": single}))
        joint = [[None] * 3, [None] * 3, [0.9, 0.9, 0.9]]
        needs = {"task_id": False, "rehearsal": True, "stored_statistics": False}
        ends.append(
            result("all", seed, scores=joint, reference=True, needs=needs, provenance=searched, **changes)
        )
    return ends


def headroom_rows(joint: float = 0.8, searched: bool = True, **changes: Any) -> list[Result]:
    """Return five runs of joint, frozen, ncm and linear-probe: 3 tasks of 5 classes each, chance 1/15."""
    made = []
    for seed in range(5):
        for method, score in {"joint": joint, "frozen": 0.3, "ncm": 0.5, "linear-probe": 0.4}.items():
            source = provenance(tuned=tuned() if searched else None)
            scores = [[None] * 3, [None] * 3, [score] * 3]
            one = result(
                *(method, seed),
                scores=scores,
                reference=method != "ncm",
                provenance=source,
                **{"protocol": STANDARD, **changes},
            )
            tasks = [
                task.model_copy(update={"classes": [f"{t}.{c}" for c in range(5)]})
                for t, task in enumerate(one.tasks)
            ]
            made.append(one.model_copy(update={"tasks": tasks}))
    return made


def timing(tasks: int = 3, seconds: float = 12.0) -> Timing:
    return Timing(
        finished="2025-01-01T00:00:00Z",
        total_seconds=seconds,
        train_seconds=[1.0] * tasks,
        score_seconds=[1.0] * tasks,
        samples_per_second=[8.0] * tasks,
        peak_memory_bytes=1_000_000,
    )


def save(root: Path, *results: Result) -> list[Path]:
    """Write results where the leaderboard looks for them, and return the paths."""
    paths = []
    for number, run in enumerate(results):
        name = f"{run.method}-{run.order}-{run.seed}-{number}.json"
        paths.append(root / "results" / run.stream / run.protocol / name)
        write(run, paths[-1])
    return paths


def keep_adapters(path: Path, tasks: int) -> None:
    """Write a stack of adapters beside a result: task t has rows t and t + 1, and columns 0 and 1."""
    from safetensors.numpy import save_file

    eye = np.eye(6, dtype=np.float32)
    state = {
        "stack.frozen_tasks": np.arange(tasks),
        "stack.frozen_ranks": np.full(tasks, 2),
        "stack.current_task": np.array(-1),
        "stack.q.frozen.lora_A": np.concatenate([eye[t : t + 2] for t in range(tasks)]),
        "stack.q.frozen.lora_B": np.concatenate([eye[:, :2]] * tasks, axis=1),
    }
    save_file(state, path.with_suffix(".safetensors"), {"run": read(path).key})


def many(
    root: Path,
    streams: int = 8,
    methods: int = 25,
    orders: int = 5,
    seeds: int = 5,
    tasks: int = 10,
    rows: int = 10**6,
) -> int:
    """Write a result for every combination, and return how many; scores are drawn, the same on each call.

    Among the methods of a stream are both ends of the gap, and three that keep old data.

    Args:
        rows: of which a score is a share; where they are few, many scores are equal.
    """
    drawn = np.random.default_rng(0)
    for stream in range(streams):
        names = tuple(f"fruit {stream}.{task}" for task in range(tasks))
        for method in range(methods):
            skill = drawn.uniform(0.3, 0.7)
            needs = {"task_id": False, "rehearsal": 0 < method < 5, "stored_statistics": False}
            for order in range(orders):
                for seed in range(seeds):
                    last = np.clip(skill + drawn.normal(0, 0.05, (tasks, tasks)), 0, 1)
                    last = np.round(rows * last) / rows
                    scores: list[list[float | None]] = [
                        [float(last[t, i]) if i <= t else None for i in range(tasks)] for t in range(tasks)
                    ]
                    if method == 1:
                        scores[:-1] = [[None] * tasks] * (tasks - 1)
                        scores[-1] = [0.9 + 0.1 * float(value) for value in last[-1]]
                    made = result(
                        f"method-{method:02}",
                        seed,
                        f"{order + 1}",
                        names=names,
                        scores=scores,
                        stream=f"orchard-{stream}",
                        needs=needs,
                        reference=method < 2,
                    )
                    if method == 0:
                        made.parameters.adapters = [1] * tasks
                        made.parameters.active_adapters = [1] * tasks
                    place = root / "results" / made.stream / made.protocol / f"{made.key}.json"
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(to_json(made.model_dump(mode="json")))
    return streams * methods * orders * seeds


def stream_file(backbone: str, name: str = "things") -> str:
    """Return a file that describes a stream over `things.csv`: a task for each value of its `task`."""
    return f"""
name = "{name}"
title = "Things"
kind = "text-classification"
licence = "none"
[table]
source = {{ path = "things.csv" }}
columns = {{ task = "task", split = "split", text = "text", label = "label" }}
[protocol.smoke]
backbone = "{backbone}"
validation = 0.0
"""
