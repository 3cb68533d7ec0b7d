"""Builds the method of a finished run again, as it was after its last task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmark.data.files import describe_error
from benchmark.errors import UserError
from benchmark.method import Method
from benchmark.registry import STREAMS
from benchmark.results import Result
from benchmark.running.building import build, prepare_device
from benchmark.running.catalogue import load_stream
from benchmark.running.checkpoint import read_state
from benchmark.running.run import Run
from benchmark.running.worker import load_data
from benchmark.stream import Examples, LoadedStream, Task


def rebuild_run(result: Result, *stream_files: Path | None) -> Run:
    """Return the run of a result, whose data can be loaded.

    Args:
        stream_files: that describe streams, None being none; the one of the result's stream is taken.

    Raises:
        UserError: a file cannot be read, or the result's stream is not listed and none of the files is its.
    """
    files = {load_stream(str(path)).name: path for path in stream_files if path is not None}
    if result.stream not in files and result.stream not in STREAMS.entries:
        given = ", ".join(f"{path} describes '{name}'" for name, path in files.items())
        raise UserError(
            f"the result is of the stream '{result.stream}', which is not listed here"
            f"{f' and {given}' if given else ''}; pass --stream FILE.toml with the file that describes it "
            "(see: bench list streams)"
        )
    return replace(Run.of(result), stream_file=files.get(result.stream))


def rebuild_with_data(
    result: Result, path: Path, data_dir: Path | None, *stream_files: Path | None
) -> tuple[Method, LoadedStream]:
    """Return the method of a finished run as it was after its last task, with the rows of the run.

    Args:
        stream_files: see `rebuild_run`.

    Raises:
        UserError: the adapters or the data cannot be read, or are not those of the result.
    """
    loaded, fingerprint = load_data(rebuild_run(result, *stream_files), data_dir)
    stored = result.provenance.data_fingerprint
    if fingerprint != stored:
        raise UserError(f"the data here are not those of {path}: {fingerprint}, not {stored}")
    return rebuild(result, path, loaded.tasks), loaded


def rebuild(result: Result, path: Path, tasks: list[Task] | None = None) -> Method:
    """Return the method of a finished run as it was after its last task.

    Args:
        tasks: with their rows; none where no row is looked at.

    Raises:
        UserError: the adapters are missing, damaged, or of another method or backbone.
    """
    nothing = Examples([])
    if tasks is None:
        tasks = [Task(facts.name, nothing, nothing, classes=tuple(facts.classes)) for facts in result.tasks]
    state = read_state(path.with_suffix(".safetensors"), result.key)
    method, _ = build(Run.of(result), tasks, prepare_device("cpu"))
    try:
        method.restore(state)
    except KeyError as error:
        raise UserError(f"the adapters beside {path} are of another method: {error} is missing") from None
    except (ValueError, IndexError, RuntimeError, TypeError) as error:  # as torch reports shapes that differ
        raise UserError(f"the adapters beside {path} are of other shapes: {describe_error(error)}") from None
    # Of a method that builds on this one, whose further tensors would otherwise go unnoticed.
    own = method.state()
    for name in sorted(set(state) - set(own)):
        raise UserError(f"the adapters beside {path} are of another method: '{name}' is not of this one")
    for name, tensor in sorted(own.items()):
        found = state.get(name)
        if found is None or found.shape != tensor.shape or found.dtype != tensor.dtype:
            raise UserError(f"the adapters beside {path} are of another method, in shape or type: '{name}'")
    return method
