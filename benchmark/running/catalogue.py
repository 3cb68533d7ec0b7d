"""Loads what the registries name and checks that it is what it claims to be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UserError, unknown
from benchmark.registry import METHODS, STREAMS

if TYPE_CHECKING:
    from benchmark.method import Method
    from benchmark.running.run import Run
    from benchmark.stream import Stream


_described: dict[str, Stream] = {}


def know(path: Path) -> None:
    """Let `load_stream` find the stream that a file describes by its name as well, in this process.

    Raises:
        UserError: the file cannot be read, or something in it is wrong.
    """
    stream = load_stream(str(path))
    _described[stream.name] = stream


def load_stream(name: str) -> Stream:
    """Return the stream that a name means, or that a TOML file describes.

    Raises:
        UserError: the name is unknown, or what it leads to is no stream.
    """
    from benchmark.data.stream_file import is_stream_file, read_stream
    from benchmark.stream import Stream

    if is_stream_file(name):
        return read_stream(Path(name))
    if name in _described:
        return _described[name]
    entry, stream = STREAMS.entry(name), STREAMS.load(name)
    if not isinstance(stream, Stream):
        raise UserError(f"the stream '{entry.key}' in {entry.location} is not a benchmark.stream.Stream")
    if not stream.orders or not stream.protocols:
        raise UserError(f"the stream '{entry.key}' in {entry.location} must name an order and a protocol")
    for alias, order in stream.aliases.items():
        if order not in stream.orders or alias in stream.orders:
            raise UserError(
                f"the stream '{entry.key}' in {entry.location} has the alias '{alias}' of '{order}', "
                "which must be another name for one of its orders"
            )
    return stream


def exact_stream(name: str) -> Stream:
    """Return the stream whose key is this very name, letter by letter.

    Raises:
        UserError: no stream has it.
    """
    if name not in _described and name not in STREAMS.entries:
        raise unknown(STREAMS.kind, name, [*STREAMS.names(), *_described], STREAMS.command)
    return load_stream(name)


def load_method(name: str) -> type[Method]:
    """Return the method that a name means.

    Raises:
        UserError: the name is unknown, or what it leads to is no method.
    """
    from benchmark.method import Method

    entry, method = METHODS.entry(name), METHODS.load(name)
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise UserError(
            f"the method '{entry.key}' in {entry.location} is not a benchmark.method.Method class"
        )
    return method


def is_registered_here(run: Run) -> bool:
    """Whether the run's method or stream is known to this process alone, with its code in no commit."""
    stream = run.stream_file is None and STREAMS.has_registered(run.stream)
    return stream or METHODS.has_registered(run.method)
