"""What a machine refuses: a full disk, a folder that is gone, memory. No fault of the run that it stops."""

from __future__ import annotations

import errno

from benchmark.errors import MachineError

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
            f"the memory ran out ({what}); smaller batches (--set protocol.batch_size=...), fewer cells at a "
            f"time (--workers) or other programs ended leave more, {AGAIN}",
            memory=True,
        )
    return None


def unwritable(path: object, error: OSError) -> MachineError:
    """Return the error for a file that could not be written, with what to do."""
    todo = _DISK.get(error.errno or 0, "see to it that the folder is there and takes files")
    return MachineError(f"cannot write {path}: {error.strerror or error}; {todo}, {AGAIN}")
