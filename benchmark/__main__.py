"""Starts `bench`. `python -m benchmark` is the same."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line. Until a command begins, Ctrl-C ends the process without a traceback."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # `benchmark.guard` takes it over
    from benchmark.cli import main as run

    run()


if __name__ == "__main__":
    main()
