"""The verbs that read results: what `bench` can say about runs that are finished."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmark.commands.options import DataDir, Format, check_one_form, print_found
from benchmark.errors import UserError
from benchmark.guard import INCOMPLETE, guarded

LeaveOneOut = Annotated[
    bool, typer.Option("--leave-one-out", help="Also score without each adapter; needs the data.")
]
Effects = Annotated[
    bool, typer.Option("--effects", help="Also fit the effects on rows of each task; needs the data.")
]
StreamFiles = Annotated[
    list[Path] | None,
    typer.Option(
        exists=True, dir_okay=False, help="The .toml file of a result's stream, if it is of one; repeatable."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@guarded
def metrics(
    result: Annotated[Path, typer.Argument(help="A result file, a packed file or a folder of results.")],
    single: Annotated[
        Path | None, typer.Option(help="A result whose diagonal has each task learned alone.")
    ] = None,
    joint: Annotated[Path | None, typer.Option(help="A result of joint training, for intransigence.")] = None,
    as_json: AsJson = False,
    form: Format = None,
) -> None:
    """Print a result's numbers by every convention in use, and who uses it."""
    check_one_form(as_json, form)
    from benchmark.analysis import translator
    from benchmark.publishing.soundness import check_sound
    from benchmark.result_files import read_all
    from benchmark.results import Result, read

    def sound(path: Path) -> Result:
        run = read(path)
        check_sound(run, path)
        return run

    references = [None if path is None else sound(path) for path in (single, joint)]
    runs, problems = read_all(result, check_sound)
    found = [translator.of_result(run, *references) for _, run in runs]
    if form is not None:
        from benchmark.publishing.paper_tables import convention_tables, write_tables

        named = [(run.name, each) for (_, run), each in zip(runs, found, strict=True)]
        print_found(write_tables(convention_tables(named), form), problems)
        return
    if as_json:
        data = [translator.as_data(each) for each in found]
        print_found(json.dumps(data[0] if len(data) == 1 else data, indent=1), problems)
        return
    tables = [translator.table(each) for each in found]
    titles = [run.name for _, run in runs] if len(runs) > 1 else [""]
    print_found(
        "\n\n".join("\n".join(filter(None, pair)) for pair in zip(titles, tables, strict=True)), problems
    )


@guarded
def ledger(
    root: Annotated[Path, typer.Option(help="Folder with results and published/.")] = Path("leaderboards"),
    out: Annotated[Path, typer.Option(help="Folder for the ledger.")] = Path("leaderboards"),
    form: Format = None,
) -> None:
    """Write published numbers beside ours, with a verdict on each.

    --format writes nothing and prints the tables.
    """
    from benchmark.publishing import ledger as published

    if form is not None:
        from benchmark.publishing.paper_tables import write_tables

        typer.echo(write_tables(published.tables(root), form))
        return
    typer.echo(str(published.build(root, out)))


@guarded
def redundancy(
    result: Annotated[
        list[Path], typer.Argument(help="Result files or folders; the adapters lie beside the results.")
    ],
    leave_one_out: LeaveOneOut = False,
    effects: Effects = False,
    data_dir: DataDir = None,
    stream: StreamFiles = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder for the pictures of each result.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="A markdown page whose tables to write; its other words stay.")
    ] = None,
    as_json: AsJson = False,
    form: Format = None,
) -> None:
    """Say how much the adapters of different tasks overlap."""
    check_one_form(as_json, form)
    from benchmark.analysis import redundancy as analysis
    from benchmark.analysis.run_analysis import Depth, analyse_run
    from benchmark.result_files import find

    data, texts, analysed = [], [], []
    problems: list[str] = []
    depth = Depth(effects, leave_one_out, data_dir, tuple(stream or ()))
    for path in dict.fromkeys(file for source in result for file in find(source)):
        try:
            each = analyse_run(path, depth)
        except UserError as error:
            problems.append(str(error))
            continue
        record, blocks = each.found.as_data(), [analysis.tables(each.found)]
        if each.removed is not None:
            from benchmark.analysis import leave_one_out as removal

            record["leave_one_out"] = each.removed.as_data()
            blocks.append(removal.table(each.removed))
        if pictures is not None:
            from benchmark.publishing import plots
            from benchmark.publishing.plot_style import save

            for name, picture in plots.redundancy(each.found).items():
                blocks += [str(file) for file in save(picture, pictures / f"{path.stem}-{name}")]
        data.append(record)
        analysed.append(each)
        texts.append("\n\n".join(blocks))
    if not analysed:
        raise UserError("; ".join(problems) or f"no results in {', '.join(map(str, result))}")
    if page is not None:
        from benchmark.publishing.redundancy_page import write_page

        texts.append(str(write_page(analysed, page)))
    if form is not None:
        from benchmark.publishing import redundancy_page
        from benchmark.publishing.paper_tables import write_tables

        print_found(write_tables(redundancy_page.tables(analysed), form), problems)
        return
    print_found(json.dumps(data, indent=1) if as_json else "\n\n\n".join(texts), problems)


@guarded
def report(
    source: Annotated[Path, typer.Argument(help="A result file, or a folder of them.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    leave_one_out: LeaveOneOut = False,
    effects: Effects = False,
    data_dir: DataDir = None,
    stream: StreamFiles = None,
) -> None:
    """Write one HTML page with tables and pictures of a run or of all runs in a folder."""
    from benchmark.analysis.run_analysis import Depth
    from benchmark.publishing import report as pages

    typer.echo(str(pages.build(source, out, Depth(effects, leave_one_out, data_dir, tuple(stream or ())))))


@guarded
def compare(
    first: Annotated[Path, typer.Argument(help="A result file, or a folder with the runs of one method.")],
    second: Annotated[Path, typer.Argument(help="What it is compared with, in the same form.")],
    form: Format = None,
) -> None:
    """Compare two results task by task, paired by run and test row."""
    from benchmark.analysis.pairing import pair
    from benchmark.publishing.collect import row_method
    from benchmark.publishing.soundness import check_sound
    from benchmark.result_files import read_all
    from benchmark.text_table import text_table

    sides, names = [], []
    for source in (first, second):
        found, problems = read_all(source, check_sound)
        if problems:  # a difference over fewer runs than were asked for would be another one
            raise UserError("; ".join(problems))
        methods = sorted({row_method(run) for _, run in found})
        if len(methods) > 1:
            raise UserError(f"{source} holds runs of {', '.join(methods)}; give those of one method")
        sides.append([run for _, run in found])
        names.append(methods[0])
    if names[0] == names[1]:
        names = [f"{names[0]} ({place})" for place in ("first", "second")]
    paired = pair(sides[0], sides[1], (names[0], names[1]))
    if form is None:
        sides_of = ["left", *["right"] * (paired.frame().shape[1] - 1)]
        typer.echo(f"{text_table(paired.frame(), colalign=sides_of)}\n\n{paired.note()}")
        return
    from benchmark.publishing.paper_tables import comparison_table, write_tables

    typer.echo(write_tables([comparison_table(paired)], form))


@guarded
def figures(
    source: Annotated[Path, typer.Argument(help="A result file, a packed file or a folder of results.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("figures"),
) -> None:
    """Write every picture of results as PDF and SVG, sized for one column of a paper."""
    from benchmark.publishing.figures import write_figures

    typer.echo("\n".join(str(path) for path in write_figures(source, out)))


@guarded
def headroom(
    stream: Annotated[str, typer.Argument(help="A stream's key.")],
    backbone: Annotated[str | None, typer.Option(help="Only results on this backbone.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Only results of this protocol.")] = None,
    root: Annotated[Path, typer.Option(help="Folder with the results.")] = Path("leaderboards"),
    form: Format = None,
) -> None:
    """Say whether a stream leaves adapters room to differ.

    Joint LoRA has to stand 5 points and 5 standard errors above the best reading of the frozen backbone, and
    at 5 x chance. The exit code is not 0 where it does not, or where a row is missing.
    """
    from benchmark.publishing import headroom_tables
    from benchmark.publishing.headroom import verdicts
    from benchmark.publishing.paper_tables import write_tables

    found = verdicts(root, stream, backbone, protocol)
    if form is None:
        typer.echo(headroom_tables.write_text(found))
    else:
        typer.echo(write_tables(headroom_tables.make_tables(found), form))
    raise typer.Exit(INCOMPLETE if any(verdict.refusal for verdict in found) else 0)
