"""What published runs took, so that the first plan of a new folder has an estimate too."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmark.result_files import PACKED

CHECKOUT = Path(__file__).parents[2] / "leaderboards" / "results"


def find_published_folders() -> list[Path]:
    """Return the folders of published results: of the current folder, and of the checkout this runs from."""
    places = (Path("leaderboards", "results").absolute(), CHECKOUT)
    return [place for place in dict.fromkeys(places) if place.is_dir()]


class PublishedTimings:
    """The timings in packed results, read once for each stream and protocol that is asked about."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Look into folders of `<stream>/<protocol>.jsonl`."""
        self.folders = folders
        self._read: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}

    def of(self, stream: str, protocol: str, method: str = "") -> list[dict[str, Any]]:
        """Return the timings of a method's runs, or of all methods' for ""; empty where none is published."""
        key = (stream, protocol)
        if key not in self._read:
            paths = [folder / stream / f"{protocol}{PACKED}" for folder in self.folders]
            self._read[key] = next((found for path in paths if (found := _timings(path))), {})
        found = self._read[key]
        return found.get(method, []) if method else [timing for each in found.values() for timing in each]


def _timings(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the timings of a packed file by method; what cannot be read says nothing."""
    found: dict[str, list[dict[str, Any]]] = {}
    try:
        for line in path.read_bytes().splitlines():
            data = json.loads(line)
            timing = data["timing"]
            if min(timing["total_seconds"], timing["peak_memory_bytes"], *timing["train_seconds"]) >= 0:
                found.setdefault(str(data["method"]), []).append(timing)
    except (OSError, ValueError, KeyError, TypeError):
        return found
    return found
