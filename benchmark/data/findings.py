"""What is wrong or odd in data: one entry each, so that many can be told at once."""

from __future__ import annotations

from collections.abc import Sequence
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

    def __init__(self, findings: Sequence[Finding], command: str) -> None:
        """Keep the findings.

        Args:
            findings: at least one.
            command: what lists them all.
        """
        self.findings = tuple(findings)
        more = len(findings) - 1
        tail = f" (and {more} more fault{'s' if more > 1 else ''}; all: {command})" if more else ""
        super().__init__(findings[0].line + tail)
