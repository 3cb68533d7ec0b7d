"""What runs left in an output folder, in a form that can be compared."""

from __future__ import annotations

import json
from pathlib import Path

from benchmark.results import to_json
from benchmark.running import sweep_folder


def content(out: Path) -> dict[str, bytes]:
    """Return every file by name, but those that sweeps keep; of results, all but their timing."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and sweep_folder.NAME not in path.parts:
            data = path.read_bytes()
            if path.suffix == ".json":
                result = json.loads(data)
                assert result.pop("timing")["total_seconds"] > 0
                data = to_json(result)
            found[str(path.relative_to(out))] = data
    return found
