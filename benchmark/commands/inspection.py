"""What `bench list` prints: names and summaries without importing anything, details on request."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from benchmark.commands.progress import counting
from benchmark.errors import UserError
from benchmark.registry import BACKBONES, LOGGERS, METHODS, STREAMS, Entry, Registry

if TYPE_CHECKING:
    from pydantic import BaseModel

REGISTRIES = {"methods": METHODS, "streams": STREAMS, "backbones": BACKBONES, "loggers": LOGGERS}


def overview(kinds: list[str]) -> str:
    """Return every name of some kinds with its one-line summary."""
    blocks = []
    for kind in kinds:
        entries = REGISTRIES[kind].entries
        width = max((len(key) for key in entries), default=0)
        rows = [f"  {key:<{width}}  {entry.summary}{_feature(kind, entry)}" for key, entry in entries.items()]
        blocks.append("\n".join([kind, *(rows or ["  none"])]))
    return "\n\n".join(blocks)


def _feature(kind: str, entry: Entry) -> str:
    """Return what of a preset's tokens is the feature; plug-ins are not loaded for it."""
    if kind != "backbones" or entry.distribution is not None:
        return ""
    feature = BACKBONES.load(entry.key).feature
    return f" [feature: {feature}]" if feature else ""


def check(kinds: list[str], file: TextIO) -> tuple[str, bool]:
    """Load every entry of some kinds; return what came of each, and whether all built-ins load.

    Methods that ask for it are tried on every kind of backbone as well.

    Args:
        file: where trials, which take minutes together, show how far they are.
    """
    lines, loaded, sound = [], [], True
    for kind in kinds:
        for entry in REGISTRIES[kind].entries.values():
            problem = _problem(kind, entry)
            lines.append(f"{kind[:-1]} {entry.key}: {problem or 'ok'}")
            sound = sound and (problem is None or entry.distribution is not None)
            if kind == "methods" and problem is None:
                loaded.append(entry)
    table, failures = _trials(loaded, file)
    return "\n".join([*lines, *table, *failures]), sound and not failures


def _trials(entries: list[Entry], file: TextIO) -> tuple[list[str], list[str]]:
    """Return the table of what was tried, and a line for each built-in that fails where it says it works."""
    from benchmark.running.catalogue import load_method
    from benchmark.running.trial import ARCHITECTURES, trial

    tried = [(entry, method) for entry in entries if (method := load_method(entry.key)).tried]
    if not tried:
        return [], []
    rows, failures = [], []
    with counting(len(tried) * len(ARCHITECTURES), "trial", file) as show:
        for entry, method in tried:
            found = {}
            for kind, architecture in ARCHITECTURES.items():
                show(f"{entry.key} on {kind} ({architecture})")
                found[kind] = trial(method, kind)
            rows.append([entry.key, *("yes" if problem is None else "no" for problem in found.values())])
            failures += [
                f"{entry.key} on {kind} ({ARCHITECTURES[kind]}): {problem}"
                for kind, problem in found.items()
                if problem is not None and kind in method.kinds and entry.distribution is None
            ]
    from tabulate import tabulate

    heads = ["trained, saved and restored on", *(f"{kind} ({name})" for kind, name in ARCHITECTURES.items())]
    return ["", tabulate(rows, heads, tablefmt="plain")], failures


def orders(name: str) -> str:
    """Return a stream's orders by value, the default first, then its aliases."""
    from benchmark.running.catalogue import load_stream

    stream = load_stream(name)
    lines = [f"{order}: {_order(value)}" for order, value in stream.orders.items()]
    return "\n".join([*lines, *(f"{alias}: alias of {order}" for alias, order in stream.aliases.items())])


def protocols(name: str) -> str:
    """Return a stream's protocols by value; the first is the default."""
    from benchmark.running.catalogue import load_stream

    blocks = []
    for key, protocol in load_stream(name).protocols.items():
        values = protocol.model_dump(mode="json", exclude={"name"})
        blocks.append("\n".join([key, *(f"  {field} = {value}" for field, value in values.items())]))
    return "\n\n".join(blocks)


def method(name: str) -> str:
    """Return what a method's file says about it, its hyper-parameters, tuned values and search space."""
    from benchmark.running.catalogue import load_method
    from benchmark.running.tuned_values import all_tuned_values
    from benchmark.tuning.search_space import as_data, space_of

    loaded = load_method(name)
    needs = [need for need, asked in vars(loaded.needs).items() if asked]
    space = [f"  {name}: {json.dumps(values)}" for name, values in as_data(space_of(loaded)).items()]
    tuned = [
        f"  {place}: {_values(chosen.values)} ({chosen.source.rstrip('.')})"
        for place, chosen in all_tuned_values(METHODS.entry(name).key).items()
    ]
    return "\n".join(
        [
            _facts(METHODS, name),
            "",
            f"needs beyond the current task's data: {', '.join(needs) or 'nothing'}",
            f"backbones: {', '.join(loaded.kinds)}",
            "hyper-parameters (--set key=value)",
            *(_fields(loaded.Hyperparameters) or ["  none"]),
            *(["tuned values"] if tuned else []),
            *tuned,
            *(["searched by bench tune"] if space else []),
            *space,
        ]
    )


def stream(name: str) -> str:
    """Return a stream's facts, orders, protocols and settings."""
    from benchmark.data.stream_file import is_stream_file
    from benchmark.running.catalogue import load_stream

    loaded = load_stream(name)
    facts = {
        "kind": loaded.kind,
        "licence": loaded.licence,
        "homepage": loaded.homepage,
        "orders": ", ".join([*loaded.orders, *(f"{a} = {order}" for a, order in loaded.aliases.items())]),
        "protocols": ", ".join(loaded.protocols),
        "citation": " ".join(loaded.citation.split()),
    }
    settings = _fields(loaded.parameters) if loaded.parameters else []
    published = [protocol for protocol in loaded.protocols if protocol in loaded.published]
    return "\n".join(
        [
            loaded.title,
            "",
            f"{loaded.name}: described by {name}" if is_stream_file(name) else _facts(STREAMS, name),
            "",
            *(f"{key:<10}{value}" for key, value in facts.items()),
            *(["settings (--set key=value)"] if settings else []),
            *settings,
            *(["settings that protocols go with"] if loaded.published else []),
            *(f"  {protocol}: {_values(loaded.published[protocol])}" for protocol in published),
        ]
    )


def backbone(name: str) -> str:
    """Return what a backbone's file says about it, its feature, and what its weights are."""
    preset = BACKBONES.load(name)
    facts = {
        "kind": preset.kind,
        "feature": preset.feature,
        "licence": preset.licence,
        "hub": f"{preset.hub_id}{' (not checked)' if preset.recalled else ''}" if preset.hub_id else None,
        "weights": f"sha256 {preset.weights_hash}" if preset.weights_hash else "as the hub has them",
    }
    lines = [f"{key:<10}{value}" for key, value in facts.items() if value is not None]
    return "\n".join([_facts(BACKBONES, name), "", *lines])


def _values(settings: Mapping[str, Any]) -> str:
    """Return settings as `key=value`."""
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _facts(registry: Registry, name: str) -> str:
    """Return the docstring of the file behind a name; that of a plug-in only by importing it."""
    entry = registry.entry(name)
    if entry.path is not None:
        text = entry.docstring
    else:
        registry.load(name)
        text = inspect.getdoc(importlib.import_module(entry.module)) or ""
    return f"{entry.key}: {text}\n\ndefined in {entry.location}"


def _problem(kind: str, entry: Entry) -> str | None:
    """Return why an entry does not load, or None."""
    from benchmark.running.catalogue import load_method, load_stream

    loaders: dict[str, Any] = {"methods": load_method, "streams": load_stream}
    try:
        loaders.get(kind, REGISTRIES[kind].load)(entry.key)
    except UserError as error:
        return " ".join(str(error).split())
    return None


def _fields(model: type[BaseModel]) -> list[str]:
    """Return one line for each field of a model: name, type, default and description."""
    return [
        "  " + " ".join(part for part in parts if part)
        for name, field in model.model_fields.items()
        for parts in [
            (
                f"{name}: {_annotation(field.annotation)}",
                "(required)" if field.is_required() else f"= {field.get_default(call_default_factory=True)}",
                *_bounds(field.metadata),
                f"- {field.description}" if field.description else "",
            )
        ]
    ]


def _annotation(annotation: Any) -> str:
    """Return a type as it is written."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")


def _bounds(metadata: list[Any]) -> Iterator[str]:
    """Yield the limits of a number."""
    for sign, attribute in ((">", "gt"), (">=", "ge"), ("<", "lt"), ("<=", "le")):
        for bound in metadata:
            if getattr(bound, attribute, None) is not None:
                yield f"[{sign} {getattr(bound, attribute)}]"


def _order(value: Any) -> str:
    """Return an order by value."""
    if value is None:
        return "as the stream defines it"
    return f"class permutation with seed {value}" if isinstance(value, int) else " -> ".join(value)
