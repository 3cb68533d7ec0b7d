"""Errors in a TOML text, each with the line that it is in and the nearest valid key."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from benchmark.data.data_errors import DataError
from benchmark.errors import hint

Keys = tuple[str | int, ...]
"""The way to a key: names of tables and keys, and places in lists of tables."""

MOST_LINES = 5_000
"""Of longer files errors are reported without their lines: each line costs a reading of all above it."""

TomlError = tuple[Keys, str]
"""The way to a key, and what is wrong there."""


def errors_of(
    error: ValidationError, model: type[BaseModel], inside: Keys = (), hidden: Collection[str] = ()
) -> Iterator[TomlError]:
    """Yield what a check of a table found.

    Args:
        model: of the table; for unknown keys the nearest valid one is named.
        inside: the way to the table.
        hidden: fields of the model that are no keys.
    """
    for detail in error.errors(include_url=False):
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            *table, key = detail["loc"]
            message = unknown_key(str(key), set(_fields(model, table)) - set(hidden))
        elif detail["type"] == "missing":
            message = "is required"
        elif detail["type"] != "value_error":
            message = f"{message[0].lower()}{message[1:]}, not {detail['input']!r:.60}"
        yield (*inside, *detail["loc"]), message


def unknown_key(key: str, valid: Iterable[str]) -> str:
    """Return what to say of a key that a table does not know."""
    names = sorted(valid)
    return f"unknown key '{key}'{hint(key, names)} (valid: {', '.join(names)})"


def _fields(model: type[BaseModel], table: Sequence[str | int]) -> Iterable[str]:
    """Return the keys of a table within the one that a model describes."""
    for key in table:
        if isinstance(key, str):
            kind = model.model_fields[key].annotation
            inner = (kind, *get_args(kind))
            model = next(one for one in inner if isinstance(one, type) and issubclass(one, BaseModel))
    return model.model_fields


def in_lines(errors: Sequence[TomlError], text: str, path: Path) -> list[DataError]:
    """Return each error in one line: the file and the line in it, the key and what is wrong there."""
    lines = lines_of(text, [keys for keys, _ in errors])
    found = []
    # As they stand in the file; a key that is missing may be one that is misspelled above.
    for keys, message in sorted(errors, key=lambda each: lines.get(each[0], len(text))):
        # What is unknown is named by the message.
        named = keys[:-1] if message.startswith("unknown key ") else keys
        place = ""
        for part in named:
            place += f"[{part}]" if isinstance(part, int) else f".{part}" if place else str(part)
        where = f"{path}, line {lines[keys]}" if keys in lines else str(path)
        found.append(DataError(" ".join(f"{where}: {place + ': ' if place else ''}{message}".split())))
    return found


def lines_of(text: str, wanted: Iterable[Keys]) -> dict[Keys, int]:
    """Return the line, from 1, in which each key or table begins; of one that is not there, its table's.

    A key begins in the first line with which the text so far is TOML that has it, or above, where its value
    takes several lines. Keys of which not even the outermost table is there have no line.

    Args:
        text: a whole TOML document.
        wanted: ways to keys: names of tables and keys, and places in lists of tables.
    """
    wanted = list(wanted)
    outer = {keys[:length] for keys in wanted for length in range(1, len(keys) + 1)}
    found: dict[Keys, int] = {}
    begun, lines = 1, text.split("\n")
    if len(lines) > MOST_LINES:
        return {}
    for end in range(1, len(lines) + 1):
        if len(found) == len(outer):
            break
        try:
            content = tomllib.loads("\n".join(lines[:end]) + "\n")
        except (ValueError, RecursionError):  # within a value of several lines
            continue
        found |= {keys: begun for keys in outer - found.keys() if _has(content, keys)}
        begun = end + 1
    return {keys: line for keys in wanted if (line := _innermost(found, keys))}


def _has(content: Any, keys: Keys) -> bool:
    for key in keys:
        try:
            content = content[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _innermost(found: dict[Keys, int], keys: Keys) -> int | None:
    lengths = range(len(keys), 0, -1)
    return next((found[keys[:length]] for length in lengths if keys[:length] in found), None)
