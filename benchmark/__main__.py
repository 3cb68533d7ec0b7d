"""Starts `bench`. `python -m benchmark` is the same."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line; Ctrl-C while it is being loaded ends it without a traceback."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from benchmark.cli import main as run

    signal.signal(signal.SIGINT, before)
    run()


if __name__ == "__main__":
    main()
