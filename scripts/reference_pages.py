"""Writes the reference pages of the documentation: an mkdocs hook that asks the registries and the commands.

Nothing on these pages is typed by hand. `pages` returns them, and mkdocs calls `on_files` and
`on_page_markdown` while it builds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from inspect import cleandoc, getdoc
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from benchmark.commands import inspection
from benchmark.registry import BACKBONES, LOGGERS, METHODS, STREAMS, Registry

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
FIGURES = re.compile(r"<!-- figures: ([\w-]+) -->")
MARKED = re.compile(r"([\\*_<\[\]#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those of the folder."""
    from mkdocs.structure.files import File

    for name, text in pages().items():
        files.append(File.generated(config, f"reference/{name}", content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the figures of a published board where a page asks for them."""
    return FIGURES.sub(lambda found: readings(ROOT / "leaderboards" / f"{found[1]}.md"), markdown)


def pages() -> dict[str, str]:
    """Return every reference page by its path below `reference/`."""
    return {
        "methods/index.md": index(METHODS, "Methods", "bench list --method NAME"),
        **{f"methods/{name}.md": method(name) for name in METHODS.names()},
        "streams/index.md": index(STREAMS, "Streams", "bench list --stream NAME"),
        **{f"streams/{name}.md": stream(name) for name in STREAMS.names()},
        "backbones.md": backbones(),
        "loggers.md": loggers(),
        "commands.md": commands(),
        "metrics.md": metrics(),
        "protocol.md": protocol(),
        "stream-file.md": stream_file(),
        "result-file.md": result_file(),
    }


# --- text to markdown


def prose(text: str) -> str:
    """Return a docstring as markdown: indented blocks stay as they are, marks elsewhere are escaped."""
    blocks = re.split(r"\n{2,}", text.strip("\n"))
    return "\n\n".join(_block(block) for block in blocks)


def _block(block: str) -> str:
    first, *others = block.splitlines()
    if all(line.startswith("    ") for line in [first, *others]):
        return block
    if first in ("Args:", "Attributes:", "Raises:", "Class attributes:"):
        items = re.sub(r"^    (?! )", "- ", "\n".join(others), flags=re.MULTILINE)
        return f"{first}\n\n{escape(re.sub(' {8}', '  ', items))}"
    return escape(block)


def escape(text: str) -> str:
    """Return a text whose marks mean themselves, but for those within backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else MARKED.sub(r"\\\1", part) for part in parts)


def code(text: object) -> str:
    """Return a text as code that may stand in a table."""
    return f"`{text}`" if str(text) else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells are markdown already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(' '.join(cell.split()) for cell in line)} |" for line in lines)


def fields(model: type[BaseModel]) -> str:
    """Return the table of a model's fields: name, type, default, limits, what it is."""
    rows = []
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else code(field.get_default(call_default_factory=True))
        limits = ", ".join(_limits(field.metadata))
        meaning = escape(field.description or "")
        rows.append([code(name), code(write_type(field.annotation)), default, limits, meaning])
    return table(["name", "type", "default", "limits", "meaning"], rows) if rows else "None."


def write_type(annotation: Any) -> str:
    """Return a type as it is written, without the names of modules."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return re.sub(r"\b(?:\w+\.)+(?=\w)", "", text)


def _limits(metadata: Sequence[Any]) -> Iterator[str]:
    for sign, attribute in ((">", "gt"), ("≥", "ge"), ("<", "lt"), ("≤", "le")):
        for bound in metadata:
            if getattr(bound, attribute, None) is not None:
                yield f"{sign} {getattr(bound, attribute)}"


def about(registry: Registry, name: str) -> str:
    """Return what the file behind a name says of it; the summary of a plug-in."""
    entry = registry.entry(name)
    if entry.path is None:
        return escape(entry.summary)
    return prose(entry.docstring)


def page(title: str, *blocks: str) -> str:
    """Return a page from its blocks, empty ones left out."""
    return "\n\n".join([f"# {title}", *(block for block in blocks if block)]) + "\n"


# --- methods, streams, backbones, loggers


def index(registry: Registry, title: str, command: str) -> str:
    """Return the page that lists a registry and links a page of each entry."""
    rows = [[f"[{name}]({name}.md)", escape(entry.summary)] for name, entry in registry.entries.items()]
    said = f"{len(rows)} are found here. `{command}` prints the same as the pages."
    return page(title, said, table([registry.kind, "in one line"], rows))


def method(name: str) -> str:
    """Return a method's page: idea, needs, settings, tuned values and what a search tries."""
    from benchmark.running.catalogue import load_method
    from benchmark.running.tuned_values import all_tuned_values
    from benchmark.tuning.search_space import as_data, space_of

    loaded = load_method(name)
    needs = [need.replace("_", " ") for need, asked in vars(loaded.needs).items() if asked]
    facts = [
        f"- Needs beyond the current task's data: {', '.join(needs) or 'nothing'}",
        f"- Kinds of backbone: {', '.join(loaded.kinds)}",
    ]
    tuned = [
        [code(place), pairs(chosen.values), escape(chosen.source)]
        for place, chosen in all_tuned_values(name).items()
    ]
    space = [[code(key), values_tried(values)] for key, values in as_data(space_of(loaded)).items()]
    return page(
        name,
        about(METHODS, name),
        "\n".join(facts),
        f"## Settings (`--set`)\n\n{fields(loaded.Hyperparameters)}",
        f"## Values in place of defaults\n\n{table(['protocol', 'values', 'source'], tuned)}"
        if tuned
        else "",
        f"## Searched by `bench tune`\n\n{table(['setting', 'values'], space)}" if space else "",
    )


def values_tried(values: Any) -> str:
    """Return the values or the span of numbers that a search tries."""
    if not isinstance(values, Mapping):
        return ", ".join(code(value) for value in values)
    return f"{values['low']} to {values['high']}" + (", logarithmic" if values["log"] else "")


def stream(name: str) -> str:
    """Return a stream's page: facts, orders, and every protocol's values that are no defaults."""
    from benchmark.running.catalogue import load_stream

    loaded = load_stream(name)
    facts = {
        "kind": loaded.kind,
        "licence": loaded.licence,
        "homepage": loaded.homepage,
        "citation": " ".join(loaded.citation.split()),
    }
    orders = "\n".join(f"- {escape(line)}" for line in inspection.orders(name).splitlines())
    budgets = []
    for key, budget in loaded.protocols.items():
        values = budget.model_dump(mode="json", exclude_defaults=True, exclude={"name", "source"})
        budgets.append(f"### {key}\n\n{escape(budget.source)}\n\n{pairs(values)}")
    return page(
        name,
        about(STREAMS, name),
        "\n".join(f"- {key}: {escape(value)}" for key, value in facts.items() if value),
        f"## Settings (`--set`)\n\n{fields(loaded.parameters)}" if loaded.parameters else "",
        f"## Orders\n\n{orders}",
        "## Protocols\n\nWhat differs from the [defaults](../protocol.md).",
        *budgets,
    )


def pairs(values: Mapping[str, Any]) -> str:
    """Return settings as `key=value`."""
    return ", ".join(code(f"{key}={value}") for key, value in values.items())


def backbones() -> str:
    """Return the page of all backbones."""
    blocks = []
    for name in BACKBONES.names():
        preset = BACKBONES.load(name)
        names = ("kind", "feature", "licence", "hub_id")
        facts = {name.removesuffix("_id"): getattr(preset, name) for name in names}
        lines = "\n".join(f"- {key}: {escape(str(value))}" for key, value in facts.items() if value)
        blocks.append(f"## {name}\n\n{about(BACKBONES, name)}\n\n{lines}")
    return page("Backbones", "`--backbone` also takes a folder or an id of the Hugging Face hub.", *blocks)


def loggers() -> str:
    """Return the page of all loggers."""
    return page("Loggers", *(f"## {name}\n\n{about(LOGGERS, name)}" for name in LOGGERS.names()))


# --- commands


def commands() -> str:
    """Return the page of all commands that `bench --help` shows, with their arguments and flags."""
    from typer.main import get_command

    from benchmark.cli import app

    return page("Commands", *_commands(get_command(app), "bench", None))


def _commands(command: Any, name: str, parent: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=name.split()[-1], parent=parent)
    if hasattr(command, "commands"):
        for child, each in command.commands.items():
            if not each.hidden:
                yield from _commands(each, f"{name} {child}", context)
        return
    records = [param.get_help_record(context) for param in command.params]
    rows = [[code(" ".join(flag.split())), escape(text)] for flag, text in filter(None, records)]
    yield "\n\n".join([f"## {name}", prose(help_of(command)), table(["flag", "meaning"], rows)])


def help_of(command: Any) -> str:
    """Return a command's help, of which a form feed ends what is shown."""
    return cleandoc((command.help or "").partition("\f")[0])


# --- metrics, protocol, files


def metrics() -> str:
    """Return the page of all conventions, of the boards' columns and of the scores of a task."""
    from benchmark.publishing import comparisons, tables
    from benchmark.scoring.metrics import CONVENTIONS, HEADLINE
    from benchmark.scoring.task_metrics import NAMES, PAIRS

    blocks = [
        f"### {name}\n\n{prose(getdoc(rule.function) or '')}\n\n"
        f"{'Higher' if rule.higher_is_better else 'Lower'} is better. Reported by: {escape(rule.users)}."
        + (" In every result." if name in HEADLINE else "")
        for name, rule in CONVENTIONS.items()
    ]
    columns = tables.DEFINITIONS | comparisons.DEFINITIONS
    scores = [[code(name), PAIRS[name][1] if name in PAIRS else ""] for name in NAMES]
    return page(
        "Metrics",
        "`R[t][i]` is the score on task i after task t was learned, both counted from 0; T is the number of "
        "tasks and `n_i` the number of test rows of task i.",
        "## Columns of the boards",
        "\n".join(f"- **{escape(name)}**: {escape(text)}" for name, text in columns.items()),
        "## Scores of one task",
        table(["name", "what it is"], scores),
        "## Conventions",
        *blocks,
    )


def protocol() -> str:
    """Return the page of a protocol's settings."""
    from benchmark.protocol import Protocol

    return page("Protocol settings", prose(getdoc(Protocol) or ""), fields(Protocol))


def stream_file() -> str:
    """Return the page of the keys of a file that describes a stream."""
    from benchmark.data import stream_schema

    return page("Stream files", "The keys of a TOML file that describes a stream.", *_models(stream_schema))


def result_file() -> str:
    """Return the page of the keys of a result."""
    from benchmark import results

    return page("Result files", "The keys of the JSON record of one run.", *_models(results))


def _models(module: ModuleType) -> Iterator[str]:
    """Yield the fields of every model that a module defines."""
    for name, model in vars(module).items():
        own = isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == module.__name__
        if own and model.model_fields:
            yield f"## {name}\n\n{prose(getdoc(model) or '')}\n\n{fields(model)}"


# --- figures of a board


def readings(board: Path) -> str:
    """Return what a published board says of its references, of class means and of the best row by group.

    Args:
        board: a page that `bench leaderboard` wrote; there may be none yet.
    """
    if not board.is_file():
        return "No runs are published on this stream under this version of the results yet."
    wanted = {"ncm", "frozen", "joint", "linear-probe", "seq-lora"}
    rows, section = [], ""
    for line in board.read_text(encoding="utf-8").splitlines():
        if line.startswith("### "):
            section, heads, first = line[4:], [], True
        cells = [cell.strip(" *") for cell in line.strip("|").split("|")]
        if not line.startswith("|") or section == "Costs" or line.startswith("|:"):
            continue
        if cells[0] == "method":
            heads = cells
        elif "AP ↑" in heads:
            if first or re.sub(r" \((?!classifier).*", "", cells[0]) in wanted:
                rows.append([code(cells[0]), section, cells[heads.index("AP ↑")]])
            first = False
    return table(["row", "table", "AP"], rows)
