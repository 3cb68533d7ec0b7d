"""Headroom for reading in a terminal, and as tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from benchmark.publishing.headroom import Verdict
from benchmark.publishing.paper_tables import PaperTable, frame_table
from benchmark.scoring.headroom import CHANCES, FEWEST_ERRORS


def make_tables(found: Iterable[Verdict]) -> list[PaperTable]:
    """Return each verdict as a table of its readings x 100; one whose rows are missing has no lines."""
    made = []
    for verdict in found:
        measured = verdict.headroom
        rows: dict[str, float | None] = (
            {} if measured is None else {"chance": measured.chance, **measured.frozen}
        )
        if measured is not None:
            rows |= {"joint": measured.joint, "gap": measured.gap, "standard error": measured.standard_error}
        shown = [
            {"reading": name, "AP": None if value is None else f"{100 * value:.1f}"}
            for name, value in rows.items()
        ]
        text = frame_table(verdict.title, pd.DataFrame(shown, columns=["reading", "AP"]), verdict.line)
        places = {"board": verdict.title, "comparable": not verdict.refusal}
        n = None if measured is None else measured.n
        records = [places | {"reading": name, "score": value, "n": n} for name, value in rows.items()]
        made.append(replace(text, records=records or [places | {"missing": sorted(verdict.missing)}]))
    return made


def write_text(found: Iterable[Verdict]) -> str:
    """Return verdicts for reading, a block each."""
    blocks = []
    for verdict in found:
        lines = [verdict.title]
        if verdict.headroom is not None:
            measured = verdict.headroom
            lines.append(f"  chance               {100 * measured.chance:6.1f}")
            lines += [f"  {name:<20} {100 * mean:6.1f}" for name, mean in measured.frozen.items()]
            lines.append(f"  joint                {100 * measured.joint:6.1f}")
            error = measured.standard_error
            reach = "" if error is None else f" +- {100 * error:.1f} ({FEWEST_ERRORS} errors needed)"
            if measured.row_error is not None:
                reach += f", +- {100 * measured.row_error:.1f} over test rows"
            lines.append(f"  gap                  {100 * measured.gap:6.1f}{reach}, {measured.n} paired runs")
            lines.append(f"  {CHANCES} x chance           {100 * CHANCES * measured.chance:6.1f}")
        lines += [f"  no row {name}: {command}" for name, command in verdict.missing.items()]
        reasons = verdict.headroom.refusals if verdict.headroom else ["headroom not known"]
        reasons += [verdict.problem] if verdict.problem else []
        lines.append(
            f"adapters cannot be compared here: {'; '.join(reasons)}" if reasons else "headroom: yes"
        )
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
