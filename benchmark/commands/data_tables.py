"""What `bench data` prints: where streams come from, what one is, and what was found in its rows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.data.checks import validation_errors
from benchmark.data.data_errors import DataError, InvalidData
from benchmark.data.files import data_dir
from benchmark.data.hub import Hub, HubSet
from benchmark.errors import UserError, unknown
from benchmark.registry import STREAMS
from benchmark.running.catalogue import load_stream
from benchmark.running.plan import (
    find_streams,
    match_orders,
    match_protocol,
    require_preset_learns,
    resolve_backbone,
)
from benchmark.running.preflight import missing
from benchmark.stream import Request, Stream
from benchmark.text_table import TableFormat, text_table

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.data.verification import Report
    from benchmark.stream import LoadedStream, Task

MOST_ROWS = 10
MOST_CLASSES = 12
PROMPT_CHARACTERS = 1000


def listing(folder: Path | None, form: TableFormat | None = None) -> str:
    """Return every stream with where its rows would come from now; nothing is read, nobody is asked.

    Raises:
        UserError: the data folder does not exist.
    """
    known = data_dir(folder)
    rows = []
    for key, entry in STREAMS.entries.items():
        if entry.distribution is not None:
            rows.append((key, f"a plug-in of {entry.distribution}, not loaded", ""))
            continue
        stream = load_stream(key)
        rows.append((key, origin(stream, known), stream.licence))
    if form is not None:
        import pandas as pd

        from benchmark.publishing.paper_tables import write_frame

        return write_frame("Streams", pd.DataFrame(rows, columns=["stream", "data", "licence"]), form)
    width = max(len(key) for key, _, _ in rows)
    indent = f"\n  {'':<{width}}  "
    lines = [
        f"  {key:<{width}}  {where}{f'{indent}licence: {licence}' if licence else ''}"
        for key, where, licence in rows
    ]
    return "\n".join([f"data folder: {known or 'none'}", *lines])


def origin(stream: Stream, folder: Path | None) -> str:
    """Return where a stream's rows would come from now, in words."""
    sources = stream.sources
    if sources.bundled:
        return f"bundled: {sources.bundled}"
    if folder is not None:
        for layout in sources.layouts:
            if layout.find(folder) is not None:
                return f"found: {layout.origin}"
    hub = Hub(folder, "")
    names = [
        f"{set_name(one)}{' (in the data folder)' if hub.folder(one) else ''}"
        for one in dict.fromkeys(sources.hub)
    ]
    if names:
        return f"the hub: {', '.join(names)}"
    if (wanted := missing(stream, folder)) is not None:
        return f"missing: {wanted.removeprefix('it ')}"
    return "where its rows come from is not stated"


def set_name(one: HubSet) -> str:
    """Return a hub set's name as it is written, with its configuration."""
    config = f" {one.config}" if one.config else ""
    return f"{one.identifier}{config}{' (id not checked)' if one.recalled else ''}"


def choose(
    given: str, order: str | None, protocol: str | None, folder: Path | None, settings: Iterable[str]
) -> tuple[Stream, Request]:
    """Return one stream and the request for its rows.

    Args:
        given: a key or a TOML file.
        order: one of its orders; None: the first.
        protocol: one of its protocols; None: the first.
        folder: the data folder; None for the variable.
        settings: `key=value` texts for the stream's own settings.

    Raises:
        UserError: something is unknown, or names several.
    """
    references = list(find_streams(given).values())
    if len(references) > 1:
        raise UserError(f"'{given}' means {len(references)} streams; give one")
    stream = load_stream(references[0])
    orders = match_orders(stream, references[0], order)
    if len(orders) > 1:
        raise UserError(f"--order '{order}' means {len(orders)} orders; give one")
    used = match_protocol(stream, references[0], protocol)
    parameters = _parameters(stream, given, used.name, settings)
    request = Request(orders[0], 0, used, data_dir(folder), parameters)
    return stream, request


def _parameters(stream: Stream, given: str, protocol: str, settings: Iterable[str]) -> Any:
    from benchmark.settings import key_and_value, refine

    command = f"bench list --stream {given}"
    fields = stream.parameters.model_fields if stream.parameters else {}
    texts = {}
    for text in settings:
        key, value = key_and_value(text, command)
        name = key.removeprefix("stream.")
        if name not in fields:
            raise unknown(f"setting of the stream {given}", name, fields, command)
        texts[name] = value
    # What goes with the protocol, as a run has it: else another stream would be looked at than is learned.
    base = stream.published.get(protocol, {})
    return refine(stream.parameters, base, texts, given) if stream.parameters else None


def examine(
    given: str,
    order: str | None,
    protocol: str | None,
    folder: Path | None,
    settings: Iterable[str],
    backbone: str | None = None,
) -> Report:
    """Return what was found in a stream, or in the file that describes it; arguments as for `choose`.

    Texts and classes are held against the backbone, or against the protocol's where none is given.

    Raises:
        UserError: as `choose`, but for errors of a file, which are in the report.
    """
    from benchmark.data.verification import unread, verify
    from benchmark.models.backbone import load_local

    try:
        stream, request = choose(given, order, protocol, folder, settings)
    except InvalidData as found:
        return unread(given, order or "", "", found.errors)
    if backbone is not None:
        request = replace(request, protocol=request.protocol.model_copy(update={"backbone": backbone}))
    reads_text = stream.kind.startswith("text")
    report = verify(stream, request, load_local(request.protocol.backbone) if reads_text else None)
    report.errors.extend(_backbone_errors(stream, request.protocol.backbone))
    return report


def _backbone_errors(stream: Stream, backbone: str) -> list[DataError]:
    """Return why no run can be started with a backbone, none where one can."""
    try:
        require_preset_learns(stream, resolve_backbone(backbone, needed=False).name)
    except UserError as error:
        return [DataError(str(error))]
    return []


def describe(stream: Stream, request: Request, form: TableFormat | None = None) -> str:
    """Return what a stream is, read from all its rows; in another form the table of its tasks alone.

    Raises:
        UserError: the rows cannot be read, or are faulty.
    """
    loaded = stream.load(request)
    for error in validation_errors(loaded.tasks):
        raise UserError(f"the stream '{stream.name}': {error.line}")
    protocol = request.protocol
    if form is not None:
        from benchmark.publishing.paper_tables import write_frame

        return write_frame(f"{stream.title}, order {request.order}", _task_table(loaded), form)
    limits = [
        f"at most {most} {split} rows a task"
        for split, most in (("train", protocol.train_limit), ("test", protocol.test_limit))
        if most is not None
    ]
    facts = {
        "name": stream.name,
        "kind": stream.kind,
        "tasks": str(len(loaded.tasks)),
        "order": f"{request.order} (of {', '.join(stream.orders)})",
        "protocol": f"{protocol.name} (of {', '.join(stream.protocols)}): {protocol.backbone}, "
        f"{protocol.head}, {'; '.join(limits) or 'all rows'}",
        "licence": stream.licence,
        "origin": loaded.origin,
        **{f"read at {commit[:12]}": identifier for identifier, commit in loaded.revisions.items()},
    }
    if loaded.class_order is not None:
        facts["classes"] = f"in the order {' '.join(map(str, loaded.class_order))}"
    return "\n".join(
        [
            stream.title,
            "",
            *(f"{key:<10}{value}" for key, value in facts.items()),
            *(f"note      {note}" for note in loaded.notes),
            "",
            text_table(_task_table(loaded), colalign=["left", "right", "right", "right", "left"]),
            "",
            *_example(loaded.tasks[0], request),
        ]
    )


def _task_table(loaded: LoadedStream) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for task in loaded.tasks:
        shown = ", ".join(task.classes[:MOST_CLASSES]) or "free text"
        more = f", {len(task.classes) - MOST_CLASSES} more" if len(task.classes) > MOST_CLASSES else ""
        validation = "" if task.validation is None else str(len(task.validation))
        rows.append([task.name, str(len(task.train)), validation, str(len(task.test)), shown + more])
    return pd.DataFrame(rows, columns=["task", "train", "validation", "test", "classes"])


def _example(task: Task, request: Request) -> list[str]:
    """Return the first training row as the model gets it."""
    row = task.train.inputs[0]
    answer = f"class: {task.classes[int(task.train.labels[0])]}" if task.train.labels is not None else ""
    if task.train.references is not None:
        answer = f"answer: {' | '.join(task.train.references[0])}"
    if not isinstance(row, str):
        return [f"first row of {task.name}: {' x '.join(map(str, row.shape))} {row.dtype}, {answer}"]
    from benchmark.data.prompts import build

    prompt = "".join(build(request.protocol.prompt, task, row))
    if len(prompt) > PROMPT_CHARACTERS:
        prompt = f"{prompt[:PROMPT_CHARACTERS]}... ({len(prompt)} characters)"
    return [f"first prompt of {task.name}, {answer}", *(f"  | {line}" for line in prompt.split("\n"))]


def as_text(report: Report, form: TableFormat | None = None) -> str:
    """Return a report for reading, or its tables in another form."""
    import pandas as pd

    rows = [[one.task, one.split, str(one.rows), _distribution(one.labels)] for one in report.counts]
    counts = pd.DataFrame(rows, columns=["task", "split", "rows", "rows of a class"])
    if form is not None:
        return _write_report(report, counts, form)
    errors = [one for one in report.errors if one.fatal]
    warnings = [one for one in report.errors if not one.fatal]
    facts = {
        "stream": f"{report.stream}, order {report.order}",
        "licence": report.licence or "not stated",
        "origin": report.origin or "not read",
        **{f"read at {commit[:12]}": identifier for identifier, commit in report.revisions.items()},
        "fingerprint of all rows": report.fingerprint or "none",
    }
    width = max(len(key) for key in facts) + 2
    blocks = ["\n".join(f"{key:<{width}}{value}" for key, value in facts.items())]
    if report.counts:
        blocks.append(text_table(counts, colalign=["left", "left", "right", "left"]))
    for title, listed in (("error", errors), ("warning", warnings)):
        lines = [f"{title}: {one.line}{_rows(one.rows)}" for one in listed]
        blocks += ["\n".join(lines)] if lines else []
    blocks.append(f"{len(errors)} errors, {len(warnings)} warnings")
    return "\n\n".join(blocks)


def _write_report(report: Report, counts: pd.DataFrame, form: TableFormat) -> str:
    import pandas as pd

    from benchmark.publishing.paper_tables import frame_table, write_tables

    lines = [{"kind": "error" if one.fatal else "warning", "what": one.line} for one in report.errors]
    stream = f"{report.stream}, order {report.order}"
    found = pd.DataFrame(lines, columns=["kind", "what"])
    return write_tables([frame_table(stream, counts), frame_table(f"{stream}: findings", found)], form)


def _distribution(labels: dict[str, int]) -> str:
    """Return the counts of classes, or their range where there are many."""
    if len(labels) > MOST_CLASSES or len(set(labels.values())) == 1:
        low, high = min(labels.values()), max(labels.values())
        return f"{low} each of {len(labels)}" if low == high else f"{low} to {high}, {len(labels)} classes"
    return ", ".join(f"{label} {count}" for label, count in labels.items())


def _rows(rows: Sequence[int]) -> str:
    if not rows:
        return ""
    more = ", ... (--json has all)" if len(rows) > MOST_ROWS else ""
    return f" [rows {', '.join(map(str, rows[:MOST_ROWS]))}{more}]"


def as_json(report: Report) -> str:
    """Return a report as one JSON object."""
    return json.dumps(asdict(report) | {"sound": report.sound}, indent=1, ensure_ascii=False)
