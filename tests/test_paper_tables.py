"""Tables for a paper: the numbers of the boards in LaTeX, markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import benchmark as bench
from benchmark.cli import app
from benchmark.publishing.paper_tables import latex_text
from tests.factories import result, save

# AP is (2 last + 0.9) / 3. The three runs of the two first share their noise but for half a point.
LASTS = {"alpha": (0.60, 0.66, 0.63), "beta_x": (0.60, 0.65, 0.62), "gamma": (0.30, 0.36, 0.33)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save(tmp_path, *(result(name, s, last=x) for name, each in LASTS.items() for s, x in enumerate(each)))
    return tmp_path


def run(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def body(text: str) -> list[list[str]]:
    """Return the cells of a LaTeX table's rows, the heads first."""
    lines = [line.removesuffix(r" \\") for line in text.splitlines() if line.endswith(r"\\")]
    return [line.split(" & ") for line in lines]


def test_latex_has_the_best_in_bold_and_marks_what_could_be_best(root: Path) -> None:
    text = run("leaderboard", "--root", root, "--format", "latex")
    heads, *rows = body(text)
    assert heads[:2] == ["method", r"AP $\uparrow$"] and heads[-1] == "n"
    # alpha: (1.2 + 0.9) / 3 = 70.0, 74.0, 72.0: mean 72.0, deviation 2.0; beta_x: 70.0, 73.3, 71.3;
    # gamma is 20 points of AP lower, where the residuals are below a point.
    assert [row[0] for row in rows] == [r"alpha$^{\dagger}$", r"beta\_x$^{\dagger}$", "gamma"]
    assert [row[1] for row in rows] == [r"\textbf{72.0 $\pm$ 2.0}", r"71.6 $\pm$ 1.7", r"52.0 $\pm$ 2.0"]
    # Of forgetting the lowest is the best: 0.9 - 0.63.
    assert rows[0][heads.index(r"forgetting $\downarrow$")] == r"\textbf{27.0 $\pm$ 3.0}"
    # One each of AP, AIA, forgetting and BWT, and all three of learning accuracy, where all read 90.
    assert text.count(r"\textbf") == 4 + 3
    assert all(text.count(rule) == 1 for rule in (r"\toprule", r"\midrule", r"\bottomrule"))
    caption = re.search(r"\\caption\{(.*)\}\n", text)
    assert caption and "n = 3" in caption[1] and "sample standard deviation" in caption[1]
    assert text.count("{") == text.count("}")


def test_what_stands_for_something_in_latex_is_escaped() -> None:
    assert latex_text("a_b & 5 % {x} \\y ~ ^") == (
        r"a\_b \& 5 \% \{x\} \textbackslash{}y \textasciitilde{} \textasciicircum{}"
    )


def test_csv_and_json_hold_plain_numbers(root: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run("leaderboard", "--root", root, "--format", "csv"))))
    assert [row["method"] for row in rows] == ["alpha", "beta_x", "gamma"]
    assert float(rows[0]["average_performance"]) == pytest.approx(0.72)
    assert float(rows[0]["average_performance_std"]) == pytest.approx(0.02)
    assert [row["could_be_best"] for row in rows] == ["True", "True", "False"]
    (board,) = json.loads(run("leaderboard", "--root", root, "--format", "json"))
    assert board["title"].endswith("Rehearsal-free") and board["rows"][2]["n"] == 3
    assert board["rows"][2]["average_performance"] == pytest.approx(0.52)


def test_scores_by_task_have_a_row_for_each_method(root: Path) -> None:
    results = root / "results"
    heads, first, *_ = body(run("show", results, "--format", "latex"))
    assert heads == ["method", "apples", "pears", "plums", r"AP $\uparrow$", "n"]
    assert first[1] == first[2] == r"63.0 $\pm$ 3.0" and first[3] == r"90.0 $\pm$ 0.0"
    text = run("show", results, "--format", "markdown")
    assert r"| beta_x   |" in text.replace("\\_", "_") and "n = 3" in text
    rows = list(csv.DictReader(io.StringIO(run("show", results, "--format", "csv"))))
    assert len(rows) == 9 and rows[0]["task"] == "apples" and float(rows[0]["score"]) == pytest.approx(0.63)


def test_conventions_come_in_every_form(root: Path) -> None:
    (path,) = save(root / "one", result("alpha", 0, last=0.6))
    rows = list(csv.DictReader(io.StringIO(run("analyse", "metrics", path, "--format", "csv"))))
    found = {row["name"]: row["value"] for row in rows}
    # alpha, seed 0: (0.6 + 0.6 + 0.9) / 3
    assert float(found["average_performance"]) == pytest.approx(0.7)
    assert body(run("analyse", "metrics", path, "--format", "latex"))[0][1] == "value"


def test_one_run_has_no_spread_and_nothing_is_bold_alone(tmp_path: Path) -> None:
    save(tmp_path, result("alpha", 0))
    text = run("leaderboard", "--root", tmp_path, "--format", "latex")
    assert "of one run (n = 1)" in text and r"\textbf" not in text and r"\dagger" not in text


def test_the_same_tables_come_from_python(root: Path) -> None:
    results = bench.load_results(root / "results")
    assert results.tables("latex") + "\n" == run("leaderboard", "--root", root, "--format", "latex")
    with pytest.raises(bench.UserError, match="latex"):
        results.tables("latx")


def test_format_and_check_do_not_go_together(root: Path) -> None:
    done = CliRunner().invoke(app, ["leaderboard", "--root", str(root), "--format", "csv", "--check"])
    assert done.exit_code == 2 and "give one of them" in done.stderr


@pytest.mark.parametrize("words", [("analyse", "metrics"), ("analyse", "redundancy"), ("data", "verify")])
def test_two_ways_to_print_are_refused(root: Path, words: tuple[str, ...]) -> None:
    given = "toy" if words[0] == "data" else str(root / "results")
    done = CliRunner().invoke(app, [*words, given, "--json", "--format", "csv"])
    assert done.exit_code != 0 and not done.stdout
    assert done.stderr.strip() == (
        "error: --json and --format csv are two ways to print; give one (JSON: --json)"
    )
