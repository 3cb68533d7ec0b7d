"""What is wrong or odd in data: one entry each, so that many can be reported at once.

A reader collects what it meets (`collect_into`) and goes on, and at the end of a file, a task or a stream
`raise_or_collect` raises all of it. Where somebody wants to hear of everything (`collecting_errors`), it
hands it over instead, and reading goes on with what is sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from benchmark.errors import UserError
from benchmark.printable import printable


@dataclass(frozen=True)
class DataError:
    """One error, or one warning of what does no harm by itself.

    Attributes:
        message: what was found; names the file where one row of a file is meant.
        task: the task, or "" where it is about the whole stream or a file.
        split: `train`, `validation` or `test`, or "".
        rows: places in that split, counted from 1; empty where no single rows are meant.
        fatal: whether the data must not be used as they are.
    """

    message: str
    task: str = ""
    split: str = ""
    rows: tuple[int, ...] = ()
    fatal: bool = True

    @property
    def place(self) -> str:
        """Task and split, as far as they are known."""
        return ", ".join(part for part in (self.task, self.split) if part)

    @property
    def line(self) -> str:
        """The error in one line, with its place."""
        return printable(f"{self.place}: {self.message}" if self.place else self.message)


class InvalidData(UserError):
    """Errors in data, all that one reading found; the message is the first and how many more there are."""

    def __init__(self, errors: Sequence[DataError], command: str = "") -> None:
        """Keep the errors.

        Args:
            errors: at least one.
            command: what lists them all, where that is known.
        """
        self.errors, self.command = tuple(errors), command
        more = len(errors) - 1
        listing = f"; all: {command}" if command else ""
        tail = f" (and {more} more error{'s' if more > 1 else ''}{listing})" if more else ""
        super().__init__(errors[0].line + tail)


_gathered: ContextVar[list[DataError] | None] = ContextVar("gathered", default=None)


@contextmanager
def collecting_errors() -> Iterator[list[DataError]]:
    """Within the context, add errors to the list that this gives, and go on reading."""
    errors: list[DataError] = []
    before = _gathered.set(errors)
    try:
        yield errors
    finally:
        _gathered.reset(before)


@contextmanager
def strict() -> Iterator[None]:
    """Within the context, raise errors, whoever collects them: for what must be sound or not be."""
    before = _gathered.set(None)
    try:
        yield
    finally:
        _gathered.reset(before)


def is_collecting() -> bool:
    """Return whether reading goes on past errors."""
    return _gathered.get() is not None


class collect_into:
    """Within the context, stop at the first error, add it to the errors, and go on behind.

    It is entered for every row, where a generator made a context would cost three times as much.
    """

    def __init__(self, errors: list[DataError]) -> None:
        """Add errors to this list."""
        self.errors = errors

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Collect a user's error; let any other go on."""
        if not isinstance(error, UserError):
            return False
        self.errors += error.errors if isinstance(error, InvalidData) else [DataError(str(error))]
        return True


def raise_or_collect(errors: Sequence[DataError]) -> None:
    """Raise errors, or hand them to `collecting_errors`.

    Raises:
        InvalidData: there are errors and nobody collects them.
    """
    gathered = _gathered.get()
    if gathered is None:
        raise_any(errors)
    else:
        gathered += errors


def raise_any(errors: Sequence[DataError]) -> None:
    """Raise errors, where nothing sound is left to go on with.

    Raises:
        InvalidData: there are errors.
    """
    if errors:
        raise InvalidData(errors)
