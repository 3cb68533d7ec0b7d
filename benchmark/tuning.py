"""Chooses the hyper-parameters of a quick protocol: one small grid for all methods, on validation rows only.

    python -m benchmark.tuning --stream digits --method all --workers 2

Every method climbs the same `GRID` on a seed that no published table uses, and leaves it at the first rate
that does worse than the one below: a rate past the best only costs time. A trial is an ordinary cell whose
score matrix is filled from validation rows; the highest average performance wins, and of equals the smallest
learning rate. What is printed goes into the method's `tuned`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmark.errors import UserError
from benchmark.runner import Outcome

GRID = (0.001, 0.003, 0.01, 0.03, 0.1)
SEED = "1000"


def trial(method: str, stream: str, rate: float, order: str | None, settings: list[str]) -> list:
    """Return the cells of one point of the grid."""
    from benchmark.plan import plan

    chosen = [f"learning_rate={rate}", "score_on=validation", *settings]
    return plan(method, stream, order, SEED, settings=chosen)


def performance(outcome: Outcome) -> float:
    """Return a trial's average performance on validation rows; a trial that failed loses."""
    value = outcome.result.headline["average_performance"] if outcome.result else None
    return float("-inf") if value is None else value


def main(
    stream: Annotated[str, typer.Option()],
    method: str = "all",
    order: Annotated[str | None, typer.Option(help="One order; the stream's first if none.")] = None,
    data_dir: Path | None = None,
    out: Path = Path("runs/tuning"),
    workers: int = 1,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Further settings of every trial.")] = None,
) -> None:
    """Run the grid and print, per method, every trial and the choice."""
    import sys

    from benchmark.progress import watching
    from benchmark.runner import run

    climbing: dict[str, list[tuple[float, float]]] = {}
    for rate in GRID:
        cells = trial(method, stream, rate, order, set_ or [])
        cells = [cell for cell in cells if still_climbs(climbing.get(cell.method, []))]
        if not cells:
            break
        with watching(len(cells), sys.stdout) as watch:
            outcomes = run(cells, out, data_dir, workers, "cpu", False, watch)
        for outcome in outcomes:
            climbing.setdefault(outcome.cell.method, []).append((rate, performance(outcome)))
    for name, tried in climbing.items():
        shown = ", ".join(f"{rate:g}: {100 * score:.1f}" for rate, score in tried)
        best = max(tried, key=lambda pair: (pair[1], -pair[0]))[0]
        print(f"{name}: learning_rate {best:g} ({shown})")


def still_climbs(tried: list[tuple[float, float]]) -> bool:
    """Whether the last of the (rate, score) pairs did at least as well as the one before it."""
    return len(tried) < 2 or tried[-1][1] >= tried[-2][1]


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
