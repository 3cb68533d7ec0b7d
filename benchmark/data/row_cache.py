"""Arrays that are made once and memory-mapped from then on: decoded images, tokens, parsed rows.

An entry is a folder `<kind>/<hash of its key>/` of `.npy` files and an `entry.json` with their sizes and
hashes. It is made under another name, written through to the disk and renamed, and only by the process that
holds its lock; so a reader sees a whole entry or none, whoever is killed and whoever else builds. What an
entry holds is compared with its hashes whenever it is opened, and an entry that differs is made again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import logging
import mmap
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from benchmark.data.cache_place import OFF as OFF
from benchmark.data.cache_place import VARIABLE as VARIABLE
from benchmark.data.cache_place import place as place
from benchmark.data.data_errors import is_collecting, strict
from benchmark.data.durable_files import open_durable, sync_folder
from benchmark.errors import UserError

VERSION = 1
MANIFEST = "entry.json"
# Larger files are hashed again only if they seem to have been written to since they were made.
ALWAYS_HASHED = 2**26

log = logging.getLogger(__name__)


class Arrays(Protocol):
    """Where the arrays of an entry go while it is made."""

    def append(self, name: str, block: np.ndarray) -> None:
        """Put rows under those of the named array; the first block fixes its type and the shape of a row."""
        ...

    def create(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return the named array, of a size known beforehand, to be written into before `build` returns."""
        ...


Build = Callable[[Arrays], None]


class Found(dict[str, np.ndarray]):
    """Arrays by name; `identity` tells those of an entry from all others, and is None for what is in none."""

    identity: str | None = None


def map_cached(kind: str, key: Sequence[str], build: Build) -> Found:
    """Return the arrays that `build` makes: mapped from the cache, where they are made if they are missing.

    Where there is no cache, or it cannot be written, they are made in memory.

    Args:
        kind: the part of the cache, a plain word.
        key: everything that the arrays depend on, the code that makes them included.
        build: appends the arrays block by block; an empty array is one empty block.
    """
    root = place()
    if root is not None:
        try:
            entry = _Entry(root / kind, key)
            found = Found(entry.arrays(build))
            found.identity = f"{kind}/{entry.name}"
            return found
        except (OSError, NotImplementedError) as error:  # the second: a file system without locks
            log.debug("no cache in %s (%s); the %s are made in memory", root, error, kind)
    return in_memory(build)


def map_stored(kind: str, key: Sequence[str], build: Build, before: Callable[[], None]) -> Found:
    """Return the arrays that `build` makes, mapped from the cache and from nowhere else, and note the use.

    Args:
        before: called where the entry is missing, before it is made; raises OSError where it may not be.

    Raises:
        OSError: there is no cache, or it cannot be written.
        NotImplementedError: the file system has no locks.
    """
    root = place()
    if root is None:
        raise OSError(f"{VARIABLE} is {OFF}")
    entry = _Entry(root / kind, key)

    def checked(arrays: Arrays) -> None:
        before()
        build(arrays)

    found = Found(entry.arrays(checked))
    found.identity = f"{kind}/{entry.name}"
    with contextlib.suppress(OSError):
        os.utime(entry.path / MANIFEST)
    return found


@dataclass(frozen=True)
class EntryFacts:
    """An entry on the disk: its folder, its bytes, and when it was last used, in seconds since 1970."""

    path: Path
    size: int
    used: float


def entries(folder: Path) -> list[EntryFacts]:
    """Return the entries of one kind; those that go or come meanwhile may be missing."""
    found = []
    for manifest in folder.glob(f"*/{MANIFEST}"):
        with contextlib.suppress(OSError):
            size = sum(file.stat().st_size for file in manifest.parent.iterdir())
            found.append(EntryFacts(manifest.parent, size, manifest.stat().st_mtime))
    return found


def remove(entry: EntryFacts) -> None:
    """Delete an entry; a process that has it mapped reads on."""
    # The manifest first: an entry without one is none.
    with contextlib.suppress(OSError):
        (entry.path / MANIFEST).unlink()
    shutil.rmtree(entry.path, ignore_errors=True)


def map_if_sound(kind: str, key: Sequence[str], build: Build) -> Found:
    """Return arrays as `map_cached` does; where errors are collected, what is sound of faulty ones as well.

    Those are mapped from files that are gone with the process.

    Raises:
        UserError: something is faulty and nobody collects errors, or nothing of it is sound.
    """
    try:
        with strict():
            return map_cached(kind, key, build)
    except UserError:
        if not is_collecting():
            raise
        return _unkept(build)


def _unkept(build: Build) -> Found:
    # A mapped file lives on without its name; where it cannot lose that, it is left to the system.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        with contextlib.closing(_Files(Path(folder))) as files:
            build(files)
        return Found({name: _map_array(Path(folder) / f"{name}.npy") for name in files.names})


def in_memory(build: Build) -> Found:
    """Return the arrays that `build` makes, made in memory: for what no key can be given."""
    memory = _Memory()
    build(memory)
    return Found(memory.arrays())


@functools.cache
def code_of(*parts: Any) -> str:
    """Return a hash of the source of modules, classes or functions.

    It is the part of a key that changes whenever what they make might.
    """
    sources = "\0".join(inspect.getsource(part) for part in parts)
    return hashlib.sha256(sources.encode()).hexdigest()


def identity_of(paths: Iterable[Path]) -> str:
    """Return a hash of files' names, sizes and times: the part of a key for files too many to be read.

    A file that is not there is no error here, but of whoever reads it.
    """
    digest = hashlib.sha256()
    for path in paths:
        with contextlib.suppress(OSError):
            found = path.stat()
            digest.update(json.dumps([str(path.absolute()), found.st_size, found.st_mtime_ns]).encode())
    return digest.hexdigest()


def release(array: np.ndarray) -> None:
    """Give back the memory behind a mapped array; what is read again comes from the file again.

    For passes over everything, which would else hold all of it at their end.
    """
    owner: Any = array
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        owner.madvise(mmap.MADV_DONTNEED)


class _Facts(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    size: int
    modified: int
    sha256: str


class _Manifest(BaseModel):
    """The content of `entry.json`."""

    model_config = ConfigDict(strict=True, extra="forbid")
    version: int
    key: list[str]
    arrays: dict[Annotated[str, StringConstraints(pattern="^[a-z0-9_]+$")], _Facts]


class _Entry:
    """One entry of the cache, there or not."""

    def __init__(self, folder: Path, key: Sequence[str]) -> None:
        self.key = [str(VERSION), *key]
        self.name = hashlib.sha256(json.dumps(self.key).encode()).hexdigest()[:32]
        self.folder = folder
        self.path = folder / self.name

    def arrays(self, build: Build) -> dict[str, np.ndarray]:
        """Return the entry's arrays, made first where it is missing or damaged."""
        found = self._open()
        if found is not None:
            return found
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{self.name}.lock"):
            # Another process may have made it while this one waited.
            found = self._open()
            if found is None:
                self._clear()
                self._make(build)
                found = self._open()
        if found is None:
            raise OSError(f"{self.path} was written and reads otherwise")
        return found

    def _open(self) -> dict[str, np.ndarray] | None:
        """Return the arrays, or None where anything is not as it was written."""
        try:
            manifest = _Manifest.model_validate_json((self.path / MANIFEST).read_bytes())
            if manifest.version != VERSION or manifest.key != self.key:
                return None
            for name, facts in manifest.arrays.items():
                if not _is_as_written(self._file(self.path, name), facts):
                    return None
            return {name: _map_array(self._file(self.path, name)) for name in manifest.arrays}
        except (OSError, ValidationError, ValueError):
            return None

    def _make(self, build: Build) -> None:
        making = Path(tempfile.mkdtemp(prefix=f".{self.name}.", suffix=".tmp", dir=self.folder))
        try:
            with contextlib.closing(_Files(making)) as files:
                build(files)
            found = {name: _facts(self._file(making, name)) for name in files.names}
            manifest = _Manifest(version=VERSION, key=self.key, arrays=found)
            with open_durable(making / MANIFEST) as handle:
                handle.write(manifest.model_dump_json().encode())
            sync_folder(making)
            os.rename(making, self.path)
            sync_folder(self.folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _clear(self) -> None:
        """Delete a damaged entry and what killed processes left of it; the lock is held."""
        for stray in (self.path, *self.folder.glob(f".{self.name}.*.tmp")):
            shutil.rmtree(stray, ignore_errors=True)

    @staticmethod
    def _file(folder: Path, name: str) -> Path:
        return folder / f"{name}.npy"


class _Files:
    """Arrays that go to `.npy` files as they come, so that none is ever in memory as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.created: dict[str, np.memmap] = {}
        self.written: dict[str, tuple[contextlib.ExitStack, BinaryIO, np.ndarray]] = {}
        self.rows: dict[str, int] = {}

    def append(self, name: str, block: np.ndarray) -> None:
        if name not in self.written:
            stack = contextlib.ExitStack()
            handle = stack.enter_context(open_durable(self.folder / f"{name}.npy"))
            self.written[name], self.rows[name] = (stack, handle, block[:0]), 0
            _header(handle, 0, block)
        _, handle, first = self.written[name]
        _check(name, first, block)
        handle.write(np.ascontiguousarray(block).data)
        self.rows[name] += len(block)

    def create(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        self.created[name] = np.lib.format.open_memmap(path, "w+", dtype, shape, version=(1, 0))
        if hasattr(os, "posix_fallocate"):
            # Now and with an error, not by a signal when a page is written to a full disk.
            with open(path, "r+b") as handle:
                os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)
        return self.created[name]

    @property
    def names(self) -> list[str]:
        """All arrays there are."""
        return [*self.created, *self.written]

    def close(self) -> None:
        """Write the headers again, which now can say how many rows there are, and bring all to the disk."""
        for name, (stack, handle, first) in self.written.items():
            with stack:
                handle.seek(0)
                # As long as the first one: numpy pads a header for any number of rows.
                _header(handle, self.rows[name], first)
        for array in self.created.values():
            array.flush()


class _Memory:
    """Arrays that stay in memory."""

    def __init__(self) -> None:
        self.created: dict[str, np.ndarray] = {}
        self.blocks: dict[str, list[np.ndarray]] = {}

    def append(self, name: str, block: np.ndarray) -> None:
        blocks = self.blocks.setdefault(name, [])
        _check(name, blocks[0] if blocks else block, block)
        blocks.append(np.array(block))

    def create(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        self.created[name] = np.zeros(shape, dtype)
        return self.created[name]

    def arrays(self) -> dict[str, np.ndarray]:
        return self.created | {name: np.concatenate(blocks) for name, blocks in self.blocks.items()}


def _check(name: str, first: np.ndarray, block: np.ndarray) -> None:
    if (first.dtype, first.shape[1:]) != (block.dtype, block.shape[1:]):
        raise ValueError(
            f"'{name}' holds rows of {first.dtype} {first.shape[1:]}, not {block.dtype} {block.shape[1:]}"
        )


def _header(handle: BinaryIO, rows: int, like: np.ndarray) -> None:
    described = np.lib.format.dtype_to_descr(like.dtype)
    shape = (rows, *like.shape[1:])
    np.lib.format.write_array_header_1_0(handle, {"descr": described, "fortran_order": False, "shape": shape})


def _facts(path: Path) -> _Facts:
    with open(path, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        found = os.fstat(handle.fileno())
        return _Facts(size=found.st_size, modified=found.st_mtime_ns, sha256=digest)


def _is_as_written(path: Path, facts: _Facts) -> bool:
    found = path.stat()
    if found.st_size != facts.size:
        return False
    untouched = found.st_size > ALWAYS_HASHED and found.st_mtime_ns == facts.modified
    return untouched or _facts(path).sha256 == facts.sha256


def _map_array(path: Path) -> np.ndarray:
    # Copy on write, because torch wants arrays that it could write to; nobody does.
    return np.load(path, mmap_mode="c", allow_pickle=False).view(np.ndarray)
