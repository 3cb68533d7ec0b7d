"""`bench tune`: the flags of a search for hyper-parameters."""

from __future__ import annotations

import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmark.commands.options import (
    Backbone,
    DataDir,
    DeviceName,
    DryRun,
    Methods,
    Orders,
    Out,
    ProtocolName,
    Retry,
    Set,
    Streams,
)
from benchmark.errors import UserError
from benchmark.guard import INCOMPLETE, end_interrupted, guarded, print_stderr

if TYPE_CHECKING:
    from benchmark.running.job import Conditions
    from benchmark.space import SearchRule
    from benchmark.tuning.search import Search


class Selection(StrEnum):
    """Which rows decide between trials."""

    validation = "validation"
    paper = "paper"


@guarded
def tune(
    method: Methods,
    stream: Streams,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Points to try, the same number for each method. Default: 20.")
    ] = None,
    selection: Annotated[
        Selection | None, typer.Option(help="Rows that decide: validation, or TEST rows as in some papers.")
    ] = None,
    order: Orders = None,
    seed: Annotated[
        str | None, typer.Option(help="Seeds of every trial; their scores are averaged. Default: 1000.")
    ] = None,
    backbone: Backbone = None,
    protocol: ProtocolName = None,
    settings: Set = None,
    data_dir: DataDir = None,
    out: Out = Path("runs"),
    device: DeviceName = "cpu",
    dry_run: DryRun = False,
    retry: Retry = False,
    write: Annotated[
        bool, typer.Option("--write", help="Also keep the choice as the protocol's, in sweeps/tuned.")
    ] = False,
) -> None:
    """Search the hyper-parameters of methods on streams.

    Trials are runs in the output folder: those that exist are not run again. What was chosen is written to
    <out>/tuning/<stream>/<protocol>/<method>.json, which bench run --tuned takes. A searched value given
    with --set stays as it is. A protocol that states its own search is searched by it, references first,
    unless --trials, --selection, --order or --seed ask for another.
    """
    from benchmark.running.job import Conditions
    from benchmark.running.stopping import Stop
    from benchmark.tuning.search import SEED, Search

    free = any(each is not None for each in (trials, selection, order, seed))
    terms = Search(
        method="",
        stream="",
        trials=trials or 20,
        orders=order,
        seeds=seed or SEED,
        backbone=backbone,
        protocol=protocol,
        settings=settings or (),
        selection=(selection or Selection.validation).value,
    )
    searches = _list_searches(method, stream, terms, free)
    if write and any(rule is None for _, rule in searches):
        raise UserError("--write keeps the choice of a protocol's own search, and this search is none")
    if dry_run:
        from benchmark.commands.search_report import as_text

        typer.echo(as_text(searches, out, data_dir))
        return
    sound = True
    try:
        with Stop(out, lambda line: print(line, flush=True)) as stop:
            conditions = Conditions(retry=retry, stop=stop.file)
            for search, rule in searches:
                sound &= _search(search, rule, out, data_dir, device, conditions, write)
    except KeyboardInterrupt:
        kept = f"every finished trial is kept in {out}"
        raise typer.Exit(end_interrupted(f"stopped: {kept}; the same command continues from there")) from None
    raise typer.Exit(0 if sound else INCOMPLETE)


def _list_searches(
    method: str, stream: str, terms: Search, free: bool
) -> list[tuple[Search, SearchRule | None]]:
    """Return a search for every method on every stream, each with the rule of its protocol.

    Args:
        terms: what all have in common; its method and stream are not looked at.
        free: whether no protocol's rule is asked for.

    Raises:
        UserError: something is not understood, or there is nothing to search; nothing was run.
    """
    from benchmark.registry import METHODS
    from benchmark.running.plan import find_streams, keys
    from benchmark.tuning.rule_search import as_search, in_order, rule_of
    from benchmark.tuning.search import runs

    found, methods = find_streams(stream), keys(METHODS, method)
    common = (terms.backbone, terms.protocol, terms.settings)
    searches: list[tuple[Search, SearchRule | None]] = []
    for each in found.values():
        rule = None if free else rule_of(each, terms.protocol, terms.settings)
        for key in methods if rule is None else in_order(methods):
            if rule is not None:
                searches.append((as_search(rule, key, each, *common), rule))
            else:
                searches.append((replace(terms, method=key, stream=each), None))
                runs(searches[-1][0])  # refuses what cannot be searched
    return searches


def _search(
    search: Search,
    rule: SearchRule | None,
    out: Path,
    data_dir: Path | None,
    device: str,
    conditions: Conditions,
    write: bool,
) -> bool:
    """Search a row, print and keep the choice; return whether that did not fail.

    Raises:
        UserError: a free search failed; by a protocol's rule the next row is searched all the same.
    """
    from benchmark.commands.progress import report_progress
    from benchmark.tuning.rule_search import search_by_rule, why_not
    from benchmark.tuning.search import runs, tune
    from benchmark.tuning.tuned_section import write_section
    from benchmark.tuning.tuning_file import as_text, read

    if rule is not None and (reason := why_not(search, rule)):
        typer.echo(f"{search.method}: {reason}")
        return True
    count = runs(search) if rule is None else rule.trials * len(search.runs({}))
    try:
        with report_progress(count, sys.stdout) as callback:
            where = (out, data_dir, device, conditions, callback)
            path = tune(search, *where) if rule is None else search_by_rule(rule, search, *where)
        typer.echo(f"\n{as_text(read(path), path)}\n\n{path}")
        if write:
            typer.echo(str(write_section(read(path))))
    except UserError as error:
        if rule is None:
            raise
        print_stderr(f"error: {search.method}: {error}")
        return False
    return True
