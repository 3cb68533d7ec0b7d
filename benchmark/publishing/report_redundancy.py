"""The part of a report about adapters: how much they overlap, where they lie beside their results."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from benchmark.analysis.redundancy import NoAdapters
from benchmark.analysis.run_analysis import Depth, RunAnalysis, analyse_run
from benchmark.errors import UserError
from benchmark.publishing import plots
from benchmark.publishing.collect import Row
from benchmark.publishing.heat_map import overlap_maps
from benchmark.publishing.report_parts import figure, gallery, table, wrap_in_figure
from benchmark.results import Result

Paths = dict[int, Path]
"""The file of each result, by the result's identity."""


def redundancy(rows: Sequence[Row], paths: Paths, depth: Depth, level: int = 3) -> tuple[str, list[str]]:
    """Return the part, for the first run of each row that has adapters beside it.

    Returns:
        the HTML, which says of each row that is not shown why, and a line for each file that cannot be used.
    """
    shown, absent, problems = [], [], []
    for row in rows:
        held = [paths[id(run)] for run in row.results if _adapters(run, paths).is_file()]
        if not held:
            continue
        try:
            shown.append(_run(row, analyse_run(held[0], depth)))
        except NoAdapters as error:
            absent.append(str(error))
        except UserError as error:
            absent.append(f"{row.name}: {error}")
            problems.append(f"{held[0].name}: {error}")
    bare = [row.name for row in rows if not any(_adapters(run, paths).is_file() for run in row.results)]
    if bare:
        names = "" if len(bare) == len(rows) else f" of {', '.join(bare)}"
        absent.insert(0, f"no adapters lie beside the results{names}; bench run leaves them there")
    why = f"<p>Not shown: {escape('; '.join(dict.fromkeys(absent)))}.</p>" if absent else ""
    heading = f"<h{level}>Redundancy of adapters</h{level}>"
    return "\n".join(filter(None, [heading, *shown, _definitions() if shown else "", why])), problems


def _adapters(run: Result, paths: Paths) -> Path:
    return paths[id(run)].with_suffix(".safetensors")


def _run(row: Row, analysed: RunAnalysis) -> str:
    from benchmark.publishing.redundancy_page import REMOVED, by_task, facts

    run = analysed.found.result
    frame = by_task(analysed)
    apart = [title for title in REMOVED if title in frame]
    name = f"{row.name}, order {run.order}, seed {run.seed}"
    parts = [table(name, frame.drop(columns=apart))]
    if apart:
        parts.append(table(f"{name}: scores without each adapter", frame[["task", *apart]]))
    maps = overlap_maps(analysed.found)
    if maps:
        figures = [wrap_in_figure(f"{row.name}: {title}", each) for title, each in maps.items()]
        residuals = plots.residuals(analysed.found)
        figures.append(figure(f"{row.name}: {plots.REDUNDANCY['residual']}", residuals))
        parts.append(gallery(figures))
    return "\n".join([*parts, f"<p>{escape('; '.join(facts(analysed)))}.</p>"])


def _definitions() -> str:
    from benchmark.publishing.redundancy_page import DEFINITIONS

    items = "\n".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in DEFINITIONS.items())
    return f"<details>\n<summary>Columns</summary>\n<dl>\n{items}\n</dl>\n</details>"
