"""Mistakes a user can mend, shown as one line and never as a traceback; and what a machine refuses.

That is a full disk, a folder that is gone, or memory: no fault of the run that it stops.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from benchmark.printable import printable

if TYPE_CHECKING:
    from pydantic import ValidationError


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


class Incomplete(UserError):
    """What was asked is done but for some of it, as a page of the results that can be used.

    Attributes:
        done: what the command prints of the part that is done.
        lines: a line for each thing that was left out.
    """

    def __init__(self, done: str, lines: Sequence[str]) -> None:
        """Keep both; the message holds every line."""
        super().__init__("; ".join(lines))
        self.done, self.lines = done, tuple(lines)


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
        valid: the names that would have been understood.
    """
    names = sorted(valid)
    near = nearest(given, names)
    guess = f"; did you mean '{near}'?" if near else ";"
    shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    tail = f"valid: {shown or 'none'} (see: {command})"
    return UserError(f"unknown {kind} '{given}'{guess} {tail}")


def first_of(error: ValidationError, whole: str) -> str:
    """Return the first thing that a pydantic model refused: its place, else `whole`, and why."""
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or whole}: {first['msg']}"


def quote_first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


AGAIN = "then the same command goes on"

_DISK = {
    errno.ENOSPC: "free space there",
    errno.EDQUOT: "free space there, or have the quota raised",
    errno.EFBIG: "have the limit of file sizes raised (ulimit -f)",
    errno.EROFS: "have it mounted for writing",
    errno.EIO: "see whether the disk is sound",
    errno.ENODEV: "have the disk mounted again",
    errno.ESTALE: "have the disk mounted again",
    errno.ENOTCONN: "have the disk mounted again",
    errno.EMFILE: "have the limit of open files raised (ulimit -n)",
    errno.ENFILE: "end other programs",
}
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "failed to map segment", "bad_alloc")


def refusal(error: BaseException) -> MachineError | None:
    """Return what a machine refused, with what to do, or None where an error is of another kind."""
    if isinstance(error, MachineError):
        return error
    said = " ".join(str(error).split())[:200]
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f" ({error.filename})" if error.filename else ""
        return MachineError(f"{error.strerror}{where}; {_DISK[error.errno]}, {AGAIN}")
    # torch has a class for a full GPU alone; a full memory is to it a RuntimeError like any other.
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    no_memory = isinstance(error, OSError) and error.errno == errno.ENOMEM
    if full or no_memory or any(words in said.lower() for words in _NO_MEMORY):
        what = f"{type(error).__name__}: {said}" if said else type(error).__name__
        return MachineError(
            f"the memory ran out ({what}); smaller batches (--set protocol.batch_size=...), fewer runs at a "
            f"time (--workers) or other programs ended leave more, {AGAIN}",
            memory=True,
        )
    return None


def unwritable(path: object, error: OSError) -> MachineError:
    """Return the error for a file that could not be written, with what to do."""
    todo = _DISK.get(error.errno or 0, "see to it that the folder is there and takes files")
    return MachineError(f"cannot write {path}: {error.strerror or error}; {todo}, {AGAIN}")
