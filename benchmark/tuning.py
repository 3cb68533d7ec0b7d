"""Chooses the hyper-parameters of a quick protocol: one small grid for all methods, on validation rows only.

    python -m benchmark.tuning --stream digits --method all --workers 2

Every method gets the same trials, `GRID`, on a seed that no published table uses. A trial is an ordinary cell
whose score matrix is filled from validation rows; the highest average performance wins, and of equals the
smallest learning rate. What is printed goes into the method's `tuned`.
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

    trials = [(rate, trial(method, stream, rate, order, set_ or [])) for rate in GRID]
    cells = [cell for _, listed in trials for cell in listed]
    rates = [rate for rate, listed in trials for _ in listed]
    with watching(len(cells), sys.stdout) as watch:
        outcomes = run(cells, out, data_dir, workers, "cpu", False, watch)
    for name in dict.fromkeys(cell.method for cell in cells):
        own = [(rate, o) for rate, o in zip(rates, outcomes, strict=True) if o.cell.method == name]
        shown = ", ".join(f"{rate:g}: {100 * performance(outcome):.1f}" for rate, outcome in own)
        best = max(own, key=lambda pair: (performance(pair[1]), -pair[0]))[0]
        print(f"{name}: learning_rate {best:g} ({shown})")


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
