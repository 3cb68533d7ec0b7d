"""A plan in words, tables and JSON: what would run, what of it is done, and what the rest will take."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from benchmark.commands.progress import duration
from benchmark.running.catalogue import load_stream

if TYPE_CHECKING:
    from benchmark.running.cell import Cell
    from benchmark.running.forecast import Forecast, Plan

MOST_LISTED = 60
"""Plans with more cells are shown by stream and method."""


def announcement(cells: list[Cell]) -> str:
    """Return what is about to run: per stream the cells, the backbone and the protocol by value."""
    lines = []
    for ours in _by_setup(cells):
        protocol = ours[0].protocol
        values = protocol.model_dump(mode="json", exclude={"name", "source", "backbone"})
        lines += [
            f"stream    {ours[0].stream}, {len(ours)} cell{'s' if len(ours) > 1 else ''}",
            f"methods   {_several(cell.method for cell in ours)}",
            f"orders    {_several(_order(cell) for cell in {cell.order: cell for cell in ours}.values())}",
            f"seeds     {_several(cell.seed for cell in ours)}",
            f"backbone  {ours[0].backbone}",
            f"protocol  {protocol.name} ({protocol.source})",
            *_wrapped([f"{key} {_value(value)}" for key, value in values.items() if value not in (None, {})]),
        ]
        if ours[0].parameters:
            lines += ["settings  of the stream", *_wrapped(_pairs(ours[0].parameters))]
    return "\n".join(lines)


def listing(cells: list[Cell]) -> str:
    """Return one line per cell with its method's settings, for a dry run."""
    settings = [", ".join(_pairs(cell.hyperparameters)) or "no settings" for cell in cells]
    return "\n".join(f"{cell.name}: {text}" for cell, text in zip(cells, settings, strict=True))


def cell_data(cell: Cell) -> dict[str, Any]:
    """Return a cell as JSON values."""
    names = {name: getattr(cell, name) for name in ("method", "stream", "order", "seed", "backbone")}
    return {**names, "protocol": cell.protocol.name, "config": cell.config()}


def as_text(plan: Plan, workers: int) -> str:
    """Return a plan for reading: what runs, each cell or each method's cells, and the sums."""
    cells = [entry.cell for entry in plan.cells]
    parts = [announcement(cells), *_prefixes(cells)]
    if len(cells) <= MOST_LISTED:
        parts.append(listing(cells))
    rows = _rows(plan) if len(cells) <= MOST_LISTED else _grouped(plan)
    return "\n\n".join([*parts, _table(rows), total(plan, workers)])


def _prefixes(cells: list[Cell]) -> list[str]:
    """Return what the frozen prefix of each setup takes on the disk, where there is one."""
    if all(cell.protocol.blocks == "all" for cell in cells):
        return []
    from benchmark.running.prefix_disk import prefix_disk

    lines = []
    for ours in _by_setup(cells):
        found = next((disk for cell in ours if (disk := prefix_disk(cell)) is not None), None)
        if found is not None:
            lines.append(f"prefix    of {ours[0].backbone} on {ours[0].stream}: {found}")
    return ["\n".join(lines)] if lines else []


def total(plan: Plan, workers: int) -> str:
    """Return the number of cells by state and the time that those not done take."""
    from benchmark.running.forecast import STATES

    counts = ", ".join(f"{plan.count(state)} {state}" for state in STATES if plan.count(state))
    cells = "1 cell" if len(plan.cells) == 1 else f"{len(plan.cells)} cells"
    left = len(plan.cells) - plan.count("done")
    if not left:
        return f"{cells}: {counts}"
    known = duration(plan.seconds_left / workers) if plan.unknown < left else "an unknown time"
    at_a_time = f" with {workers} at a time" if workers > 1 else ""
    more = f" and {plan.unknown} cells that nothing is known of" if 0 < plan.unknown < left else ""
    return f"{cells}: {counts}; about {known}{at_a_time}{more}"


def as_data(plan: Plan) -> str:
    """Return a plan as one JSON object."""
    from benchmark.running.forecast import STATES

    cells = [
        {
            **cell_data(entry.cell),
            "state": entry.state,
            "seconds": entry.cost.seconds if entry.cost else None,
            "memory_bytes": entry.cost.memory_bytes if entry.cost else None,
            "error": entry.error,
        }
        for entry in plan.cells
    ]
    sums: dict[str, Any] = {state: plan.count(state) for state in STATES}
    sums |= {"seconds_left": plan.seconds_left, "without_estimate": plan.unknown}
    return json.dumps({"cells": cells, "total": sums}, indent=1)


def _rows(plan: Plan) -> list[dict[str, str]]:
    return [
        {
            "cell": entry.cell.name,
            "state": entry.state,
            "time": _time([entry]),
            "memory": _memory([entry]),
            "last error": (entry.error or "")[:60],
        }
        for entry in plan.cells
    ]


def _grouped(plan: Plan) -> list[dict[str, str]]:
    from benchmark.running.forecast import STATES

    def place(entry: Forecast) -> tuple[str, str, str]:
        return entry.cell.stream, entry.cell.protocol.name, entry.cell.method

    rows = []
    for (stream, protocol, method), group in groupby(sorted(plan.cells, key=place), key=place):
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


def _by_setup(cells: list[Cell]) -> list[list[Cell]]:
    """Return the cells by what all rows of a table share, in the order in which each first comes."""
    found: dict[tuple[Any, ...], list[Cell]] = {}
    dumped: dict[int, str] = {}
    for cell in cells:
        protocol = dumped.get(id(cell.protocol)) or cell.protocol.model_dump_json()
        dumped[id(cell.protocol)] = protocol
        setup = (cell.stream, protocol, cell.backbone, json.dumps(cell.parameters, sort_keys=True))
        found.setdefault(setup, []).append(cell)
    return list(found.values())


def _several(values: Any) -> str:
    """Return the different values, separated by commas."""
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _order(cell: Cell) -> str:
    """Return an order's name with the seed of its classes, or the number of its tasks."""
    value = load_stream(cell.stream_reference).orders[cell.order]
    if isinstance(value, int):
        return f"{cell.order} (class permutation with seed {value})"
    return cell.order if value is None else f"{cell.order} ({len(value)} tasks, first {value[0]})"


def _pairs(values: dict[str, Any]) -> list[str]:
    """Return settings as `key value`."""
    return [f"{key} {_value(value)}" for key, value in values.items()]


def _value(value: Any) -> str:
    """Return a setting's value without brackets or quotes where it needs none."""
    if isinstance(value, (list, tuple)):
        return "+".join(str(one) for one in value) or "none"
    return json.dumps(value) if isinstance(value, (dict, bool)) else str(value)


def _wrapped(parts: list[str]) -> list[str]:
    """Return the parts in indented lines of readable width."""
    import textwrap

    # Joined by a space that does not break, so that a key stays with its value.
    text = ", ".join(part.replace(" ", "\u00a0") for part in parts)
    indent = " " * 10
    lines = textwrap.wrap(text, 100, initial_indent=indent, subsequent_indent=indent)
    return [line.replace("\u00a0", " ") for line in lines]
