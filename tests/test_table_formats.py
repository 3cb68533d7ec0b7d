"""Every command that prints a table prints it in every form; boards and runs: `test_paper_tables`."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.data import row_cache
from benchmark.publishing.paper_tables import frame_table, latex
from benchmark.text_table import TableFormat
from tests.factories import headroom_rows, keep_adapters, result, save
from tests.test_ledger import written

Words = list[str]


def headroom(folder: Path) -> Words:
    save(folder, *headroom_rows())
    return ["develop", "headroom", "orchard", "--root", str(folder)]


def ledger(folder: Path) -> Words:
    written(folder)
    save(folder, *(result(seed=seed) for seed in range(3)))
    return ["develop", "ledger", "--root", str(folder)]


def redundancy(folder: Path) -> Words:
    (path,) = save(folder, result())
    keep_adapters(path, tasks=3)
    return ["analyse", "redundancy", str(path)]


def cache(folder: Path) -> Words:
    return ["data", "cache"]


COMMANDS: dict[str, tuple[Callable[[Path], Words], str]] = {
    "headroom": (headroom, "linear-probe"),
    "ledger": (ledger, "not measured"),
    "redundancy": (redundancy, "1, 3"),
    "data list": (lambda _: ["data", "list"], "standard-cl"),
    "data describe": (lambda _: ["data", "describe", "toy"], "task 06"),
    "data verify": (lambda _: ["data", "verify", "toy"], "task 06"),
    "data cache": (cache, "prefix"),
}
"""By command: what makes its arguments, and what its table holds."""


@pytest.fixture(autouse=True)
def entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that holds something."""
    monkeypatch.setenv(row_cache.VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "cache" / "prefix" / "one").mkdir(parents=True)
    (tmp_path / "cache" / "prefix" / "one" / row_cache.MANIFEST).write_bytes(b"0" * 1000)


@pytest.mark.parametrize("form", TableFormat)
@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_comes_in_this_form(name: str, form: TableFormat, tmp_path: Path) -> None:
    arguments, held = COMMANDS[name]
    done = CliRunner().invoke(app, [*arguments(tmp_path / "root"), "--format", form.value])
    assert done.exit_code == 0, done.stderr
    text = done.stdout
    assert held in text
    if form is TableFormat.json:
        assert all(table["title"] and isinstance(table["rows"], list) for table in json.loads(text))
    elif form is TableFormat.csv:
        rows = list(csv.DictReader(io.StringIO(text)))
        assert rows and any(held in row.values() for row in rows)
    elif form is TableFormat.latex:
        assert text.startswith("% Needs \\usepackage{booktabs}.")
        assert text.count(r"\toprule") == text.count(r"\bottomrule") == text.count(r"\caption") > 0
    else:
        assert text.startswith("**") and re.search(r"^\|[:|-]+\|$", text, re.MULTILINE)


def test_a_ledger_in_another_form_writes_nothing(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [*ledger(tmp_path), "--format", "csv", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0 and not (tmp_path / "out").exists()
    first, second, *_ = csv.DictReader(io.StringIO(done.stdout))
    # Mean AP of three equal runs: (0.6 + 0.6 + 0.9) / 3.
    assert (first["published"], first["ours"], first["verdict"]) == ("70.50", "70.00", "matches (n = 3)")
    assert second["difference"] == "-5.00" and second["source"] == "A | paper"


def test_headroom_that_is_not_known_is_a_row_that_names_what_is_missing(tmp_path: Path) -> None:
    save(tmp_path, *(row for row in headroom_rows() if row.method != "ncm"))
    words = ["develop", "headroom", "orchard", "--root", str(tmp_path), "--format", "json"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    (table,) = json.loads(done.stdout)
    assert table["rows"] == [{"board": table["title"], "comparable": False, "missing": ["ncm"]}]
    assert "no row ncm" in table["note"]


def test_columns_of_words_start_on_one_line_and_numbers_end_on_one() -> None:
    import pandas as pd

    frame = pd.DataFrame({"what": ["a word", "another"], "share": [0.5, None]})
    table = frame_table("Two", frame, where="here")
    assert r"\begin{tabular}{lr}" in latex(table)
    assert table.texts.to_numpy().tolist() == [["a word", "0.5"], ["another", ""]]
    assert table.records[1] == {"where": "here", "what": "another", "share": None}


def test_a_table_without_rows_still_has_its_heads_as_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(row_cache.VARIABLE, str(tmp_path / "empty"))
    done = CliRunner().invoke(app, ["data", "cache", "--format", "csv"])
    assert done.exit_code == 0 and done.stdout == "kind,entries,size,last used\n"
