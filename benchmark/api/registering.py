"""Methods and streams registered from a notebook's cell, for this process, without a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmark.errors import UserError
from benchmark.registry import METHODS, STREAMS

if TYPE_CHECKING:
    from benchmark.method import Method
    from benchmark.stream import Stream


def register_method(name: str, method: type[Method]) -> None:
    """Let `run(method=name)` mean a class in this process; a second call with the name replaces the first.

    Raises:
        UserError: it is no `benchmark.method.Method` class, or a file or a package has the name.
    """
    from benchmark.method import Method

    if not (isinstance(method, type) and issubclass(method, Method)):
        raise UserError(f"register_method takes a benchmark.method.Method class, not {_kind(method)}")
    METHODS.register(name, method)


def register_stream(stream: Stream) -> None:
    """Let `run(stream=stream.name)` mean a stream in this process; one of the same name is replaced.

    Raises:
        UserError: it is no `benchmark.stream.Stream`, it lacks an order or a protocol, or a file or a package
            has its name.
    """
    from benchmark.running.catalogue import load_stream
    from benchmark.stream import Stream

    if not isinstance(stream, Stream):
        raise UserError(f"register_stream takes a benchmark.stream.Stream, not {_kind(stream)}")
    STREAMS.register(stream.name, stream)
    try:
        load_stream(stream.name)
    except UserError:
        STREAMS.forget(stream.name)
        raise


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
