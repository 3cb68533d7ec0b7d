"""Ways to forge a result that agrees with itself: an edit of a genuine one, and what must come of it.

The forger knows the suite: key, headline and the hash of the adapters are made anew after each edit, and a
list of checksums that goes with it is placed beside it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmark.row_scores import mean, pack, unpack

Data = dict[str, Any]
ATTESTED = "attested"


@dataclass(frozen=True)
class Forgery:
    """One way to forge.

    Attributes:
        edit: changes the JSON of a genuine result.
        expected: words of the line that refuses it, or `ATTESTED`.
        finish: whether key and headline are made anew afterwards.
        adapters: whether the file of adapters is written anew, under another hash.
        times: whether the run's times are changed too, so that it is no copy by them.
    """

    edit: Callable[[Data], object]
    expected: str
    finish: bool = True
    adapters: bool = True
    times: bool = False


def set_at(path: str, value: Any) -> Callable[[Data], None]:
    """Return an edit that puts a value at a dotted path; numbers are places in lists."""

    def edit(data: Data) -> None:
        *way, last = path.split(".")
        place: Any = data
        for name in way:
            place = place[int(name) if isinstance(place, list) else name]
        place[int(last) if isinstance(place, list) else last] = value

    return edit


def both(*edits: Callable[[Data], object]) -> Callable[[Data], None]:
    """Return an edit that does several, one after another."""

    def edit(data: Data) -> None:
        for each in edits:
            each(data)

    return edit


def raise_scores(data: Data) -> None:
    """Turn every row of the first reading right, and the matrix with it."""
    for cells, packed in zip(*_first(data), strict=True):
        for i, task in enumerate(data["tasks"][: len(cells)]):
            packed[i] = pack([1.0] * task["test"], task["metric"])
            cells[i] = 1.0


def swap_rows(data: Data) -> None:
    """Give the rows of the first cell in another order: the same score, other rows."""
    _, rows = _first(data)
    task = data["tasks"][0]
    rows[0][0] = pack(sorted(unpack(rows[0][0], task["test"], task["metric"])), task["metric"])


def odd_score(data: Data) -> None:
    """State a score that no number of rows gives."""
    matrix, _ = _first(data)
    matrix[0][0] = 0.123456789


def trailing_bits(data: Data) -> None:
    """Set the bits after the last row, which no score stands for."""
    import base64

    _, rows = _first(data)
    packed = bytearray(base64.b64decode(rows[0][0]))
    packed[-1] |= 1
    rows[0][0] = base64.b64encode(bytes(packed)).decode()


def fewer_test_rows(data: Data, count: int = 1) -> None:
    """Keep one test row of each task, which is right."""
    for name in ("trained_head", "class_means", "task_incremental"):
        reading = data["readings"].get(name, {})
        for cells, packed in zip(reading.get("matrix", []), reading.get("rows", []), strict=True):
            for i, task in enumerate(data["tasks"][: len(cells)]):
                if packed[i]:
                    packed[i] = pack([1.0] * count, task["metric"])
                    cells[i] = mean(packed[i], count, task["metric"])
    for task in data["tasks"]:
        task["test"] = count


def regraded(metric: str) -> Callable[[Data], None]:
    """Return an edit that names another metric for every task, and packs the same scores as it would."""

    def edit(data: Data) -> None:
        for reading in data["readings"].values():
            for packed in reading.get("rows", []):
                for i, task in enumerate(data["tasks"][: len(packed)]):
                    if packed[i]:
                        packed[i] = pack(list(unpack(packed[i], task["test"], task["metric"])), metric)
        for task in data["tasks"]:
            task["metric"] = metric

    return edit


def another_preset(data: Data) -> None:
    """Name another backbone with all that belongs to it."""
    from benchmark.registry import BACKBONES

    data["backbone"] = data["provenance"]["backbone_origin"] = "vit-nano"
    data["backbone_weights"] = BACKBONES.load("vit-nano").weights_hash


def one_task_less(data: Data) -> None:
    """Leave the last task out of everything."""
    data["tasks"].pop()
    data["needs_adapter"].pop()
    for reading in data["readings"].values():
        for name in ("matrix", "rows"):
            if reading.get(name):
                reading[name].pop()
    blocks = ((data, ("steps", "forward_equivalents", "report")), (data["provenance"], ("task_order",)))
    for block, names in (
        *blocks,
        (data["parameters"], ("trainable", "head_trainable", "adapters", "active_adapters")),
        (data["timing"], ("train_seconds", "score_seconds", "samples_per_second")),
    ):
        for name in names:
            block[name].pop()
    seconds = data["timing"]
    seconds["total_seconds"] = sum(seconds["train_seconds"]) + sum(seconds["score_seconds"])


def untrained(value: float) -> Callable[[Data], None]:
    """Return an edit that makes it a run with scores of the untrained model, all of one value."""

    def edit(data: Data) -> None:
        data["config"]["zero_shot"] = True
        data["untrained"] = [value] * len(data["tasks"])

    return edit


def rename_method(name: str) -> Callable[[Data], None]:
    """Return an edit that gives the result to another method, with the needs and settings that it has."""

    def edit(data: Data) -> None:
        from dataclasses import asdict

        from benchmark.running.catalogue import load_method

        method = load_method(name)
        data["method"] = name
        data["needs"], data["reference"] = asdict(method.needs), method.reference
        data["config"]["hyperparameters"] = method.Hyperparameters().model_dump(mode="json")

    return edit


def _first(data: Data) -> tuple[list[list[Any]], list[list[str]]]:
    reading = data["readings"]["trained_head"]
    return reading["matrix"], reading["rows"]


def _seed(data: Data) -> None:
    data["seed"] = 7
    data["run"] = None


TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
LATIN_A = "seq-lor\u0430"  # its last letter is Cyrillic

FORGERIES: dict[str, Forgery] = {
    # What it is a result of.
    "a method's homoglyph": Forgery(set_at("method", LATIN_A), "unknown method"),
    "a method in other case": Forgery(set_at("method", "Seq-LoRA"), "unknown method"),
    "a method that is none": Forgery(set_at("method", "best-lora"), "unknown method"),
    "another method, its needs kept as they were": Forgery(set_at("method", "joint"), "it states the needs"),
    "another method, a copy": Forgery(rename_method("o-lora"), "has the adapters or the times"),
    "another method, its times changed": Forgery(rename_method("o-lora"), ATTESTED, times=True),
    "a seed relabelled": Forgery(_seed, "has the adapters or the times"),
    "a seed relabelled, the adapters kept": Forgery(_seed, "adapters", adapters=False, times=True),
    "a seed relabelled, its times changed": Forgery(_seed, ATTESTED, times=True),
    "a negative seed": Forgery(set_at("seed", -1), "its seed is -1"),
    "a run's number": Forgery(set_at("run", 3), "it states to be run 3"),
    "an order that is none": Forgery(set_at("order", "99"), "unknown order '99'"),
    "a stream's homoglyph": Forgery(set_at("stream", "t\u043ey"), "unknown stream"),
    "a stream in other case": Forgery(set_at("stream", "Toy"), "unknown stream"),
    "another stream": Forgery(set_at("stream", "digits"), "cannot learn 'digits'"),
    "a protocol that is none": Forgery(
        both(set_at("protocol", "fast"), set_at("config.protocol.name", "fast")), "unknown protocol"
    ),
    "more epochs": Forgery(set_at("config.protocol.epochs", 40), "is not the registered 'smoke'"),
    "scored on validation rows": Forgery(set_at("config.protocol.score_on", "validation"), "is not the reg"),
    # The method.
    "emptied needs": Forgery(set_at("needs", {}), "it states the needs {}"),
    "a need more": Forgery(set_at("needs.task_id", True), "it states the needs"),
    "no reference": Forgery(set_at("reference", False), "it states reference=False"),
    "a hyper-parameter that is none": Forgery(
        set_at("config.hyperparameters.speed", 1), "hyper-parameters are not valid"
    ),
    "a hyper-parameter of another type": Forgery(
        set_at("config.hyperparameters.learning_rate", "fast"), "hyper-parameters are not valid"
    ),
    "no hyper-parameters": Forgery(set_at("config.hyperparameters", {}), "are not resolved"),
    "a valid hyper-parameter, a copy": Forgery(
        set_at("config.hyperparameters.learning_rate", 0.5), "has the adapters or the times"
    ),
    "a valid hyper-parameter, its times changed": Forgery(
        set_at("config.hyperparameters.learning_rate", 0.5), ATTESTED, times=True
    ),
    "a search that chose something else": Forgery(
        set_at(
            "provenance.tuned",
            {
                "trials": 5,
                "sampler": "grid",
                "pruner": "none",
                "selection": "validation",
                "space": {"learning_rate": [0.9]},
                "values": {"learning_rate": 0.9},
            },
        ),
        "its search chose learning_rate=0.9",
    ),
    # The backbone.
    "a backbone that is none": Forgery(set_at("backbone", "linear-xl"), "unknown backbone"),
    "a backbone's homoglyph": Forgery(set_at("backbone", "l\u0456near"), "unknown backbone"),
    "other weights": Forgery(set_at("backbone_weights", "0" * 64), "have the sha256"),
    "no weights": Forgery(set_at("backbone_weights", ""), "it states nothing"),
    "another origin of the weights": Forgery(
        set_at("provenance.backbone_origin", "example/big"), "does not come from"
    ),
    "another preset with its weights": Forgery(another_preset, "cannot learn 'toy'"),
    # Tasks and rows.
    "one test row": Forgery(fewer_test_rows, "has 1 test rows"),
    "a task less": Forgery(one_task_less, "tasks in these settings"),
    "a renamed task": Forgery(
        both(set_at("tasks.0.name", "easy"), set_at("provenance.task_order.0", "easy")), "should be 'task 01'"
    ),
    "tasks in another order than told": Forgery(
        set_at("provenance.task_order.0", "task 02"), "is not that of"
    ),
    "a class less": Forgery(set_at("tasks.0.classes", ["task 01 class 1"]), "should be 'task 01'"),
    "a class twice": Forgery(set_at("tasks.0.classes", ["task 01 class 1"] * 2), "names a class twice"),
    "no training rows": Forgery(set_at("tasks.0.train", 0), "rows to train on"),
    "fewer training rows": Forgery(set_at("tasks.0.train", 3), "rows to train and validate on"),
    "negative validation rows": Forgery(set_at("tasks.0.validation", -5), "it counts from 0"),
    "a metric that is none": Forgery(regraded("acc-at-5"), "unknown metric"),
    "a metric that grades": Forgery(regraded("rouge-l"), "classes are scored by accuracy"),
    "a metric, the rows as they were": Forgery(set_at("tasks.0.metric", "rouge-l"), "packed scores have"),
    "more tasks in the settings": Forgery(set_at("config.parameters.tasks", 9), "tasks in these settings"),
    "a setting of the stream that is none": Forgery(
        set_at("config.parameters.easy", True), "settings of 'toy' are not valid"
    ),
    # Scores.
    "a score that no rows give": Forgery(odd_score, "but its rows give"),
    "no rows": Forgery(set_at("readings.trained_head.rows", []), "lacks the scores of its test rows"),
    "bits after the last row": Forgery(trailing_bits, "its rows are what no scores give"),
    "a headline alone": Forgery(
        set_at("headline.average_performance", 0.99), "but its matrix gives", finish=False
    ),
    "a metric of one's own": Forgery(set_at("headline.glory", 1.0), "none of the metrics", finish=False),
    "a key of one's own": Forgery(set_at("key", "0" * 16), "its key is 0000", finish=False),
    "scores of the untrained model without a setting": Forgery(
        set_at("untrained", [0.5, 0.5]), "do not go together"
    ),
    "an untrained score that no rows give": Forgery(untrained(0.123456789), "rows cannot give"),
    "all rows right": Forgery(raise_scores, ATTESTED),
    "rows in another order": Forgery(swap_rows, ATTESTED),
    # Counts, times, provenance.
    "negative costs": Forgery(set_at("parameters.on_disk", -1), "it counts from 0"),
    "negative steps": Forgery(set_at("steps.0", -1), "it counts from 0"),
    "negative time": Forgery(set_at("timing.train_seconds.0", -1.0), "it counts from 0"),
    "less memory than none": Forgery(set_at("timing.peak_memory_bytes", -1), "it counts from 0"),
    "steps of too few tasks": Forgery(set_at("steps", [1]), "steps has 1 entries"),
    "trainable numbers of too few tasks": Forgery(set_at("parameters.trainable", [1]), "has 1 entries"),
    "reports of too few tasks": Forgery(set_at("report", [{}]), "report has 1 entries"),
    "more active than learned": Forgery(
        set_at("parameters.active_adapters", [9, 9]), "of its adapters are act"
    ),
    "adapters that grow fewer": Forgery(set_at("parameters.adapters", [5, 1]), "grow fewer"),
    "a total that is no sum": Forgery(set_at("timing.total_seconds", 0.001), "its tasks took"),
    "finished tomorrow": Forgery(set_at("timing.finished", TOMORROW), "yet to come"),
    "finished at no time": Forgery(set_at("timing.finished", "last night"), "no time in ISO 8601"),
    "finished in no zone": Forgery(set_at("timing.finished", "2026-01-01T00:00:00"), "no time zone"),
    "another way of counting": Forgery(set_at("accounting_version", 1), "its accounting has version 1"),
    "fewer steps": Forgery(set_at("steps", [1, 1]), ATTESTED),
    "smaller adapters": Forgery(set_at("parameters.on_disk", 1), ATTESTED),
    "no commit": Forgery(set_at("provenance.commit", None), "its code is unknown"),
    "a changed checkout": Forgery(set_at("provenance.dirty", True), "its code was not that of commit"),
    "another commit": Forgery(set_at("provenance.commit", "a" * 40), ATTESTED),
    "a fingerprint that is none": Forgery(set_at("provenance.data_fingerprint", "f00d"), "is no SHA-256"),
    "other data": Forgery(set_at("provenance.data_fingerprint", "a" * 64), ATTESTED),
    "no hash of the adapters": Forgery(set_at("adapters_sha256", None), "states no hash", adapters=False),
    "a hash that is none": Forgery(set_at("adapters_sha256", "abc"), "states no hash", adapters=False),
    "no versions": Forgery(set_at("provenance.versions", {}), "it names no version of"),
}


def forged(sound: Data, forgery: Forgery) -> Data:
    """Return an edited copy of a genuine result, before key and headline are made anew."""
    data = copy.deepcopy(sound)
    forgery.edit(data)
    if forgery.times:
        seconds = data["timing"]
        seconds["train_seconds"] = [1.01 * second for second in seconds["train_seconds"]]
        seconds["total_seconds"] = sum(seconds["train_seconds"]) + sum(seconds["score_seconds"])
    return data
