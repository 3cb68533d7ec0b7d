"""A plan in words, tables and JSON: what would run, what of it is done, and what the rest will take."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from benchmark.commands.progress import duration
from benchmark.running.catalogue import load_stream
from benchmark.text_table import write_count

if TYPE_CHECKING:
    from benchmark.running.forecast import Forecast, Plan
    from benchmark.running.run import Run

MOST_LISTED = 60
"""Plans with more runs are shown by stream and method."""
PUBLISHED = ", judged by published runs of another machine"
LONG = 600
"""Seconds above which a command says how long it takes before it starts."""


def announcement(runs: list[Run]) -> str:
    """Return what is about to run: per stream the runs, the backbone and the protocol by value."""
    lines = []
    for ours in _by_setup(runs):
        protocol = ours[0].protocol
        values = protocol.model_dump(mode="json", exclude={"name", "source", "backbone"})
        lines += [
            f"stream    {ours[0].stream}, {write_count(len(ours), 'run')}",
            f"methods   {_several(run.method for run in ours)}",
            f"orders    {_several(_order(run) for run in {run.order: run for run in ours}.values())}",
            f"seeds     {_several(run.seed for run in ours)}",
            f"backbone  {ours[0].backbone}",
            f"protocol  {protocol.name} ({protocol.source})",
            *_wrap_parts(
                [f"{key} {_value(value)}" for key, value in values.items() if value not in (None, {})]
            ),
        ]
        if ours[0].parameters:
            lines += ["settings  of the stream", *_wrap_parts(_pairs(ours[0].parameters))]
    return "\n".join(lines)


def listing(runs: list[Run]) -> str:
    """Return for a dry run the settings of each method, in one line for all its runs with the same."""
    alike: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        settings = ", ".join(_pairs(run.hyperparameters)) or "no settings"
        alike.setdefault((run.method, run.stream, settings), []).append(run)
    return "\n".join(
        f"{ours[0].name if len(ours) == 1 else f'{method} on {stream}, {len(ours)} runs'}: {settings}"
        for (method, stream, settings), ours in alike.items()
    )


def run_data(run: Run) -> dict[str, Any]:
    """Return a run as JSON values."""
    names = {name: getattr(run, name) for name in ("method", "stream", "order", "seed", "backbone")}
    return {**names, "protocol": run.protocol.name, "config": run.config()}


def as_text(plan: Plan, workers: int, gpus: int = 1) -> str:
    """Return a plan for reading: what runs, each run or each method's runs, and the sums.

    Args:
        workers: runs at a time.
        gpus: that each run is spread over.

    Raises:
        UserError: a backbone has fewer blocks than there are GPUs.
    """
    runs = [entry.run for entry in plan.runs]
    parts = [announcement(runs), *_prefixes(runs), *_gpu_memory(runs, gpus)]
    if len(runs) <= MOST_LISTED:
        parts.append(listing(runs))
    rows = _rows(plan) if len(runs) <= MOST_LISTED else _group_by_method(plan)
    return "\n\n".join([*parts, _table(rows), total(plan, workers)])


def _prefixes(runs: list[Run]) -> list[str]:
    """Return what the frozen prefix of each setup takes on the disk, where there is one."""
    if all(run.protocol.blocks == "all" for run in runs):
        return []
    from benchmark.running.prefix_disk import prefix_disk

    lines = []
    for ours in _by_setup(runs):
        found = next((disk for run in ours if (disk := prefix_disk(run)) is not None), None)
        if found is not None:
            lines.append(f"prefix    of {ours[0].backbone} on {ours[0].stream}: {found}")
    return ["\n".join(lines)] if lines else []


def _gpu_memory(runs: list[Run], gpus: int) -> list[str]:
    """Return what a step of each setup takes of a GPU, for language models of a known shape."""
    texts = [
        ours for ours in _by_setup(runs) if load_stream(ours[0].stream_reference).kind.startswith("text")
    ]
    if not texts:  # a plan without language models is made without torch
        return []
    from benchmark.running.gpu_memory import gpu_memory

    lines = []
    for ours in texts:
        found = gpu_memory(ours[0], gpus)
        if found is not None:
            lines.append(f"memory    of {ours[0].backbone} on {ours[0].stream}: {found}")
    return ["\n".join(lines)] if lines else []


def total(plan: Plan, workers: int) -> str:
    """Return the number of runs by state and the time that those not done take."""
    from benchmark.running.forecast import STATES

    counts = ", ".join(f"{plan.count(state)} {state}" for state in STATES if plan.count(state))
    runs = write_count(len(plan.runs), "run")
    left = len(plan.runs) - plan.count("done")
    if not left:
        return f"{runs}: {counts}"
    known = duration(plan.seconds_left / workers) if plan.unknown < left else "an unknown time"
    at_a_time = f" with {workers} at a time" if workers > 1 else ""
    more = f" and {plan.unknown} runs that nothing is known of" if 0 < plan.unknown < left else ""
    return f"{runs}: {counts}; about {known}{at_a_time}{more}{_whose(plan)}"


def warning(plan: Plan, workers: int) -> str:
    """Return a line that says how long a plan takes, where it is known to take more than ten minutes."""
    left = plan.seconds_left / workers
    if left <= LONG:
        return ""
    runs = write_count(len(plan.runs) - plan.count("done"), "run")
    unknown = f", {plan.unknown} of them of unknown length" if plan.unknown else ""
    return f"time      about {duration(left)} for {runs}{unknown}{_whose(plan)}; Ctrl-C keeps what is done"


def _whose(plan: Plan) -> str:
    return PUBLISHED if plan.by_published else ""


def as_data(plan: Plan) -> str:
    """Return a plan as one JSON object."""
    from benchmark.running.forecast import STATES

    runs = [
        {
            **run_data(entry.run),
            "state": entry.state,
            "seconds": entry.cost.seconds if entry.cost else None,
            "memory_bytes": entry.cost.memory_bytes if entry.cost else None,
            "by_published_runs": entry.cost.published if entry.cost else None,
            "error": entry.error,
        }
        for entry in plan.runs
    ]
    sums: dict[str, Any] = {state: plan.count(state) for state in STATES}
    sums |= {"seconds_left": plan.seconds_left, "without_estimate": plan.unknown}
    return json.dumps({"runs": runs, "total": sums}, indent=1)


def _rows(plan: Plan) -> list[dict[str, str]]:
    return [
        {
            "run": entry.run.name,
            "state": entry.state,
            "time": _time([entry]),
            "memory": _memory([entry]),
            "last error": (entry.error or "")[:60],
        }
        for entry in plan.runs
    ]


def _group_by_method(plan: Plan) -> list[dict[str, str]]:
    from benchmark.running.forecast import STATES

    def place(entry: Forecast) -> tuple[str, str, str]:
        return entry.run.stream, entry.run.protocol.name, entry.run.method

    rows = []
    for (stream, protocol, method), group in groupby(sorted(plan.runs, key=place), key=place):
        entries = list(group)
        counts: dict[str, str] = {
            state: str(sum(entry.state == state for entry in entries)) for state in STATES
        }
        left = [entry for entry in entries if entry.state != "done"]
        row = {"stream": stream, "protocol": protocol, "method": method, **counts}
        rows.append(row | {"time left": _time(left), "memory": _memory(entries)})
    return rows


def _time(entries: list[Forecast]) -> str:
    if not entries:
        return "-"
    known = [entry.cost.seconds for entry in entries if entry.cost]
    return duration(sum(known)) if known else "unknown"


def _memory(entries: list[Forecast]) -> str:
    known = [entry.cost.memory_bytes for entry in entries if entry.cost]
    return f"{max(known) / 1024**3:.1f} GiB" if known else "unknown"


def _table(rows: list[dict[str, str]]) -> str:
    from tabulate import tabulate

    used = {name: [row[name] for row in rows] for name in rows[0] if any(row[name] for row in rows)}
    return tabulate(used, headers="keys", tablefmt="simple", disable_numparse=True)


def _by_setup(runs: list[Run]) -> list[list[Run]]:
    """Return the runs by what all rows of a table share, in the order in which each first comes."""
    found: dict[tuple[Any, ...], list[Run]] = {}
    dumped: dict[int, str] = {}
    for run in runs:
        protocol = dumped.get(id(run.protocol)) or run.protocol.model_dump_json()
        dumped[id(run.protocol)] = protocol
        setup = (run.stream, protocol, run.backbone, json.dumps(run.parameters, sort_keys=True))
        found.setdefault(setup, []).append(run)
    return list(found.values())


def _several(values: Any) -> str:
    """Return the different values, separated by commas."""
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _order(run: Run) -> str:
    """Return an order's name with the seed of its classes, or the number of its tasks."""
    value = load_stream(run.stream_reference).orders[run.order]
    if isinstance(value, int):
        return f"{run.order} (class permutation with seed {value})"
    return run.order if value is None else f"{run.order} ({len(value)} tasks, first {value[0]})"


def _pairs(values: dict[str, Any]) -> list[str]:
    """Return settings as `key value`."""
    return [f"{key} {_value(value)}" for key, value in values.items()]


def _value(value: Any) -> str:
    """Return a setting's value without brackets or quotes where it needs none."""
    if isinstance(value, (list, tuple)):
        return "+".join(str(one) for one in value) or "none"
    return json.dumps(value) if isinstance(value, (dict, bool)) else str(value)


def _wrap_parts(parts: list[str]) -> list[str]:
    """Return the parts in indented lines of readable width."""
    import textwrap

    # Joined by a space that does not break, so that a key stays with its value.
    text = ", ".join(part.replace(" ", "\u00a0") for part in parts)
    indent = " " * 10
    lines = textwrap.wrap(text, 100, initial_indent=indent, subsequent_indent=indent)
    return [line.replace("\u00a0", " ") for line in lines]
