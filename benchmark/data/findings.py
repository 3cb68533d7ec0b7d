"""What is wrong or odd in data: one entry each, so that many can be told at once.

A reader notes what it meets (`noted`) and goes on, and at the end of a file, a task or a stream `settle`
raises all of it. Where somebody wants to hear of everything (`gathering`), `settle` hands it over instead,
and reading goes on with what is sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from benchmark.errors import UserError


@dataclass(frozen=True)
class Finding:
    """One fault, or one oddity that does no harm by itself.

    Attributes:
        message: what was found; names the file where one row of a file is meant.
        task: the task, or "" where the finding is about the whole stream or a file.
        split: `train`, `validation` or `test`, or "".
        rows: places in that split, counted from 1; empty where no single rows are meant.
        fault: whether the data must not be used as they are.
    """

    message: str
    task: str = ""
    split: str = ""
    rows: tuple[int, ...] = ()
    fault: bool = True

    @property
    def place(self) -> str:
        """Task and split, as far as they are known."""
        return ", ".join(part for part in (self.task, self.split) if part)

    @property
    def line(self) -> str:
        """The whole finding in one line."""
        return f"{self.place}: {self.message}" if self.place else self.message


class DataFaults(UserError):
    """Mistakes in data, all that one reading found; the message is the first and how many more there are."""

    def __init__(self, findings: Sequence[Finding], command: str = "") -> None:
        """Keep the findings.

        Args:
            findings: at least one.
            command: what lists them all, where that is known.
        """
        self.findings, self.command = tuple(findings), command
        more = len(findings) - 1
        listing = f"; all: {command}" if command else ""
        tail = f" (and {more} more fault{'s' if more > 1 else ''}{listing})" if more else ""
        super().__init__(findings[0].line + tail)


_gathered: ContextVar[list[Finding] | None] = ContextVar("gathered", default=None)


@contextmanager
def gathering() -> Iterator[list[Finding]]:
    """Have faults that are settled within added to the list that this gives, and reading go on."""
    findings: list[Finding] = []
    before = _gathered.set(findings)
    try:
        yield findings
    finally:
        _gathered.reset(before)


@contextmanager
def strict() -> Iterator[None]:
    """Have faults that are settled within raised, whoever gathers them: for what must be sound or not be."""
    before = _gathered.set(None)
    try:
        yield
    finally:
        _gathered.reset(before)


def is_gathering() -> bool:
    """Return whether reading goes on past faults."""
    return _gathered.get() is not None


class noted:
    """End what is within at its first mistake, which is added to the findings, and go on after it.

    It is entered for every row, where a generator made a context would cost three times as much.
    """

    def __init__(self, findings: list[Finding]) -> None:
        """Note mistakes here."""
        self.findings = findings

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Take a mistake of the user's; let any other error go on."""
        if not isinstance(error, UserError):
            return False
        self.findings += error.findings if isinstance(error, DataFaults) else [Finding(str(error))]
        return True


def settle(findings: Sequence[Finding]) -> None:
    """Raise what was noted, or hand it to who gathers faults.

    Raises:
        DataFaults: there are findings and nobody gathers them.
    """
    gathered = _gathered.get()
    if gathered is None:
        stop(findings)
    else:
        gathered += findings


def stop(findings: Sequence[Finding]) -> None:
    """Raise what was noted, where nothing sound is left to go on with.

    Raises:
        DataFaults: there are findings.
    """
    if findings:
        raise DataFaults(findings)
