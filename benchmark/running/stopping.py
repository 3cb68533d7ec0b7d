"""Ctrl-C during a sweep: once ends it after the task at work, twice ends it now."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from benchmark.running.sweep_folder import SweepFolder, process_name


class Stop:
    """The user's wish to stop, as a file that every worker of the sweep sees."""

    def __init__(self, out: Path, say: Callable[[str], None]) -> None:
        """Listen for a sweep that writes to `out`; `say` reports that the first Ctrl-C was heard."""
        self.file = SweepFolder(out.resolve()).root / "stops" / process_name()
        self.say = say
        self._before: Any = None

    def __enter__(self) -> Stop:
        """Take over Ctrl-C, where it is not ignored and this is the thread that hears it."""
        self._clear()  # what a killed process of equal number left
        hears = threading.current_thread() is threading.main_thread()
        if hears and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGINT, self._heard)
        return self

    def __exit__(self, *_: object) -> None:
        """Give Ctrl-C back."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        self._clear()

    def _clear(self) -> None:
        with suppress(OSError):  # of an output folder that is none; the run says so
            self.file.unlink()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self.file.exists():
            raise KeyboardInterrupt
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.touch()
        except OSError:  # a full disk: nobody would see the file
            raise KeyboardInterrupt from None
        self.say("stopping after the task at work; Ctrl-C again stops now")
