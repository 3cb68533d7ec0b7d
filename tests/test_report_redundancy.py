"""The part of a report about adapters: shown where they lie beside results, and otherwise why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from benchmark.analysis.leave_one_out import LeaveOneOut, Removal
from benchmark.analysis.redundancy import of_adapters
from benchmark.analysis.run_analysis import RunAnalysis
from benchmark.errors import UserError
from benchmark.publishing import report, report_redundancy
from benchmark.results import read
from tests.command import bench
from tests.factories import keep_adapters, result, save

pytest.importorskip("matplotlib", reason="pictures are the plots extra")
EYE = np.eye(6, dtype=np.float32)


def page(source: Path) -> str:
    return report.build(source, source.parent / "page.html").read_text()


def test_adapters_beside_a_result_are_compared_on_its_page(tmp_path):
    (path,) = save(tmp_path, result())
    keep_adapters(path, tasks=3)
    text = page(path)
    assert "<h2>Redundancy of adapters</h2>" in text and "Not shown" not in text
    # Tasks 1 and 2 share one row direction of two, 3/2 of what random ones of rank 2 share in 6 dimensions.
    assert "<td>2</td><td>2.00</td><td>2.00</td><td>0.500</td><td>1.5</td>" in text
    assert "<figcaption>alpha: overlap of every two tasks, row spaces</figcaption>" in text
    assert "3 adapters for 3 tasks" in text


def test_without_adapters_one_line_says_why_nothing_is_compared(tmp_path):
    (path,) = save(tmp_path, result())
    text = page(path)
    assert text.count("Not shown") == 1 and "no adapters lie beside the results; bench run" in text
    assert "<summary>Columns" not in text


def test_a_folder_shows_the_first_run_of_each_method_that_has_adapters(tmp_path):
    bare, first, _, lone, other = save(
        tmp_path, result("bare"), result("two"), result("two", seed=1), result("lone"), result("merged")
    )
    keep_adapters(first, tasks=2)
    keep_adapters(lone, tasks=1)
    save_file({"head.weight": EYE}, other.with_suffix(".safetensors"), {"run": read(other).key})
    text = page(tmp_path)
    assert "<caption>two, order forward, seed 0</caption>" in text
    assert "two: overlap of every two tasks, column spaces</figcaption>" in text
    # One adapter has ranks and nothing to overlap with.
    assert "<caption>lone, order forward, seed 0</caption>" in text and ">lone: overlap" not in text
    assert "no adapters lie beside the results of bare;" in text
    assert "merged keeps no low-rank adapters" in text and bare.stem not in text


def test_damaged_adapters_are_reported_by_file_after_the_page_is_written(tmp_path):
    (path,) = save(tmp_path, result())
    path.with_suffix(".safetensors").write_bytes(b"half")
    with pytest.raises(UserError, match=r"-0\.safetensors is not a whole safetensors file"):
        page(path)
    assert "Not shown: alpha:" in (path.parent / "page.html").read_text()


def test_scores_without_each_adapter_stand_in_a_table_of_their_own(tmp_path, monkeypatch):
    (path,) = save(tmp_path, result())
    keep_adapters(path, tasks=2)
    adapters = {t: {"q": (EYE[t : t + 1], EYE[:, :1])} for t in range(2)}
    removed = LeaveOneOut(result(), (Removal(1, [-0.3, 0.0, -0.6], 4),), True, 30)
    analysed = RunAnalysis(of_adapters(result(), adapters), removed)
    monkeypatch.setattr(report_redundancy, "analyse_run", lambda path, depth: analysed)
    text = page(path)
    assert "seed 0: scores without each adapter</caption>" in text
    assert "<td>2</td><td>-30.0</td><td>4 of 30</td>" in text


@pytest.mark.slow
def test_what_needs_the_data_is_named_when_it_cannot_be_computed(tmp_path):
    (path,) = save(tmp_path, result())
    keep_adapters(path, tasks=2)
    shown = bench("report", path, "--leave-one-out", "--out", tmp_path / "page.html")
    assert shown.returncode != 0 and "pass --stream FILE.toml" in shown.stderr
    assert "Traceback" not in shown.stderr and (tmp_path / "page.html").is_file()
