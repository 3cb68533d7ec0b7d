"""What a protocol and a backbone make of sound tasks: classes it cannot tell apart, texts it cannot score."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from benchmark.data.data_errors import DataError, raise_any
from benchmark.data.names import fold_name
from benchmark.data.prompts import special_tokens, split_prompt
from benchmark.protocol import Protocol
from benchmark.scoring.text_scores import NORMALISERS, rouge_counts
from benchmark.stream import Task

if TYPE_CHECKING:
    from benchmark.models.backbone import LoadedBackbone

SHOWN = 10
LOOKED_AT = 50
"""Texts of a task whose tokens are counted before a run."""
ANSWERING = ("seq2seq", "causal")


def scoring_errors(
    tasks: Sequence[Task], protocol: Protocol, kind: str | None, tokenizer: Any = None
) -> Iterator[DataError]:
    """Yield what makes scores mean less than they seem to; an error where a run is refused.

    Args:
        kind: of the backbone; None where it is not known.
        tokenizer: of the backbone; None where it is not to be had.
    """
    answers = kind in ANSWERING
    if any(task.classes and task.train.texts for task in tasks):
        if protocol.decoding == "greedy":
            yield from _equal_answers(tasks, protocol, answers)
        if tokenizer is not None:
            yield from _find_cut_answers(tasks, protocol, tokenizer, answers)
    if not answers:
        yield from _single_classes(tasks, protocol)
    yield from _unseen_by_rouge(tasks)


def remarks(tasks: Sequence[Task], protocol: Protocol, backbone: LoadedBackbone) -> tuple[str, ...]:
    """Return what a run reports before it begins.

    Raises:
        UserError: its scores would mean nothing; the message has all of `scoring_errors` that are fatal.
    """
    found = list(scoring_errors(tasks, protocol, backbone.kind, backbone.tokenizer))
    raise_any([one for one in found if one.fatal])
    if backbone.tokenizer is not None:
        found += find_unread_texts(tasks, protocol, backbone.tokenizer)
    return tuple(one.line for one in found)


def find_unread_texts(tasks: Sequence[Task], protocol: Protocol, tokenizer: Any) -> Iterator[DataError]:
    """Yield the tasks of whose median text less than half is read, since the prompt takes the tokens."""
    specials = sum(map(len, special_tokens(tokenizer)))
    unread, needed = [], 0
    for task in tasks:
        texts = list(itertools.islice(task.train.texts, LOOKED_AT))
        if not texts:
            continue
        asked = ["".join(split_prompt(tokenizer, protocol.prompt, task)), *texts]
        prompt, *lengths = map(len, tokenizer(asked, add_special_tokens=False, verbose=False)["input_ids"])
        room, median = max(0, protocol.source_length - prompt - specials), round(statistics.median(lengths))
        if 2 * room < median:
            unread.append(f"{task.name} {room} of {median}")
            needed = max(needed, prompt + specials + median)
    if unread:
        yield DataError(
            f"the prompt and source_length {protocol.source_length} leave less than half of a median text's "
            f"tokens to be read: {', '.join(unread[:SHOWN])}{', ...' * (len(unread) > SHOWN)}; use --set "
            f"protocol.source_length={needed}",
            fatal=False,
        )


def _equal_answers(tasks: Sequence[Task], protocol: Protocol, fatal: bool) -> Iterator[DataError]:
    """Yield the classes that the protocol's normaliser makes equal, where answers are compared as texts."""
    for names in _alike(tasks, NORMALISERS[protocol.normaliser]):
        yield DataError(
            f"the classes {names} are equal to the normaliser '{protocol.normaliser}', so that a backbone "
            "that answers in text is right with either; use --set normaliser=exact or decoding=labels-sum",
            fatal=fatal,
        )


def _find_cut_answers(
    tasks: Sequence[Task], protocol: Protocol, tokenizer: Any, fatal: bool
) -> Iterator[DataError]:
    """Yield the classes whose tokens do not fit in an answer, and those that are equal once they are cut."""
    room = protocol.target_length - 1  # the last one is the end of the answer

    def tokens(name: str) -> tuple[int, ...]:
        return tuple(tokenizer(name, add_special_tokens=False)["input_ids"])

    length = f"target_length {protocol.target_length}"
    for names in _alike(tasks, lambda name: tokens(name)[:room]):
        yield DataError(
            f"the classes {names} are equal in their first {room} tokens, all that an answer of {length} "
            "holds: no backbone that answers in text tells them apart; use --set target_length=N",
            fatal=fatal,
        )
    for task in tasks:
        lengths = {name: len(tokens(name)) for name in task.classes}
        long = [name for name in lengths if lengths[name] > room]
        if long:
            yield DataError(
                f"{len(long)} of {len(lengths)} classes are longer than an answer of {length}, and no "
                f"backbone that answers in text is right with them: {_list_names(long)}; use --set "
                f"target_length={max(lengths.values()) + 1}",
                task.name,
                fatal=False,
            )


def _alike(tasks: Sequence[Task], made: Callable[[str], Any]) -> Iterator[str]:
    """Yield groups of class names that something is made of which is the same for all, as words.

    Of names that differ by case alone, which is reported elsewhere, one is looked at.
    """
    groups = defaultdict(list)
    for name in {fold_name(name): name for task in tasks for name in task.classes}.values():
        groups[made(name)].append(name)
    return (_list_names(names) for names in groups.values() if len(names) > 1)


def _single_classes(tasks: Sequence[Task], protocol: Protocol) -> Iterator[DataError]:
    """Yield the tasks of one class, whose cross-entropy over their own classes is always 0."""
    single = [task.name for task in tasks if len(task.classes) == 1]
    if single and protocol.loss == "local" and protocol.head != "nearest-class-mean":
        which = "every task has" if len(single) == len(tasks) else f"the tasks {_list_names(single)} have"
        yield DataError(
            f"{which} one class, and the local loss of one class is always 0: nothing is learned from it; "
            "use --set loss=full",
            fatal=False,
        )


def _unseen_by_rouge(tasks: Sequence[Task]) -> Iterator[DataError]:
    """Yield how many answers hold nothing that Rouge counts, where a task is scored by it."""
    for task in tasks:
        if task.metric not in (None, "rouge-l") or task.test.references is None:
            continue
        answers = [one for accepted in task.test.references for one in accepted if one.strip()]
        unseen = sum(not rouge_counts(one) for one in answers)
        if unseen:
            share = f"{unseen} of {len(answers)} answers ({100 * unseen / len(answers):.0f} %)"
            yield DataError(
                f"{share} have no word of a-z or 0-9, the only ones that rouge-l counts: they score 0 "
                'whatever is answered; use metric = "rouge-l-all-scripts"',
                task.name,
                "test",
                fatal=False,
            )


def _list_names(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:SHOWN])
    return f"{shown}, ..." if len(names) > SHOWN else shown
