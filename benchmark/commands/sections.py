"""The help of `bench`: its commands under the headings that they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from benchmark.guard import USAGE, print_stderr
from benchmark.printable import control_character, printable

SECTIONS: Mapping[str, tuple[str, ...]] = {
    "Run": ("run", "sweep", "tune"),
    "Results": ("show", "score", "analyse", "export", "submit", "leaderboard"),
    "Data": ("list", "data"),
    "Develop": ("develop",),
}
"""What is shown; every other command is another name of one that a group holds, or of a flag."""


class Sections(TyperGroup):
    """Shows commands by section; those in none still work. No argument may hold a control character."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **extra: Any) -> Any:
        """Refuse arguments that could not be shown again, then go on as usual."""
        for argument in args:
            if mark := control_character(argument):
                given = " ".join(printable(argument).split())
                print_stderr(f"error: the argument '{given:.60}' holds the control character {mark}")
                raise typer.Exit(USAGE)
        return super().make_context(info_name, args, *more, **extra)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each section's commands with the first line of what they do."""
        longest = max(len(name) for names in SECTIONS.values() for name in names)
        for heading, names in SECTIONS.items():
            rows = [
                (name.ljust(longest), self.commands[name].get_short_help_str(formatter.width - longest - 6))
                for name in names
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)
