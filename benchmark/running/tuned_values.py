"""The values that a method uses in a protocol in place of its defaults: chosen by a search, or published.

They are data: `sweeps/tuned/<stream>/<protocol>.toml` has a section for each method, with the values and
where they come from. A plug-in keeps its own in a folder `tuned` of its package, under the same names.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmark.data.toml_errors import errors_of, in_lines
from benchmark.data.toml_file import content_of, text_of
from benchmark.errors import UserError
from benchmark.registry import METHODS
from benchmark.results import Tuned
from benchmark.space import OBJECTIVES, Objective

SCORES: Mapping[str, str] = {name: f"validation_{short.lower()}" for name, (short, _) in OBJECTIVES.items()}
"""What a trial's score is called in a section."""
PACKAGE, FOLDER = "sweeps", "tuned"


class SearchFacts(BaseModel):
    """How the values of a section were searched for; see `benchmark.results.Tuned` for the words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sampler: str
    pruner: str
    space: dict[str, Any]
    tuned_on: list[str]
    objective: Objective = "average_performance"


class TunedValues(BaseModel):
    """One method's values in one protocol.

    Attributes:
        values: hyper-parameters by name; each replaces the method's default.
        source: how they were chosen, or where they are published.
        trials: what a search tried: hyper-parameters, and the validation score that each choice gave.
        search: how it searched, where it was one of `bench tune`; none: the values are published or given.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: dict[str, Any]
    source: str = Field(min_length=1)
    trials: list[dict[str, Any]] = Field(default_factory=list)
    search: SearchFacts | None = None


def find_tuned_values(method: str, stream: str, protocol: str) -> dict[str, Any]:
    """Return what a method uses in a protocol in place of its defaults; empty where nothing is chosen.

    Raises:
        UserError: the file of the protocol cannot be read or is no such file.
    """
    section = _find_section(method, stream, protocol)
    return section.values if section else {}


def find_tuned_search(method: str, stream: str, protocol: str) -> Tuned | None:
    """Return the search that chose the values of `find_tuned_values`; None where there was none."""
    section = _find_section(method, stream, protocol)
    if section is None or section.search is None:
        return None
    return Tuned(
        trials=len(section.trials),
        selection="validation",
        values=section.values,
        record=f"{PACKAGE}/{FOLDER}/{stream}/{protocol}.toml",
        **section.search.model_dump(),
    )


def _find_section(method: str, stream: str, protocol: str) -> TunedValues | None:
    for folder in folders(method):
        path = folder / stream / f"{protocol}.toml"
        if path.is_file() and method in (sections := read_tuned(path)):
            return sections[method]
    return None


def all_tuned_values(method: str) -> dict[str, TunedValues]:
    """Return everything that is chosen for a method, by "<stream>/<protocol>"."""
    found = {}
    for folder in folders(method):
        for path in list_tuned_files(folder):
            sections = read_tuned(path)
            if method in sections:
                found[f"{path.parent.name}/{path.stem}"] = sections[method]
    return found


def folders(method: str) -> Iterator[Path]:
    """Yield the folders with tuned values that may name a method: the suite's, or its own package's."""
    entry = METHODS.entry(method)
    if entry.here:  # it is in no package
        return
    package = PACKAGE if entry.distribution is None else entry.module.partition(".")[0]
    spec = importlib.util.find_spec(package)
    for place in (spec and spec.submodule_search_locations) or ():
        yield Path(place) / FOLDER


def list_tuned_files(folder: Path) -> list[Path]:
    """Return the files of a folder of tuned values, sorted."""
    return sorted(folder.glob("*/*.toml"))


def read_tuned(path: Path) -> dict[str, TunedValues]:
    """Return the sections of a file by method.

    Raises:
        UserError: it cannot be read, is no TOML, or a section has an unknown key or lacks one.
    """
    what = "file of tuned values"
    text = text_of(path, what)
    sections = {}
    for method, content in content_of(text, path).items():
        try:
            sections[method] = TunedValues.model_validate(content)
        except ValidationError as error:
            errors = in_lines(list(errors_of(error, TunedValues, (method,))), text, path)
            raise UserError("; ".join(one.line for one in errors)) from None
    return sections
