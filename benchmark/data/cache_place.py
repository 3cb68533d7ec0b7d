"""Where the cache lies. Apart from what it holds, so that asking for its folder loads no numpy."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "BENCH_CACHE"
OFF = "off"


def place() -> Path | None:
    """Return the cache's folder: BENCH_CACHE, or the user's cache folder; None where BENCH_CACHE is "off"."""
    named = os.environ.get(VARIABLE, "")
    if named.lower() == OFF:
        return None
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "continual-peft-bench"
