"""Runs the cells of a plan for the command line: says what comes, shows progress, reports what came."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.catalogue import load_stream
from benchmark.guard import INCOMPLETE, INTERRUPTED, one_line, tell

if TYPE_CHECKING:
    from benchmark.cell import Cell
    from benchmark.runner import Outcome


def sweep(
    cells: list[Cell],
    out: Path,
    data_dir: Path | None,
    workers: int,
    device: str,
    fresh: bool,
    as_json: bool,
) -> int:
    """Run the cells and return the exit code: 0 only where every cell is complete."""
    from benchmark.progress import watching
    from benchmark.runner import run

    shown = sys.stderr if as_json else sys.stdout
    print(announcement(cells), file=shown, flush=True)
    try:
        with watching(len(cells), shown) as watch:
            outcomes = run(
                cells, out=out, data_dir=data_dir, workers=workers, device=device, fresh=fresh, watch=watch
            )
    except KeyboardInterrupt:
        tell(f"stopped: every finished cell and task is kept in {out}; the same command continues from there")
        return INTERRUPTED
    report = as_data(outcomes) if as_json else summary(outcomes)
    if report:
        print(report, flush=True)
    for outcome in outcomes:
        if outcome.error:
            tell(f"failed: {outcome.cell.name}: {one_line(outcome.error)}")
    return 0 if all(outcome.result is not None and not outcome.error for outcome in outcomes) else INCOMPLETE


def announcement(cells: list[Cell]) -> str:
    """Return what is about to run: per stream the cells, the backbone and the protocol by value."""
    lines = []
    for stream in dict.fromkeys(cell.stream for cell in cells):
        ours = [cell for cell in cells if cell.stream == stream]
        protocol = ours[0].protocol
        values = protocol.model_dump(mode="json", exclude={"name", "source", "backbone"})
        lines += [
            f"stream    {stream}, {len(ours)} cell{'s' if len(ours) > 1 else ''}",
            f"methods   {_several(cell.method for cell in ours)}",
            f"orders    {_several(_order(cell) for cell in ours)}",
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


def plan_data(cells: list[Cell]) -> str:
    """Return planned cells as one JSON object."""
    return json.dumps({"cells": [cell_data(cell) for cell in cells]}, indent=1)


def as_data(outcomes: list[Outcome]) -> str:
    """Return what came of each cell as one JSON object."""
    cells = [
        {
            **cell_data(outcome.cell),
            "path": str(outcome.path) if outcome.path else None,
            "state": outcome.state,
            "skipped": outcome.skipped,
            "error": outcome.error,
            "headline": outcome.result.headline if outcome.result else None,
        }
        for outcome in outcomes
    ]
    complete = all(outcome.result is not None and not outcome.error for outcome in outcomes)
    return json.dumps({"complete": complete, "cells": cells}, indent=1)


def summary(outcomes: list[Outcome]) -> str:
    """Return the table of the complete cells and where their files are."""
    from benchmark.leaderboard import result_table

    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    paths = [f"{outcome.path}" for outcome in outcomes if outcome.path]
    table = ["", result_table(results), ""] if results else []
    return "\n".join([*table, *paths])


def _several(values: Any) -> str:
    """Return the different values, separated by commas."""
    return ", ".join(dict.fromkeys(str(value) for value in values))


def _order(cell: Cell) -> str:
    """Return an order's name, and its seed where it is one of classes."""
    value = load_stream(cell.stream).orders[cell.order]
    return f"{cell.order} (class permutation with seed {value})" if isinstance(value, int) else cell.order


def _pairs(values: dict[str, Any]) -> list[str]:
    """Return settings as `key value`."""
    return [f"{key} {_value(value)}" for key, value in values.items()]


def _value(value: Any) -> str:
    """Return a setting's value without brackets or quotes where it needs none."""
    if isinstance(value, (list, tuple)):
        return "+".join(str(one) for one in value)
    return json.dumps(value) if isinstance(value, (dict, bool)) else str(value)


def _wrapped(parts: list[str]) -> list[str]:
    """Return the parts in indented lines of readable width."""
    import textwrap

    # Joined by a space that does not break, so that a key stays with its value.
    text = ", ".join(part.replace(" ", "\u00a0") for part in parts)
    indent = " " * 10
    lines = textwrap.wrap(text, 100, initial_indent=indent, subsequent_indent=indent)
    return [line.replace("\u00a0", " ") for line in lines]
