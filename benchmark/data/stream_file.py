"""A stream described by a TOML file, read and checked. Its rows are read later.

    name = "tickets"
    title = "Support tickets"
    kind = "text-classification"
    licence = "internal"

    [table]                                  # or [[tasks]], one table a task, each with its name
    source = { path = "tickets.csv" }
    columns = { task = "task", split = "split", text = "text", label = "label" }

    [protocol.smoke]
    backbone = "..."
    epochs = 2

Paths are relative to the file. `benchmark.data.stream_schema` says which keys there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.data.data_errors import InvalidData
from benchmark.data.stream_schema import AS_LISTED, NAME, StreamFile
from benchmark.data.toml_errors import TomlError, errors_of, in_lines, unknown_key
from benchmark.data.toml_file import content_of, text_of
from benchmark.protocol import Protocol
from benchmark.registry import STREAMS, normalise
from benchmark.stream import LoadedStream, Request, Sources, Stream

SUFFIX = ".toml"
FORMERLY = "quick"
"""What `smoke` was called before."""


def is_stream_file(given: str) -> bool:
    """Return whether a stream's name is the path of a file that describes one."""
    return given.lower().endswith(SUFFIX)


def read_stream(path: Path) -> Stream:
    """Return the stream that a file describes.

    Raises:
        UserError: the file cannot be read, or something in it is wrong; `InvalidData` has all there is.
    """
    layout, protocols = _check_text(text_of(path, "stream file"), path)
    orders: dict[str, Any] = {
        name: None if value == AS_LISTED else tuple(value) if isinstance(value, list) else value
        for name, value in layout.orders.items()
    }
    sets = tuple(dict.fromkeys(part.source.hub_set for part in layout.parts if part.source.hub_set))
    return Stream(
        name=layout.name,
        title=layout.title,
        kind=layout.kind,
        licence=layout.licence,
        citation=layout.citation,
        homepage=layout.homepage,
        orders=orders or {AS_LISTED: None},
        protocols=protocols,
        load=partial(_load, layout, path),
        sources=Sources(hub=sets),
    )


def _check_text(text: str, path: Path) -> tuple[StreamFile, dict[str, Protocol]]:
    content = content_of(text, path)
    errors: list[TomlError] = []
    protocols: dict[str, Protocol] = {}
    tables = content.get("protocol")
    # Files of before the first run's protocol was renamed go on; errors in it keep their lines.
    former = False
    if isinstance(tables, dict) and FORMERLY in tables and "smoke" not in tables:
        former = True
        tables = {"smoke" if name == FORMERLY else name: table for name, table in tables.items()}
        content = content | {"protocol": tables}
    if isinstance(tables, dict) and all(isinstance(table, dict) for table in tables.values()):
        protocols = _protocols(tables, path, errors)
    try:
        layout = StreamFile.model_validate(content)
    except ValidationError as error:
        errors = [*errors_of(error, StreamFile), *errors]
    else:
        for key, entry in STREAMS.entries.items():
            if normalise(key) == normalise(layout.name):
                errors.append((("name",), f"'{layout.name}' is taken by {entry.location}; choose another"))
    if former:
        smoke = ("protocol", "smoke")
        errors = [
            (("protocol", FORMERLY, *place[2:]) if place[:2] == smoke else place, words)
            for place, words in errors
        ]
    if errors:
        raise InvalidData(in_lines(errors, text, path), f"bench data verify {path}") from None
    return layout, protocols


def _protocols(
    tables: Mapping[str, Mapping[str, Any]], path: Path, errors: list[TomlError]
) -> dict[str, Protocol]:
    made = {}
    valid = Protocol.model_fields.keys() - {"name"}
    # The first is the default, and that is to be the one that everybody has.
    for name in sorted(tables, key=lambda name: name != "smoke"):
        values, place = tables[name], ("protocol", name)
        if not re.fullmatch(NAME, name):
            errors.append((place, "a name consists of letters, digits and dashes"))
            continue
        if "name" in values:
            errors.append(((*place, "name"), unknown_key("name", valid)))
        try:
            made[name] = Protocol.model_validate({"source": path.name, **values, "name": name})
        except ValidationError as error:
            errors += errors_of(error, Protocol, place, hidden=("name",))
    return made


def _load(layout: StreamFile, path: Path, request: Request) -> LoadedStream:
    from benchmark.data.stream_rows import load

    return load(layout, path, request)
