"""Starts `bench`. `python -m benchmark` is the same."""

from __future__ import annotations

# What `signal` is made of: it loads no other module, during which Ctrl-C would still show a traceback.
import _signal


def main() -> None:
    """Run the command line. Until a command begins, Ctrl-C ends the process without a traceback."""
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)  # `benchmark.guard` takes it over
    from benchmark.cli import main as run

    run()


if __name__ == "__main__":
    main()
