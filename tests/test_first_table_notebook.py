"""The notebook in the documentation: its cells run in order, from nothing to a table and two figures."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT
from tests.printed import DOCS

NOTEBOOK = DOCS / "notebooks" / "first-table.ipynb"


def cells() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return found


def test_it_is_kept_without_outputs() -> None:
    code = [cell for cell in cells() if cell["cell_type"] == "code"]
    assert code and all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert len({cell["id"] for cell in cells()}) == len(cells())


@pytest.mark.slow
def test_its_cells_make_a_latex_table_and_two_figures_within_five_minutes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures are the plots extra")
    # One namespace, as in a notebook; a process of its own, so that nothing is loaded before.
    sources = ["".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code"]
    script = "names = {'__name__': '__main__'}\n" + "\n".join(
        f"exec(compile({source!r}, 'cell {number}', 'exec'), names)" for number, source in enumerate(sources)
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of one core's time: other work on the machine does not count.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 300
    table = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert r"\toprule" in table and "n = 3" in table and "inc-lora" in table
    assert all((tmp_path / name).read_bytes().startswith(b"%PDF") for name in ("curves.pdf", "pareto.pdf"))
    assert len(list((tmp_path / "runs").rglob("*.json"))) == 9
