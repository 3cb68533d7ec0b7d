"""Adds to a result the readings that it lacks: of the last stage, from the adapters that lie beside it."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import UserError
from benchmark.results import READINGS, TRAINED_HEAD, Reading, Result, read, write
from benchmark.running.readings import Reader, find_scored_examples, pack_stage
from benchmark.running.rebuilding import rebuild_with_data


def find_missing_readings(result: Result) -> list[str]:
    """Return the readings that neither have a last row nor a reason why there is none."""
    found = {name: result.readings.get(name, Reading()) for name in READINGS}
    return [
        name
        for name, reading in found.items()
        if not (reading.blank or (reading.matrix and reading.matrix[-1]))
    ]


def fill(path: Path, data_dir: Path | None, stream_file: Path | None = None) -> list[str]:
    """Read the finished model again and write the readings that its result lacks into the file.

    Args:
        stream_file: that describes the stream, where it is not a registered one.

    Returns:
        the readings added; those that cannot exist are added with the reason.

    Raises:
        UserError: result, adapters or data cannot be read, the data are others, or the model does not give
            the stored scores, so that other readings of it would not be of the run.
    """
    result = read(path)
    missing = find_missing_readings(result)
    if not missing:
        return []
    method, loaded = rebuild_with_data(result, path, data_dir, stream_file)
    reader = Reader(method)
    reader.take_means(range(len(loaded.tasks)))
    scores = {}
    for i, task in enumerate(loaded.tasks):
        examples = find_scored_examples(task, method.protocol.score_on)
        if result.matrix[-1][i] is not None and examples is not None:
            scores[i] = reader.read(i, method.task_model.encode(task, examples), examples)
    metrics = [facts.metric for facts in result.tasks]
    stage = pack_stage(scores, metrics, reader.blank)
    again = stage[TRAINED_HEAD]["scores"]
    stored = result.matrix[-1][: len(again)]
    if again != stored:
        raise UserError(f"the adapters beside {path} do not give its scores: no reading can be added to it")
    readings = dict(result.readings)
    for name in missing:
        readings[name] = _last_stage(result, stage.get(name), reader.blank.get(name))
    write(result.model_copy(update={"readings": readings}), path)
    return missing


def _last_stage(result: Result, stage: dict[str, list[object]] | None, blank: str | None) -> Reading:
    """Return a reading of the last stage alone."""
    if stage is None:
        return Reading(blank=blank)
    earlier: list[list[object]] = [[] for _ in result.tasks[1:]]
    return Reading.model_validate({"matrix": [*earlier, stage["scores"]], "rows": [*earlier, stage["rows"]]})
