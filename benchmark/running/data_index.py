"""Remembers the fingerprint of data that was loaded before, so that a complete run is skipped unread."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data.files import data_dir as chosen_data_dir
from benchmark.errors import UserError
from benchmark.registry import STREAMS
from benchmark.results import to_json
from benchmark.running.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from benchmark.running.run import Run
    from benchmark.stream import LoadedStream

PACKAGES = ("numpy", "pandas", "scikit-learn", "datasets")
"""Packages that bring data, or that can change what is read from a file."""


class DataIndex:
    """Fingerprints by what was asked of a stream, valid while its files and its code are as they were.

    As they were means: of equal size and time of change, in the data folder, in the package that defines the
    stream and in this one, with equal versions of what reads them. Anything else is loaded again.
    """

    def __init__(self, out: Path, data_dir: Path | None) -> None:
        """Keep the index in the sweep folder of `out`; data is read from `data_dir` or BENCH_DATA."""
        self.folder = SweepFolder(out).root / "data"
        self.data_dir = data_dir
        self._sources: dict[str, str] = {}
        self._read: dict[str, str | None] = {}
        self._names: dict[tuple[str, str, int, int, int], tuple[str, Run]] = {}

    def find_fingerprint(self, run: Run) -> str | None:
        """Return the fingerprint of a run's data, or None where only loading can show it."""
        name = self._name(run)
        if name not in self._read:
            self._read[name] = self._lookup(name, run)
        return self._read[name]

    def note(self, run: Run, fingerprint: str, loaded: LoadedStream) -> None:
        """Remember a fingerprint; that of data from a hub, which can change out of sight, is not."""
        sources = self._state(run)
        if loaded.revisions or sources is None:
            return
        name = self._name(run)
        self._read[name] = fingerprint
        # Neither whole nor on disk for certain: an entry that cannot be read only costs a load.
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(to_json({"sources": sources, "fingerprint": fingerprint}))

    def _name(self, run: Run) -> str:
        # Runs of one plan share these objects; each is kept, so that no other takes its number.
        key = (run.stream, run.order, run.seed, id(run.protocol), id(run.parameters))
        if key not in self._names:
            protocol = run.protocol.identity()
            asked = [run.stream, run.order, run.seed, protocol, run.parameters, self._where]
            name = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]
            self._names[key] = name, run
        return self._names[key][0]

    def _lookup(self, name: str, run: Run) -> str | None:
        try:
            stored = json.loads((self.folder / name).read_bytes())
            return str(stored["fingerprint"]) if stored["sources"] == self._state(run) else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @cached_property
    def _where(self) -> str | None:
        try:
            folder = chosen_data_dir(self.data_dir)
        except UserError:  # reported when the data is loaded
            return None
        return None if folder is None else str(folder.resolve())

    @cached_property
    def _files(self) -> list[str]:
        return _list_files(Path(self._where)) if self._where else []

    def _state(self, run: Run) -> str | None:
        """Return a hash of everything that the rows of a stream come from; None where that is not known."""
        if run.stream_file is not None:  # names files of its own, anywhere
            return None
        if run.stream not in self._sources:
            entry = STREAMS.entry(run.stream)
            code = [] if entry.here else _source_files(entry.module)
            if not code:
                return None
            listed = [*self._files, *code, *_list_files(Path(__file__).parents[1], "**/*.py")]
            listed += [f"{name} {version}" for name, version in find_versions(PACKAGES).items()]
            self._sources[run.stream] = hashlib.sha256("\n".join(listed).encode()).hexdigest()
        return self._sources[run.stream]


def _source_files(module: str) -> list[str]:
    """Return the facts of a module's package, or of its file alone where it is in none."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None or not Path(spec.origin).exists():
        return []
    path = Path(spec.origin)
    return _list_files(path.parent) if "." in module else [_facts(path)]


def _list_files(folder: Path, pattern: str = "*") -> list[str]:
    """Return the facts of the files under a folder."""
    return [
        _facts(path) for path in sorted(folder.rglob(pattern)) if path.is_file() and path.suffix != ".pyc"
    ]


def _facts(path: Path) -> str:
    """Return name, size and time of change of a file."""
    stat = path.stat()
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def find_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in packages:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
