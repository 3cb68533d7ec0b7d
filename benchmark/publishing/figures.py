"""Every picture of some results: as a page shows them, and as files at the width of a paper's column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.analysis.redundancy import NoAdapters
from benchmark.analysis.run_analysis import Depth, analyse_run
from benchmark.errors import Incomplete
from benchmark.publishing import plots
from benchmark.publishing.board import LEADING, Board
from benchmark.publishing.collect import Row, Section, sections, usable
from benchmark.publishing.headroom import boards_of
from benchmark.publishing.plot_style import COLUMN, MOST_DRAWN, looking, save
from benchmark.publishing.tables import name_row
from benchmark.result_files import find, require
from benchmark.results import Result
from benchmark.scoring.statistics_ranks import friedman

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("pdf", "svg")


@dataclass(frozen=True)
class Drawing:
    """A picture, the name of its file without an ending, and what stands below it."""

    name: str
    caption: str
    figure: Figure


def write_figures(source: Path, out: Path) -> list[Path]:
    """Write every picture of the results in a file or folder as PDF and SVG, at the width of one column.

    These are the pictures of the boards, the active adapters, for each row the score matrix of its first run
    and, where adapters lie beside that run, how much they overlap.

    Args:
        source: a result, a packed file, or a folder that is searched with its subfolders.
        out: folder of the pictures; made if missing.

    Raises:
        UserError: there is no result that can be used, or matplotlib is missing.
        Incomplete: some files cannot be used; the pictures of the others are written.
    """
    found, problems = usable(find(source))
    require(found, problems, source)
    paths = {id(result): path for path, result in found}
    written: list[Path] = []
    with looking(COLUMN):
        for part in sections([result for _, result in found]):
            prefix = _slug(f"{part.stream} {part.title}")
            for each in (*drawings(part), *_further(part, paths)):
                written += save(each.figure, out / f"{prefix}-{each.name}", KINDS)
    if problems:
        raise Incomplete("\n".join(map(str, written)), problems)
    return written


def drawings(part: Section) -> Iterator[Drawing]:
    """Yield the pictures of a section's boards."""
    for board in boards_of(part):
        measured = [row for row in (*board.rows, *board.apart) if row.values("average_anytime")]
        shown = measured[:MOST_DRAWN]
        title, name = board.title, _slug(board.title)
        which = f"{title}, the best {len(shown)} of {len(measured)}" if len(measured) > len(shown) else title
        if shown and len(part.results[0].tasks) > 1:
            curves, lost = plots.accuracy_over_tasks(shown), plots.forgetting_per_task(shown)
            yield Drawing(f"curves-{name}", f"{which}: mean score of the tasks seen", curves)
            yield Drawing(f"forgetting-{name}", f"{which}: forgetting of each task", lost)
        if (ranks := draw_ranks(board)) is not None:
            yield ranks
    if any(row.values("average_performance") for row in part.rows):
        stored = plots.score_against_stored(part.rows)
        yield Drawing("pareto", "Score against stored parameters", stored)


def draw_ranks(board: Board) -> Drawing | None:
    """Return the mean ranks of a board's rows; None where they are not compared."""
    ranking = friedman({name_row(row): row.runs(LEADING) for row in board.rows}) if board.compared else None
    if ranking is None:
        return None
    caption = f"{board.title}: mean ranks"
    return Drawing(f"ranks-{_slug(board.title)}", caption, plots.critical_difference(ranking))


def _further(part: Section, paths: dict[int, Path]) -> Iterator[Drawing]:
    """Yield what is drawn of single rows: active adapters, score matrices and overlaps."""
    for start in range(0, len(part.rows), MOST_DRAWN):
        rows: Sequence[Row] = part.rows[start : start + MOST_DRAWN]
        number = f"-{start // MOST_DRAWN + 1}" if len(part.rows) > MOST_DRAWN else ""
        yield Drawing(f"active{number}", "Active adapters", plots.active_over_tasks(rows))
    for row in part.rows:
        name = _slug(row.name)
        yield Drawing(f"matrix-{name}", f"{row.name}: first run", plots.score_matrix(row.first))
        for kind, chart in _redundancy(row.first, paths).items():
            yield Drawing(f"{kind}-{name}", f"{row.name}: {plots.REDUNDANCY[kind]}", chart)


def _redundancy(result: Result, paths: dict[int, Path]) -> dict[str, Figure]:
    path = paths[id(result)]
    if not path.with_suffix(".safetensors").is_file():
        return {}
    try:
        return plots.redundancy(analyse_run(path, Depth()).found)
    except NoAdapters:
        return {}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.=]+", "-", text.lower()).strip("-.")
