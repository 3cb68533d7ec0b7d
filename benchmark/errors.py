"""The one exception for mistakes a user can mend, shown as one line and never as a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from benchmark.printable import printable


class UserError(Exception):
    """A mistake in what was asked or in what lies on disk; the message is one self-contained line.

    It may quote what nobody has checked yet, so that its control characters are written as their numbers.
    """

    def __init__(self, message: object) -> None:
        """Keep the message."""
        super().__init__(printable(str(message)))


class MachineError(UserError):
    """The machine refused something: space, memory, a folder. No fault of the run, which can go on later.

    Attributes:
        memory: whether it was memory, of which another run may need less; nothing else is better elsewhere.
    """

    def __init__(self, message: object, memory: bool = False) -> None:
        """Keep the message."""
        super().__init__(message)
        self.memory = memory


def nearest(given: str, valid: Iterable[str]) -> str | None:
    """Return the valid name closest in spelling to `given`, or None where nothing is near."""
    close = difflib.get_close_matches(given.lower(), list(valid), n=1, cutoff=0.5)
    return close[0] if close else None


def hint(given: str, valid: Iterable[str]) -> str:
    """Return ", did you mean 'x'?" with the nearest valid name, or "" where none is near."""
    near = nearest(given, valid)
    return f", did you mean '{near}'?" if near else ""


def unknown(kind: str, given: str, valid: Iterable[str], command: str) -> UserError:
    """Return the error for a name that is not among `valid`: nearest name, the list, how to see it.

    Args:
        kind: what was named, in the singular ("method").
        given: what the user wrote.
        valid: the names that would have been understood.
        command: the command that lists them.
    """
    names = sorted(valid)
    near = nearest(given, names)
    guess = f"; did you mean '{near}'?" if near else ";"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    tail = f"valid: {shown or 'none'} (see: {command})"
    return UserError(f"unknown {kind} '{given}'{guess} {tail}")
