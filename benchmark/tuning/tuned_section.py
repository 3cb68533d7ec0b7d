"""What a search chose, written as a section of the suite's own file of tuned values."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark.errors import UserError
from benchmark.results import atomic_write, unwritable
from benchmark.running.tuned_values import SCORES, SearchFacts, folders, read_tuned
from benchmark.space import OBJECTIVES
from benchmark.tuning.tuning_file import TuningFile

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"^\[+\s*[\"']?([^\]\"'.]+)[\"']?[^\]]*\]+\s*(#.*)?$")


def write_section(found: TuningFile) -> Path:
    """Put a search's choice, with every trial, in `<stream>/<protocol>.toml` and return the file.

    The sections of other methods stay as they are, to the letter.

    Raises:
        UserError: there is no folder of tuned values, or its file is faulty or cannot be written.
    """
    folder = next(folders(found.method), None)
    if folder is None:
        raise UserError("there is no folder of tuned values beside the installed package; leave --write out")
    path = folder / found.stream / f"{found.protocol}.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Searches of several methods may end side by side, and each writes the whole file.
        with FileLock(path.with_name(f".{path.name}.lock")):
            before = ""
            if path.is_file():
                read_tuned(path)  # a faulty file is reported, not mended
                before = without_section(path.read_text(encoding="utf-8"), found.method)
            text = f"{before.rstrip()}\n\n{section_of(found)}".lstrip()
            atomic_write(path, text.encode())
    except OSError as error:
        raise unwritable(path, error) from None
    read_tuned(path)
    return path


def without_section(text: str, method: str) -> str:
    """Return a TOML file without one method's section and the tables below it."""
    kept, inside = [], False
    for line in text.splitlines():
        if header := _HEADER.match(line):
            inside = header[1].strip() == method
        if not inside:
            kept.append(line)
    return "\n".join(kept) + "\n"


def section_of(found: TuningFile) -> str:
    """Return the section of a search as TOML."""
    chosen = found.chosen
    facts = {name: getattr(chosen, name) for name in SearchFacts.model_fields}
    trials = [
        {
            **trial.values,
            "state": trial.state,
            **({} if trial.score is None else {SCORES[chosen.objective]: round(100 * trial.score, 2)}),
        }
        for trial in found.trials
    ]
    with_settings = f" with {', '.join(found.settings)}" if found.settings else ""
    words = OBJECTIVES[chosen.objective][1]
    source = f"bench tune, {words} on validation rows, on {found.backbone}{with_settings}"
    lines = [
        f"[{_key(found.method)}]",
        f"values = {_toml(chosen.values)}",
        f"source = {_toml(source)}",
        f"search = {_toml(facts)}",
        "trials = [",
        *(f"    {_toml(trial)}," for trial in trials),
        "]",
    ]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """Return a value in TOML's inline form; its strings, numbers and truth values are JSON's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(name)} = {_toml(item)}" for name, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)
