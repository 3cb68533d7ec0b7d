"""One registry for methods, streams and backbones: the file name, or an entry point's name, is the key.

An object can also be registered under a name for this process alone, as from a notebook.

Nothing is imported until it is asked for by name, so a broken plug-in cannot stop a run that does not use
it, and listing needs neither torch nor transformers.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from benchmark.errors import UserError, refusal, unknown
from benchmark.printable import control_character, printable

_IGNORED = str.maketrans("", "", "-_.")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
HERE = "this process"
"""Stands for the package of what was registered by `Registry.register`."""


def normalise(name: str) -> str:
    """Return the form in which names are compared: lower case, without `-`, `_` and `.`."""
    return name.lower().translate(_IGNORED)


@dataclass(frozen=True)
class Entry:
    """Where a name leads, known without importing it."""

    key: str
    module: str
    attribute: str
    path: Path | None
    distribution: str | None

    @property
    def location(self) -> str:
        """The file, or the package and object, that defines the entry; for messages."""
        return str(self.path) if self.path else f"{self.module}:{self.attribute} of {self.distribution}"

    @property
    def here(self) -> bool:
        """Whether it was registered in this process, where alone it is known."""
        return self.distribution == HERE

    @cached_property
    def docstring(self) -> str:
        """The docstring of the defining file, read without running it; "" where there is no file."""
        if self.path is None:
            return ""
        return ast.get_docstring(ast.parse(self.path.read_text(encoding="utf-8"), str(self.path))) or ""

    @property
    def summary(self) -> str:
        """The first line of the defining file's docstring, read without running it."""
        if self.here:
            return "registered in this process"
        if self.path is None:
            return f"from the package {self.distribution}"
        try:
            return printable(self.docstring.partition("\n")[0])
        except (SyntaxError, ValueError, OSError) as error:
            # One file that is being written hides no other.
            return printable(f"cannot be read: {error}")


class Registry:
    """Names of one kind, from a package's files and from the entry points of installed packages."""

    def __init__(self, kind: str, package: str, attribute: str) -> None:
        """Describe a registry.

        Args:
            kind: what it holds, in the singular ("method").
            package: the package whose files are the built-ins.
            attribute: the object that each built-in file defines ("METHOD").
        """
        self.kind = kind
        self.package = package
        self.attribute = attribute
        self.group = f"bench.{kind}s"
        self.command = f"bench list {kind}s"
        self._registered: dict[str, Any] = {}

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Every entry by key.

        Raises:
            UserError: two files define names that are equal once case, `-` and `_` are ignored, or a name
                holds a control character.
        """
        found: dict[str, Entry] = {}
        taken: dict[str, Entry] = {}
        for entry in [*self._find_built_in(), *self._find_plugged_in()]:
            if mark := control_character(entry.key):
                where = f"{entry.location}; rename or uninstall it"
                raise UserError(f"the name of a {self.kind} holds the control character {mark}: {where}")
            other = taken.get(normalise(entry.key))
            if other is not None:
                raise UserError(
                    f"two {self.kind}s are named '{entry.key}': {other.location} and {entry.location}; "
                    "rename or uninstall one of them"
                )
            taken[normalise(entry.key)] = found[entry.key] = entry
        return dict(sorted(found.items()))

    def names(self) -> list[str]:
        """Return every key, sorted."""
        return sorted(self.entries)

    def entry(self, name: str) -> Entry:
        """Return the entry that a name means.

        Raises:
            UserError: no entry has this name; the message names the nearest and lists all.
        """
        wanted = normalise(name)
        for entry in self.entries.values():
            if normalise(entry.key) == wanted:
                return entry
        raise unknown(self.kind, name, self.names(), self.command)

    def register(self, name: str, value: Any) -> None:
        """Let a name mean an object, in this process; what was registered under the name before is replaced.

        Raises:
            UserError: the name cannot be a part of a file's, or a file or a package has it.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(
                f"{name!r} cannot name a {self.kind}; a name consists of letters, digits, -, _ and ."
            )
        other = next((each for each in self.entries.values() if normalise(each.key) == normalise(name)), None)
        if other is not None:
            if not other.here:
                raise UserError(
                    f"the {self.kind} '{other.key}' is taken by {other.location}; choose another name"
                )
            self.forget(other.key)
        module = str(getattr(value, "__module__", "__main__"))
        entry = Entry(name, module, getattr(value, "__name__", self.attribute), None, HERE)
        self.entries[name] = entry
        self._registered[name] = value

    def has_registered(self, name: str) -> bool:
        """Whether a name means what was registered in this process, in no file that others could read."""
        return any(normalise(each) == normalise(name) for each in self._registered)

    def forget(self, name: str) -> None:
        """Take back what `register` did."""
        del self.entries[name], self._registered[name]

    def load(self, name: str) -> Any:
        """Import and return what a name means.

        Raises:
            UserError: the name is unknown, the module cannot be imported or lacks the object.
        """
        entry = self.entry(name)
        if entry.here:
            return self._registered[entry.key]
        try:
            module = importlib.import_module(entry.module)
        except UserError:
            raise
        except Exception as error:
            if (refused := refusal(error)) is not None:
                raise refused from None
            raise UserError(
                f"the {self.kind} '{entry.key}' cannot be loaded from {entry.location}: "
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
            ) from error
        if not hasattr(module, entry.attribute):
            raise UserError(f"{entry.location} defines no {entry.attribute}, which a {self.kind} must")
        return getattr(module, entry.attribute)

    def _find_built_in(self) -> Iterator[Entry]:
        spec = importlib.util.find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            return
        for path in sorted(Path(spec.submodule_search_locations[0]).glob("*.py")):
            if not path.stem.startswith("_"):
                key = path.stem.replace("_", "-")
                yield Entry(key, f"{self.package}.{path.stem}", self.attribute, path, None)

    def _find_plugged_in(self) -> Iterator[Entry]:
        points: list[EntryPoint] = sorted(entry_points(group=self.group), key=lambda point: point.name)
        for point in points:
            distribution = point.dist.name if point.dist else "an unnamed package"
            yield Entry(point.name, point.module, point.attr or self.attribute, None, distribution)


METHODS = Registry("method", "methods", "METHOD")
STREAMS = Registry("stream", "tasks", "STREAM")
BACKBONES = Registry("backbone", "benchmark.backbones", "BACKBONE")
LOGGERS = Registry("logger", "benchmark.loggers", "LOGGER")
