"""`bench tune`: the flags of a search for hyper-parameters."""

from __future__ import annotations

import sys
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
    from benchmark.commands.progress import report_progress
    from benchmark.registry import METHODS
    from benchmark.running.job import Conditions
    from benchmark.running.plan import find_streams, keys
    from benchmark.running.stopping import Stop
    from benchmark.tuning import search as tuning
    from benchmark.tuning.rule_search import as_search, in_order, rule_of
    from benchmark.tuning.tuning_file import as_text, read

    free = any(each is not None for each in (trials, selection, order, seed))
    found, methods = find_streams(stream), keys(METHODS, method)
    rules = {each: None if free else rule_of(each, protocol, settings or ()) for each in found.values()}
    if write and not all(rules.values()):
        raise UserError("--write keeps the choice of a protocol's own search, and this search is none")
    asked = [
        tuning.Search(
            *(key, each, trials or 20, order, seed or tuning.SEED, backbone, protocol, settings or ()),
            selection=(selection or Selection.validation).value,
        )
        for each, rule in rules.items()
        if rule is None
        for key in methods
    ]
    counts = [tuning.runs(search) for search in asked]  # refuses what cannot be searched before any is run
    ruled = [
        (as_search(rule, key, each, backbone, protocol, settings or ()), rule)
        for each, rule in rules.items()
        if rule is not None
        for key in in_order(methods)
    ]
    if dry_run:
        from benchmark.commands.search_report import as_text as plan_text

        typer.echo(plan_text([*((search, None) for search in asked), *ruled], out, data_dir))
        return
    sound = True
    try:
        with Stop(out, lambda line: print(line, flush=True)) as stop:
            conditions = Conditions(retry=retry, stop=stop.file)
            for search, count in zip(asked, counts, strict=True):
                with report_progress(count, sys.stdout) as callback:
                    path = tuning.tune(search, out, data_dir, device, conditions, callback)
                typer.echo(f"\n{as_text(read(path), path)}\n\n{path}")
            for search, rule in ruled:
                sound &= _by_rule(rule, search, out, data_dir, device, conditions, write)
    except KeyboardInterrupt:
        kept = f"every finished trial is kept in {out}"
        raise typer.Exit(end_interrupted(f"stopped: {kept}; the same command continues from there")) from None
    raise typer.Exit(0 if sound else INCOMPLETE)


def _by_rule(
    rule: SearchRule,
    search: Search,
    out: Path,
    data_dir: Path | None,
    device: str,
    conditions: Conditions,
    write: bool,
) -> bool:
    """Search a row by its protocol's rule, print and keep the choice; return whether that did not fail."""
    from benchmark.commands.progress import report_progress
    from benchmark.tuning.rule_search import search_by_rule, why_not
    from benchmark.tuning.tuned_section import write_section
    from benchmark.tuning.tuning_file import as_text, read

    if reason := why_not(search, rule):
        typer.echo(f"{search.method}: {reason}")
        return True
    try:
        with report_progress(rule.trials * len(search.runs({})), sys.stdout) as callback:
            path = search_by_rule(rule, search, out, data_dir, device, conditions, callback)
        typer.echo(f"\n{as_text(read(path), path)}\n\n{path}")
        if write:
            typer.echo(str(write_section(read(path))))
    except UserError as error:  # the next row is searched all the same
        print_stderr(f"error: {search.method}: {error}")
        return False
    return True
