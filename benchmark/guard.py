"""Turns what goes wrong in a command into one line and an exit code."""

from __future__ import annotations

import _thread
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer

from benchmark.errors import Incomplete, UserError, refusal
from benchmark.printable import printable

INCOMPLETE, USAGE, INTERNAL, INTERRUPTED = 1, 2, 3, 130

# What is wrong with a path that was given, wherever it is first looked at.
OF_A_PATH = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM)

P = ParamSpec("P")


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command so that its errors are shown in one line; `BENCH_DEBUG=1` shows the traceback."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            hear_interrupts()
            command(*args, **kwargs)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except Incomplete as error:
            if error.done:
                typer.echo(error.done)
            for line in error.lines:
                print_stderr(f"left out: {one_line(line)}")
            raise typer.Exit(INCOMPLETE) from None
        except UserError as error:
            print_stderr(f"error: {one_line(error)}")
            raise typer.Exit(USAGE) from None
        except KeyboardInterrupt:
            raise typer.Exit(end_interrupted("stopped")) from None
        except Exception as error:
            if (refused := refusal(error)) is not None:
                print_stderr(f"error: {one_line(refused)}")
                raise typer.Exit(USAGE) from None
            if isinstance(error, OSError) and error.errno in OF_A_PATH and error.filename is not None:
                print_stderr(f"error: {one_line(str(error.strerror))}: {one_line(str(error.filename))[:200]}")
                raise typer.Exit(USAGE) from None
            if os.environ.get("BENCH_DEBUG") == "1":
                traceback.print_exc()
            what = f"{type(error).__name__}: {one_line(error)}"
            print_stderr(f"internal error: {what} (BENCH_DEBUG=1 shows the traceback)")
            raise typer.Exit(INTERNAL) from None

    return run


def print_stderr(line: str) -> None:
    """Print one line for the reader, never into the data on standard output."""
    print(line, file=sys.stderr, flush=True)


def one_line(error: BaseException | str) -> str:
    """Return a message without line breaks and control characters."""
    return " ".join(printable(str(error)).split()) or "no message"


def end_interrupted(line: str) -> int:
    """Tell that Ctrl-C ended the command and return its exit code; a further one cannot show a traceback."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    print_stderr(line)
    return INTERRUPTED


def hear_interrupts() -> None:
    """Have Ctrl-C raise KeyboardInterrupt, which `benchmark.__main__` has end the process while it loads."""
    main = threading.current_thread() is threading.main_thread()
    if main and signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _hear_again


def _hear_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Hear an interrupt again that fell into a destructor or a callback, where Python prints and drops it."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # From another thread and a moment later: raised here it would be dropped again.
        again = threading.Timer(0.05, _thread.interrupt_main)
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)
