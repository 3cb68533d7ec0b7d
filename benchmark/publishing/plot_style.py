"""How pictures look: colours of methods, sizes for screen and paper, and the files they are written to.

A method has one colour wherever it is drawn, of the eight of Okabe and Ito, which colour-blind readers tell
apart. Rows of one picture that share a colour differ in marker and line style.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zlib import crc32

from benchmark.errors import UserError
from benchmark.publishing.collect import Row
from benchmark.results import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#7F7F7F")
FIRST = {
    **dict(zip(("litelora", "sd-lora", "inflora", "o-lora", "inc-lora", "ewc-lora"), range(6), strict=True)),
    **{"joint": 6, "seq-lora": 7, "frozen": 7, "independent": 6, "ranpac": 3, "ncm": 4, "er-lora": 2},
}
"""Places among the colours of methods that are often drawn together; the others' follow from their names."""
MOST_DRAWN = len(COLOURS)
"""Methods drawn in one picture: as many as there are colours."""
MARKERS = "osD^vPX*<"
LINES = ("-", "--", "-.", ":")
FILES = ("svg", "png")
"""What `save` writes by default."""


@dataclass(frozen=True)
class Look:
    """Sizes of a picture.

    Attributes:
        width, height: of an ordinary one, in inches.
        font: points of the text.
        legend: points of the legend's text, and `columns` of them.
    """

    width: float
    height: float
    font: float
    legend: float
    columns: int


SCREEN = Look(6.0, 4.0, 10, 8, 3)
COLUMN = Look(3.35, 2.4, 8, 7, 2)
"""One column of a page of two (8.5 cm): no text below 7 points where the picture is set at its width."""
PAGE = Look(4.2, 3.0, 10, 9, 2)
"""A picture among others on a page of the site: read at a phone's width, too."""
_look: ContextVar[Look] = ContextVar("look", default=SCREEN)


@contextmanager
def looking(look: Look) -> Iterator[None]:
    """Draw and write pictures within the context at the sizes of a look.

    Raises:
        UserError: matplotlib is not installed.
    """
    _require_matplotlib()
    from matplotlib import rc_context

    before = _look.set(look)
    try:
        with rc_context({"font.size": look.font, "axes.linewidth": 0.6, "lines.linewidth": 1.2}):
            yield
    finally:
        _look.reset(before)


def figure(width: float = SCREEN.width, height: float = SCREEN.height, scale_height: bool = True) -> Figure:
    """Return an empty figure without a window, 100 pixels an inch.

    Args:
        width, height: in inches on a screen; a look for paper makes both smaller in one ratio.
        scale_height: keep the height as it is where False, as for a line of text each row.
    """
    _require_matplotlib()
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    # Text stays text, and equal results give equal bytes.
    rcParams["svg.fonttype"], rcParams["svg.hashsalt"], rcParams["pdf.fonttype"] = "none", "bench", 42
    look = _look.get()
    # Nothing is wider than the column, whatever it would take on a screen.
    width = min(width, SCREEN.width) if look is not SCREEN else width
    size = width * look.width / SCREEN.width, height * (look.height / SCREEN.height if scale_height else 1)
    return Figure(figsize=size, dpi=100, layout="constrained")


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError("pictures need matplotlib: pip install 'continual-peft-bench[plots]'") from None


def colour_of(method: str) -> str:
    """Return the colour of a method, the same in every picture."""
    return COLOURS[FIRST.get(method, crc32(method.encode()) % len(COLOURS))]


def looks(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return colour, marker and line style of each row, no two with the same colour and marker.

    Args:
        rows: at most as many of one colour as there are markers are told apart.
    """
    turns: dict[str, int] = {}
    found = []
    for row in rows:
        colour = colour_of(row.first.method)
        # The first marker goes with the colour: a method alone in its colour looks the same everywhere.
        turn = turns.get(colour, 0)
        turns[colour] = turn + 1
        marker = MARKERS[(COLOURS.index(colour) + turn) % len(MARKERS)]
        found.append({"color": colour, "marker": marker, "linestyle": LINES[turn % len(LINES)]})
    return found


def add_legend(chart: Figure, axes: Axes) -> None:
    """Put the legend below the axes, where it hides nothing, and make room for it."""
    look = _look.get()
    handles, labels = axes.get_legend_handles_labels()
    columns = look.columns if max(map(len, labels), default=0) < 28 or look is SCREEN else 1
    line = 0.22 * look.legend / SCREEN.legend
    chart.set_figheight(look.height + line * -(-len(labels) // columns))
    chart.legend(
        handles, labels, loc="outside lower center", ncols=columns, fontsize=look.legend, frameon=False
    )


def numbers_size(tasks: int) -> float:
    """Return the points of the numbers in a heatmap of some tasks, which have to fit into its cells."""
    look = _look.get()
    return 9 if look is SCREEN else min(look.legend, 60 / max(tasks, 1))


def text(name: str) -> str:
    """Return a name that matplotlib shows as it is: between two dollar signs it would read mathematics."""
    return name.replace("$", r"\$")


def svg(chart: Figure) -> str:
    """Return a figure as SVG text."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    # The same bytes as `savefig`, which would draw everything once more before, to find the layout.
    FigureCanvasSVG(chart).print_svg(buffer, metadata={"Date": None})
    return buffer.getvalue()


def data_uri(chart: Figure) -> str:
    """Return a figure as an address that holds it: an image of its own, whose identifiers meet no other's."""
    return "data:image/svg+xml," + quote(svg(chart), safe=" =:/;,()")


def save(chart: Figure, path: Path, kinds: Sequence[str] = FILES) -> list[Path]:
    """Write `<path>.svg` and so on, and return the files.

    Args:
        kinds: of svg, png and pdf.
    """
    paths = []
    for kind in kinds:
        # Not with_suffix: a name may hold dots.
        paths.append(path.parent / f"{path.name}.{kind}")
        atomic_write(paths[-1], _bytes(chart, kind))
    return paths


def _bytes(chart: Figure, kind: str) -> bytes:
    if kind == "svg":
        return svg(chart).encode()
    buffer = io.BytesIO()
    chart.savefig(buffer, format=kind, metadata={"CreationDate": None} if kind == "pdf" else None)
    return buffer.getvalue()
