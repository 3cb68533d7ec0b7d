"""Looks at all rows of a stream, before a protocol limits them, and reports all that is wrong or odd."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.data.checks import parts_agree, validation_errors
from benchmark.data.data_errors import DataError, collect_into, collecting_errors
from benchmark.data.fingerprint import fingerprint
from benchmark.data.names import difference, fold_name
from benchmark.data.scoring_checks import scoring_errors
from benchmark.stream import Examples, LoadedStream, Request, Stream, Task
from benchmark.text_table import write_count

if TYPE_CHECKING:
    from benchmark.models.backbone import LoadedBackbone
    from benchmark.protocol import Protocol

# The last part of a text of several, such as BoolQ's "question: ..\npassage: ..".
PASSAGE = "passage:"
Key = Callable[[Any], "str | bytes"]


@dataclass(frozen=True)
class SplitCount:
    """How many rows a split has, and how many of each class by name (empty for text to text)."""

    task: str
    split: str
    rows: int
    labels: dict[str, int]


@dataclass(frozen=True)
class Report:
    """What was found in a stream.

    Attributes:
        fingerprint: of all rows; that of a run differs where its protocol leaves rows out. None where the
            rows could not be read.
    """

    stream: str
    order: str
    licence: str
    origin: str
    revisions: dict[str, str]
    fingerprint: str | None
    counts: list[SplitCount]
    errors: list[DataError]

    @property
    def sound(self) -> bool:
        """Whether nothing found is an error."""
        return not any(one.fatal for one in self.errors)


def verify(stream: Stream, request: Request, backbone: LoadedBackbone | None = None) -> Report:
    """Return what is in a stream and what is wrong with it.

    Args:
        request: the order, the data folder and the protocol whose `source_length` texts are held against;
            its limits are not applied.
        backbone: that texts and classes are held against; None where it is not to be had.
    """
    loaded = None
    with collecting_errors() as errors, collect_into(errors):
        loaded = stream.load(request)
    if loaded is None:
        return unread(stream.name, request.order, stream.licence, errors)
    read_whole = not errors
    # A task that nothing could be read of has been reported.
    tasks = [task for task in loaded.tasks if read_whole or any(map(len, task.splits.values()))]
    if not loaded.checked and (tasks or read_whole):
        errors += validation_errors(tasks)
    errors += (DataError(note, fatal=False) for note in loaded.notes)
    for task in tasks:
        if all(parts_agree(rows) for rows in task.splits.values()):
            errors += () if loaded.checked else find_empty_classes(task)
            errors += inspect(task)
    errors += _alike_across_tasks(tasks)
    kind, tokenizer = (backbone.kind, backbone.tokenizer) if backbone else (None, None)
    errors += scoring_errors(tasks, request.protocol, kind, tokenizer)
    if tokenizer is not None:
        errors += too_long(tasks, request.protocol, tokenizer)
    return Report(
        stream.name,
        request.order,
        stream.licence,
        loaded.origin,
        dict(loaded.revisions),
        fingerprint(loaded.tasks) if read_whole else None,
        counts(loaded),
        errors,
    )


def unread(stream: str, order: str, licence: str, errors: Sequence[DataError]) -> Report:
    """Return the report on a stream whose rows could not be read."""
    return Report(stream, order, licence, "", {}, None, [], list(errors))


def counts(loaded: LoadedStream) -> list[SplitCount]:
    """Return the rows of every split, with the distribution over its classes in the classes' order."""
    found = []
    for task in loaded.tasks:
        for split, rows in task.splits.items():
            labels = Counter(() if rows.labels is None else rows.labels.tolist())
            named = {name: labels[number] for number, name in enumerate(task.classes)}
            found.append(SplitCount(task.name, split, len(rows), named))
    return found


def find_empty_classes(task: Task) -> Iterator[DataError]:
    """Yield the classes of a task without training or test rows."""
    for split, rows in task.splits.items():
        if split != "validation" and rows.labels is not None and len(rows):
            present = set(rows.labels.tolist())
            for number, name in enumerate(task.classes):
                if number not in present:
                    yield DataError(f"no rows of the class '{name}'", task.name, split)


def inspect(task: Task) -> Iterator[DataError]:
    """Yield what is wrong or odd with the contents of one task's rows.

    Errors: rows of test that are also in train or validation.
    Oddities: rows that repeat within a split, rows equal up to case and blanks, training rows in validation,
    passages that recur between splits, empty texts and empty references.
    """
    splits = task.splits
    for split, rows in splits.items():
        yield from _empty(task.name, split, rows)
        yield from _repeats(task.name, split, rows)
    for first, second in (("train", "test"), ("validation", "test"), ("train", "validation")):
        if first in splits and second in splits:
            yield from _find_shared_rows(task.name, (first, splits[first]), (second, splits[second]))


def _empty(task: str, split: str, rows: Examples) -> Iterator[DataError]:
    blank = [place for place, text in enumerate(rows.texts, 1) if not text.strip()]
    if blank:
        yield DataError(write_count(len(blank), "empty text"), task, split, tuple(blank), fatal=False)
    answers = enumerate(rows.references or [], 1)
    unanswered = [place for place, accepted in answers if any(not one.strip() for one in accepted)]
    if unanswered:
        yield DataError(
            f"{write_count(len(unanswered), 'row')} with an empty reference",
            task,
            split,
            tuple(unanswered),
            fatal=False,
        )


def _repeats(task: str, split: str, rows: Examples) -> Iterator[DataError]:
    exact = _places(rows, _content)
    twice = [places for places in exact.values() if len(places) > 1]
    if twice:
        yield _groups(twice, "the same content", task, split)
    torn = [places for places in twice if rows.labels is not None and _labels_differ(rows, places)]
    if torn:
        yield _groups(torn, "the same content and different labels", task, split)
    if rows.texts:
        # One row of each exact content, so that no two rows are reported twice.
        near = _places(rows, _squeeze, [places[0] for places in exact.values()])
        close = [places for places in near.values() if len(places) > 1]
        if close:
            yield _groups(close, "texts that differ only by case or blanks", task, split)


def _labels_differ(rows: Examples, places: Sequence[int]) -> bool:
    assert rows.labels is not None
    return len({int(rows.labels[place - 1]) for place in places}) > 1


def _find_shared_rows(
    task: str, first: tuple[str, Examples], second: tuple[str, Examples]
) -> Iterator[DataError]:
    (name, rows), (other, others) = first, second
    there, here = _places(others, _content), _places(rows, _content)
    both = [places for key, places in here.items() if key in there]
    if both:
        lines = [place for places in both for place in places]
        message = f"{write_count(len(lines), 'row')} also in {other}"
        yield DataError(message, task, name, tuple(lines), fatal=other == "test")
    if not rows.texts:
        return
    near = {_squeeze(key): places for key, places in there.items()}
    lines = [
        place
        for key, places in here.items()
        if key not in there and _squeeze(key) in near
        for place in places
    ]
    if lines:
        message = f"{write_count(len(lines), 'row')} also in {other} up to case and blanks"
        yield DataError(message, task, name, tuple(lines), fatal=False)
    theirs, ours = _places(others, _passage), _places(rows, _passage)
    recurring = [places for key, places in ours.items() if key and key in theirs]
    if recurring:
        lines = sorted(place for places in recurring for place in places)
        message = f"{write_count(len(recurring), 'passage')} also in {other}, with other questions"
        yield DataError(message, task, name, tuple(lines), fatal=False)


def _alike_across_tasks(tasks: Sequence[Task]) -> Iterator[DataError]:
    """Yield class names of different tasks that people take for one: they are two classes."""
    seen: dict[str, tuple[str, str]] = {}
    for task in tasks:
        for name in task.classes:
            other, before = seen.setdefault(fold_name(name), (name, task.name))
            if other != name and before != task.name:
                message = (
                    f"the class '{name}' differs only by {difference(name, other)} from '{other}' of {before}"
                )
                yield DataError(message, task.name, fatal=False)


def too_long(tasks: Sequence[Task], protocol: Protocol, tokenizer: Any) -> Iterator[DataError]:
    """Yield how many texts the protocol cuts."""
    from benchmark.data.prompts import encode_all

    whole = protocol.model_copy(update={"source_length": 2**31})
    for task in tasks:
        for split, rows in task.splits.items():
            lengths = [len(tokens) for tokens in encode_all(tokenizer, task, list(rows.texts), whole)]
            over = [place for place, length in enumerate(lengths, 1) if length > protocol.source_length]
            if over:
                rule = f"the {protocol.source_length} tokens of the protocol '{protocol.name}'"
                message = (
                    f"{len(over)} of {len(lengths)} texts are cut at {rule} ({protocol.backbone}); "
                    f"the longest has {max(lengths)}"
                )
                yield DataError(message, task.name, split, tuple(over), fatal=False)


def _places(rows: Examples, key: Key, among: Sequence[int] | None = None) -> dict[str | bytes, list[int]]:
    """Return the places, from 1, of the rows of each key; of all rows, or of those at some places."""
    found: dict[str | bytes, list[int]] = {}
    for place in range(1, len(rows) + 1) if among is None else among:
        found.setdefault(key(rows.inputs[place - 1]), []).append(place)
    return found


def _content(row: Any) -> str | bytes:
    """Return what makes two rows the same: the text, or a hash of the numbers."""
    return row if isinstance(row, str) else hashlib.blake2b(row.tobytes(), digest_size=16).digest()


def _squeeze(row: Any) -> str:
    return " ".join(str(row).lower().split())


def _passage(row: Any) -> str:
    """Return the text after the last mark of a passage, or ""."""
    _, mark, passage = str(row).rpartition(PASSAGE)
    return passage.strip() if mark else ""


def _groups(groups: Sequence[Sequence[int]], what: str, task: str, split: str) -> DataError:
    shown = "; ".join(" = ".join(str(place) for place in places) for places in groups[:10])
    more = f"; {len(groups) - 10} more" if len(groups) > 10 else ""
    lines = tuple(place for places in groups for place in places)
    return DataError(f"{what} in rows {shown}{more}", task, split, lines, fatal=False)
