"""What the cache holds, by kind, and deleting it."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from benchmark.data import row_cache
from benchmark.data.row_cache import EntryFacts
from benchmark.errors import UserError, unknown
from benchmark.text_table import TableFormat

ALL = "all"


def list_entries() -> dict[str, list[EntryFacts]]:
    """Return the entries of each kind.

    Raises:
        UserError: there is no cache.
    """
    root = row_cache.place()
    if root is None:
        raise UserError(f"there is no cache: {row_cache.VARIABLE} is {row_cache.OFF}")
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir()) if root.is_dir() else []
    found = {folder.name: row_cache.entries(folder) for folder in folders}
    return {kind: entries for kind, entries in found.items() if entries}


def listing(form: TableFormat | None = None) -> str:
    """Return a table of the kinds with entries, size and last use; in another form where one is given."""
    import pandas as pd

    from benchmark.text_table import text_table

    kinds = list_entries()
    if not kinds and form is None:
        return f"the cache {row_cache.place()} is empty"
    rows = [
        {
            "kind": kind,
            "entries": str(len(entries)),
            "size": f"{sum(entry.size for entry in entries) / 1e6:.1f} MB",
            "last used": datetime.fromtimestamp(max(e.used for e in entries), UTC).strftime("%Y-%m-%d %H:%M"),
        }
        for kind, entries in kinds.items()
    ]
    frame = pd.DataFrame(rows, columns=["kind", "entries", "size", "last used"])
    if form is None:
        return f"{row_cache.place()}\n\n{text_table(frame, colalign=['left', 'right', 'right', 'left'])}"
    from benchmark.publishing.paper_tables import write_frame

    return write_frame("The cache", frame, form, f"In {row_cache.place()}.")


def clear(kind: str, unused_days: float = 0) -> str:
    """Delete the entries of a kind, or of all, and return what was freed.

    Args:
        unused_days: delete only what was not used for so long.

    Raises:
        UserError: there is no such kind.
    """
    kinds = list_entries()
    if kind != ALL and kind not in kinds:
        raise unknown("kind of cache", kind, [*kinds, ALL], "bench data cache")
    before = time.time() - unused_days * 86400
    entries = [e for name, found in kinds.items() if kind in (name, ALL) for e in found if e.used <= before]
    for entry in entries:
        row_cache.remove(entry)
    return f"deleted {len(entries)} entries, {sum(entry.size for entry in entries) / 1e6:.1f} MB"
