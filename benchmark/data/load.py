"""Loads a stream: its tasks, checked, with the rows that a protocol and a seed give a run."""

from __future__ import annotations

from dataclasses import replace

from benchmark.data import splits
from benchmark.data.checks import check, check_domains
from benchmark.data.data_errors import InvalidData
from benchmark.data.files import data_dir
from benchmark.data.repeats import repeat
from benchmark.errors import unknown
from benchmark.stream import LoadedStream, Request, Stream


def load(stream: Stream, request: Request) -> LoadedStream:
    """Load a stream, check its tasks and give each the rows that the protocol and the seed allow.

    Where the request names no data folder, the variable BENCH_DATA may.

    Raises:
        UserError: the order is not one of the stream's, a source is missing or faulty, or a task is
            malformed (`check`), or the data folder does not exist.
    """
    if request.order not in stream.orders:
        raise unknown("order", request.order, stream.orders, "bench list streams")
    try:
        loaded = stream.load(replace(request, data_dir=data_dir(request.data_dir)))
    except InvalidData as found:
        command = f"bench data verify {stream.name} --order {request.order}"
        raise InvalidData(found.errors, found.command or command) from None
    if request.protocol.first_tasks is not None:
        most = request.protocol.first_tasks
        loaded = replace(loaded, tasks=loaded.tasks[:most], needs_adapter=loaded.needs_adapter[:most])
    loaded = repeat(loaded, request.protocol.repeat)
    check(stream.name, loaded.tasks)
    if request.protocol.head == "domain-incremental":
        check_domains(stream.name, loaded.tasks)
    seen = [splits.prepare(task, request.protocol, request.seed) for task in loaded.tasks]
    return replace(loaded, tasks=seen)
