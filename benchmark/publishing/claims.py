"""Whether what a result claims is what the registry and its stream know, without reading data.

`contradictions` asks whether a result agrees with itself; a forger can see to that. What is asked here stands
in the code: methods, streams and backbones by exact keys, what a method needs, how an order cuts classes.
What neither can settle is attested, see `ATTESTED`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ValidationError

from benchmark.data.class_orders import permutation
from benchmark.errors import UserError, first_of, unknown
from benchmark.registry import BACKBONES, METHODS
from benchmark.results import ACCOUNTING, Result
from benchmark.running.catalogue import exact_stream, load_method
from benchmark.running.run import Run
from benchmark.scoring.task_metrics import NAMES
from benchmark.stream import LEARNED_BY, Stream

SHA256 = re.compile(r"[0-9a-f]{64}")
ATTESTED = frozenset(
    {
        *("method", "seed", "config.hyperparameters", "readings", "untrained", "tasks", "needs_adapter"),
        *("parameters", "steps", "forward_equivalents", "report", "adapters_sha256", "timing", "provenance"),
    }
)
"""Fields of a result that may hold, within what is checked, what no run gave."""
ATTESTED_SENTENCE = (
    "Attested by whoever ran it, not proved by the file: that this commit, with this method, seed, "
    "settings and data, gave these row scores, row counts, reports, costs and times; `bench score` proves "
    "the last row of scores from the adapters."
)


def claim_errors(result: Result) -> Iterator[str]:
    """Yield, a line each, what a result claims and the registry or its stream contradicts."""
    yield from _counts(result)
    yield from _backbone(result)
    yield from _method(result)
    try:
        stream = exact_stream(result.stream)
    except UserError as error:
        yield str(error)
        return
    yield from _stream(result, stream)
    yield from _order(result, stream)
    yield from _tasks(result, stream)
    yield from _stated_tasks(result, stream)


def _counts(result: Result) -> Iterator[str]:
    """What is so for every run, whatever was learned."""
    counts, seconds, source = result.parameters, result.timing, result.provenance
    if result.accounting_version != ACCOUNTING:
        yield f"its accounting has version {result.accounting_version}, this version counts by {ACCOUNTING}"
    if result.seed < 0:
        yield f"its seed is {result.seed}; seeds are counted from 0"
    if any(later < earlier for earlier, later in pairwise(counts.adapters)):
        yield f"its adapters learned up to each task, {counts.adapters}, grow fewer"
    if any(active > made for active, made in zip(counts.active_adapters, counts.adapters, strict=False)):
        yield f"more of its adapters are active, {counts.active_adapters}, than it learned, {counts.adapters}"
    spent = sum(seconds.train_seconds) + sum(seconds.score_seconds)
    if not math.isclose(seconds.total_seconds, spent, rel_tol=1e-6, abs_tol=1e-3):
        yield f"it took {seconds.total_seconds} seconds, but its tasks took {spent} together"
    if not SHA256.fullmatch(source.data_fingerprint):
        yield f"the fingerprint of its data, '{source.data_fingerprint}', is no SHA-256"
    if source.threads < 1:
        yield f"it ran on {source.threads} threads"
    if absent := sorted({"python", "torch"} - set(source.versions)):
        yield f"it names no version of {', '.join(absent)}"
    found = source.tuned
    if found is not None:
        if found.trials < 1:
            yield f"its values were tuned in {found.trials} trials"
        given = result.config.get("hyperparameters", {})
        for name, value in found.values.items():
            if name not in given or given[name] != value:
                yield f"its search chose {name}={value}, but it ran with {given.get(name, 'none')}"


def _backbone(result: Result) -> Iterator[str]:
    """A preset by its key with the weights that belong to it, or a folder's model by its weights."""
    own = str(result.config.get("backbone_weights", ""))
    if result.backbone not in BACKBONES.entries:
        if not own or not result.backbone.isascii():
            yield str(unknown("backbone", result.backbone, BACKBONES.names(), BACKBONES.command))
        elif own != result.backbone_weights or not SHA256.fullmatch(own):
            yield f"its weights are {result.backbone_weights or 'not stated'}, but its settings name {own}"
        return
    preset = BACKBONES.load(result.backbone)
    pinned = preset.weights_hash
    if own:
        yield f"its settings name weights for '{result.backbone}', which has its own"
    if pinned is not None and result.backbone_weights != pinned:
        stated = result.backbone_weights or "nothing"
        yield f"the weights of '{result.backbone}' have the sha256 {pinned}, it states {stated}"
    elif not SHA256.fullmatch(result.backbone_weights):
        yield f"it states no hash of the weights of '{result.backbone}'"
    origins = {result.backbone, *([preset.hub_id] if preset.hub_id else [])}
    source = result.provenance
    if source.backbone_origin not in origins:
        yield f"'{result.backbone}' does not come from '{source.backbone_origin}'"
    if preset.revision and source.backbone_revision != preset.revision:
        yield f"'{result.backbone}' is of revision {preset.revision}, it states {source.backbone_revision}"


def _method(result: Result) -> Iterator[str]:
    """The method by its exact key, its hyper-parameters, and what its code says that it needs."""
    # The key letter by letter: a look-alike would be a row of its own beside the real one.
    if result.method not in METHODS.entries:
        yield str(unknown("method", result.method, METHODS.names(), METHODS.command))
        return
    try:
        run = Run.of(result)
    except UserError:
        return  # reported by `contradictions`
    try:
        method = load_method(result.method)
    except UserError as error:
        yield str(error)
        return
    yield from _settings("hyper-parameters", method.Hyperparameters, run.hyperparameters)
    # A head that keeps something of old classes asks for statistics, whatever the method asks for.
    kept = run.protocol.head == "nearest-class-mean" or run.protocol.alignment > 0
    needs = asdict(method.needs)
    needs["stored_statistics"] = needs["stored_statistics"] or kept
    if result.needs != needs:
        yield f"it states the needs {_set(result.needs)}, but '{result.method}' has {_set(needs)}"
    reference = method.reference and not run.protocol.alignment
    if result.reference != reference:
        yield f"it states reference={result.reference}, but of '{result.method}' that is {reference}"
    if result.backbone in BACKBONES.entries and BACKBONES.load(result.backbone).kind not in method.kinds:
        kind = BACKBONES.load(result.backbone).kind
        yield f"'{result.method}' does not work on '{result.backbone}', a backbone of kind {kind}"


def _stream(result: Result, stream: Stream) -> Iterator[str]:
    if result.backbone in BACKBONES.entries:
        kind = BACKBONES.load(result.backbone).kind
        if kind not in LEARNED_BY[stream.kind]:
            yield f"a backbone of kind {kind} cannot learn '{stream.name}', which is {stream.kind}"
    parameters = result.config.get("parameters", {})
    if stream.parameters is not None:
        yield from _settings(f"settings of '{stream.name}'", stream.parameters, parameters)
    elif parameters:
        yield f"'{stream.name}' has no settings of its own, it states {', '.join(sorted(parameters))}"


def _order(result: Result, stream: Stream) -> Iterator[str]:
    """An order by value: the tasks as listed, or the permutation that its seed gives."""
    if result.order not in stream.orders:
        yield str(unknown("order", result.order, stream.orders, f"bench list orders --stream {stream.name}"))
        return
    run = stream.run_index(result.order, result.seed)
    if result.run != run:
        yield f"it states to be run {result.run}, but order {result.order} and seed {result.seed} make {run}"
    names = [task.name for task in result.tasks]
    if result.provenance.task_order != names:
        yield f"its order of tasks, {result.provenance.task_order}, is not that of its tasks, {names}"
    value, classes = stream.orders[result.order], result.provenance.class_order
    if isinstance(value, tuple):
        if names != list(value):
            expected, found = ", ".join(value), ", ".join(names)
            yield f"order {result.order} of '{stream.name}' is {expected}; its tasks are {found}"
    elif classes is not None:
        # Numbered tasks are slices of the permutation; others, as alphabets, are permuted whole.
        numbered = names == [f"task {number:02d}" for number in range(1, len(names) + 1)]
        if (
            classes != permutation(len(classes), value)
            if numbered
            else sorted(classes) != [*range(len(classes))]
        ):
            yield f"its classes stand in another order than order {result.order} of '{stream.name}' gives"
        if len(classes) != sum(len(task.classes) for task in result.tasks):
            yield f"its order names {len(classes)} classes, its tasks have others in number"


def _tasks(result: Result, stream: Stream) -> Iterator[str]:
    """Each task's classes, rows and metric."""
    names = [task.name for task in result.tasks]
    if len(set(names)) < len(names):
        yield f"two of its tasks have one name: {', '.join(names)}"
    for task in result.tasks:
        if task.metric not in NAMES:
            yield str(unknown("metric", task.metric, NAMES, "bench list --stream " + stream.name))
        elif stream.kind in ("vector", "image") and task.metric != "accuracy":
            yield f"'{task.name}' is scored by {task.metric}; classes are scored by accuracy"
        if len(set(task.classes)) < len(task.classes):
            yield f"'{task.name}' names a class twice"
        if stream.kind != "text-to-text" and not task.classes:
            yield f"'{task.name}' has no classes"
        if task.train < 1:
            yield f"'{task.name}' has {task.train} rows to train on"
        for split, rows in (("train", task.train), ("test", task.test)):
            limit = result.protocol_settings.get(f"{split}_limit")
            if isinstance(limit, int) and rows > limit:
                yield f"'{task.name}' has {rows} {split} rows, more than {split}_limit={limit}"


def _stated_tasks(result: Result, stream: Stream) -> Iterator[str]:
    """All that the stream states of its tasks without data."""
    if stream.stated is None or result.order not in stream.orders:
        return
    try:
        stated = stream.stated(result.order, result.config.get("parameters", {}))
    except (ValidationError, UserError) as error:
        yield f"its tasks cannot be worked out: {str(error).splitlines()[0]}"
        return
    if len(stated) != len(result.tasks):
        yield f"'{stream.name}' has {len(stated)} tasks in these settings, it has {len(result.tasks)}"
        return
    limits = result.protocol_settings
    for known, task in zip(stated, result.tasks, strict=True):
        if (task.name, tuple(task.classes)) != (known.name, known.classes):
            found, expected = ", ".join(task.classes), ", ".join(known.classes)
            yield f"'{task.name}' ({found}) should be '{known.name}' ({expected})"
        if known.test is not None and task.test != known.test and limits.get("test_limit") is None:
            yield f"'{task.name}' has {task.test} test rows, '{stream.name}' has {known.test}"
        rows = task.train + task.validation
        if known.train is not None and rows != known.train and limits.get("train_limit") is None:
            yield f"'{task.name}' has {rows} rows to train and validate on, '{stream.name}' has {known.train}"


def _settings(what: str, model: type[BaseModel], given: Mapping[str, Any]) -> Iterator[str]:
    """A result holds every setting, resolved, as the model writes it."""
    try:
        full = model.model_validate(given).model_dump(mode="json")
    except ValidationError as error:
        yield f"its {what} are not valid: {first_of(error, 'settings')}"
        return
    changed = sorted(name for name in full if name not in given or given[name] != full[name])
    if changed:
        yield f"its {what} are not resolved: {', '.join(changed)}"


def _set(needs: Mapping[str, bool]) -> str:
    return "{" + ", ".join(f"{name}={needed}" for name, needed in sorted(needs.items())) + "}"
