"""The text classification tasks rebuilt from the hub, in O-LoRA's text form and sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.data.hub import Hub
from benchmark.data.hub_tables import require
from benchmark.errors import UserError
from benchmark.stream import Examples, LoadedStream, Task, Wording
from tasks.sources import rows as common
from tasks.sources.text_classification import TASKS, TextTask

if TYPE_CHECKING:
    from datasets import Dataset

# O-LoRA's subsets hold about 1000 training rows a class and at most 7600 test rows.
TRAIN_PER_CLASS = 1000
TEST_ROWS = 7600


def from_hub(names: Sequence[str], hub: Hub) -> LoadedStream:
    """Return tasks rebuilt from hub data sets, in O-LoRA's text form and sizes.

    The rows are sampled with a fixed seed and are not the rows of O-LoRA's files: at most 1000 training rows
    a class and 7600 test rows, and no training text that is also in test.
    """
    tasks, revisions, counts = [], {}, []
    for name in names:
        facts = TASKS[name]
        splits, commit = hub.load(facts.hub, ("train", facts.test_split))
        source = facts.hub.identifier
        test, unlabelled = _draw(splits[facts.test_split], facts, f"{source}, {facts.test_split}", None)
        train, more = _draw(splits["train"], facts, f"{source}, train", TRAIN_PER_CLASS)
        train, repeated = common.remove_rows_of(train, test)
        tasks.append(
            Task(
                name,
                train=train,
                test=test,
                classes=facts.labels,
                wording=Wording(facts.group, facts.directory, facts.instruction),
            )
        )
        if commit:
            revisions[source] = commit
        counts += [
            (name, unlabelled + more, "rows without a label left out"),
            (name, repeated, "train rows left out whose text is in test"),
        ]
    notes = ("rows drawn from the hub, not O-LoRA's own subsets", *common.notes(counts))
    return LoadedStream(tasks, "the Hugging Face hub", revisions=revisions, notes=notes)


def _draw(rows: Dataset, facts: TextTask, source: str, per_class: int | None) -> tuple[Examples, int]:
    """Sample rows by a fixed seed: so many of each class, or at most TEST_ROWS; and count unlabelled ones."""
    import numpy as np

    require((facts.label_column, *facts.columns), rows.column_names, source)
    numbers = np.asarray(rows[facts.label_column][:])
    if numbers.dtype.kind not in "iu":
        raise UserError(
            f"{source}: the column '{facts.label_column}' holds {numbers.dtype}, not whole numbers"
        )
    numbers = numbers - facts.first_label
    labelled = numbers != -1
    wrong = np.flatnonzero(labelled & ((numbers < 0) | (numbers >= len(facts.hub_labels))))
    if len(wrong):
        raise UserError(
            f"{source}, row {wrong[0]}: the label {numbers[wrong[0]] + facts.first_label} is none of the "
            f"{len(facts.hub_labels)} from {facts.first_label} on"
        )
    order = np.random.RandomState(0).permutation(len(rows))
    order = order[labelled[order]]
    if per_class is None:
        chosen = order[:TEST_ROWS]
    else:
        classes = range(len(facts.hub_labels))
        chosen = np.concatenate([order[numbers[order] == c][:per_class] for c in classes])
    chosen = np.sort(chosen)
    place = np.array([facts.labels.index(label) for label in facts.hub_labels])
    texts = [_text(row, facts, source, n) for row, n in zip(rows.select(chosen), chosen, strict=True)]
    ids = [f"{source.rpartition(', ')[2]}-{n}" for n in chosen]
    return Examples(texts, place[numbers[chosen]], None, ids), int((~labelled).sum())


def _text(row: dict[str, object], facts: TextTask, source: str, number: int) -> str:
    for name in facts.columns:
        if not isinstance(row[name], str):
            raise UserError(f"{source}, row {number}: the column '{name}' is not text")
    return facts.text(row)
