"""`import benchmark as bench`: cheap to import, and the commands' objects from Python."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import benchmark as bench
from benchmark.publishing import leaderboard
from benchmark.registry import METHODS, STREAMS
from benchmark.results import write
from tests.command import ROOT
from tests.factories import matrix, result
from tests.printed import DOCS, code

PAGE = DOCS / "how-to" / "notebook.md"


@pytest.fixture(autouse=True)
def forget_registered() -> Iterator[None]:
    yield
    for registry in (METHODS, STREAMS):
        for name in [key for key, entry in registry.entries.items() if entry.here]:
            registry.forget(name)


@pytest.fixture
def results(tmp_path: Path) -> bench.Results:
    """Three runs each of two methods; alpha ends 20, 10 and 30 points of earlier tasks above beta."""
    for seed, (alpha, beta) in enumerate([(0.6, 0.4), (0.5, 0.4), (0.7, 0.4)]):
        for method, last in (("alpha", alpha), ("beta", beta)):
            write(result(method, seed, last=last), tmp_path / "runs" / f"{method}-{seed}.json")
    return bench.load_results(tmp_path / "runs")


def test_importing_loads_nothing_heavy() -> None:
    source = (
        "import sys, benchmark as bench\n"
        "assert not any(name.startswith('benchmark.') for name in sys.modules)\n"
        "bench.load_results, bench.run, bench.register_method, bench.Results\n"
        "print([name for name in ('torch', 'pandas', 'numpy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_an_attribute_that_is_not_offered_is_none() -> None:
    assert not hasattr(bench, "load_result")
    assert set(bench.__all__) <= set(dir(bench))


def test_a_frame_has_a_row_for_each_run(results: bench.Results) -> None:
    frame = results.to_frame()
    assert list(frame["method"]) == ["alpha"] * 3 + ["beta"] * 3
    # Three tasks: (0.6 + 0.6 + 0.9) / 3 = 0.7.
    assert frame["average_performance"][0] == pytest.approx(0.7)
    assert frame["stored_parameters"][0] == 3600


def test_a_tidy_frame_has_a_row_for_each_entry_that_was_measured(results: bench.Results) -> None:
    frame = results.to_frame(tidy=True)
    # A lower triangle of three tasks has 1 + 2 + 3 entries; six runs.
    assert len(frame) == 36
    row = frame[(frame["method"] == "alpha") & (frame["seed"] == 0) & (frame["after"] == 3)].iloc[0]
    assert (row["reading"], row["on"], row["task"], row["score"]) == ("trained_head", 1, "apples", 0.6)


def test_the_leaderboard_is_that_of_the_command(results: bench.Results, tmp_path: Path) -> None:
    for run in results:
        place = tmp_path / "results" / run.stream / run.protocol / f"{run.method}-{run.seed}.json"
        write(run, place)
    text = leaderboard.pages(tmp_path)[0]["orchard.md"]
    frame = results.leaderboard()
    # AP of alpha: 70, 63.3 and 76.7; mean 70.0, deviation 6.67.
    assert list(frame["method"]) == ["alpha", "beta"]
    assert frame["AP ↑"][0] == "70.0 ± 6.7"
    table = next(line for line in text.splitlines() if line.startswith("| alpha"))
    cells = [cell.strip().strip("*") for cell in table.strip("|").split("|")]
    assert cells == list(frame.drop(columns=["stream", "section", "board"]).iloc[0])
    assert any("same 3 runs" in note for note in frame.attrs["notes"])


def test_rows_of_fewer_runs_stand_apart(results: bench.Results, tmp_path: Path) -> None:
    write(result("gamma", 0, last=0.8), tmp_path / "runs" / "gamma-0.json")
    frame = bench.load_results(tmp_path / "runs").leaderboard()
    assert list(frame["method"]) == ["alpha", "beta", "gamma"]
    assert list(frame["board"]) == ["Rehearsal-free"] * 2 + ["Rehearsal-free, with fewer runs"]


def test_two_methods_are_compared_run_by_run(results: bench.Results) -> None:
    found = results.compare("alpha", "beta")
    # Two of three tasks differ, by 0.2, 0.1 and 0.3: mean 0.2 x 2/3. All signs equal: p = 2 / 2^3.
    assert found.n == 3
    assert found.difference == pytest.approx(0.4 / 3)
    assert found.p == 0.25
    # Deviation 2/3 x 10 points; Student's t at 2 degrees is 4.303: 13.3 -+ 4.303 x 6.667 / sqrt(3) = 16.6.
    expected = "alpha minus beta: +13.3 points, 95 % interval -3.2 to +29.9, n = 3, signed-rank p = 0.250"
    assert str(found) == expected
    assert results.compare("beta", "alpha").difference == -found.difference


def test_a_comparison_says_what_is_unlike(results: bench.Results, tmp_path: Path) -> None:
    needs = {"task_id": True, "rehearsal": False, "stored_statistics": False}
    write(result("gamma", 0, last=0.8, needs=needs), tmp_path / "runs" / "gamma-0.json")
    found = bench.load_results(tmp_path / "runs").compare("alpha", "gamma")
    assert (found.n, found.unlike) == (1, ("task_id",))
    assert str(found).endswith("n = 1; not alike in task_id")


def test_pictures_are_figures_that_a_notebook_shows(results: bench.Results) -> None:
    pytest.importorskip("matplotlib")
    for figure in (results.plot.curves(), results.plot.pareto(), results.plot.matrix(run=1)):
        assert "<svg" in figure._repr_svg_()  # type: ignore[attr-defined]
    labels = [text.get_text() for text in results.plot.curves().legends[0].get_texts()]
    assert labels == ["alpha", "beta"]


def test_runs_are_selected_by_what_they_are_of(results: bench.Results) -> None:
    assert repr(results) == "<6 results: methods alpha, beta; streams orchard>"
    assert [run.seed for run in results.select(method="beta", seed=[0, 2])] == [0, 2]
    assert len(results[:2]) == 2 and results[0].method == "alpha"


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (lambda r: r.select(methd="alpha"), "unknown field of a run 'methd'; did you mean 'method'?"),
        (lambda r: r.select(method="alpa"), "unknown method 'alpa'; did you mean 'alpha'?"),
        (lambda r: r.compare("alpha", "bet"), "unknown method 'bet'; did you mean 'beta'?"),
        (lambda r: r.leaderboard("class_mean"), "did you mean 'class_means'?"),
        (lambda r: r.plot.matrix(), "a matrix is of one run and here are 6; give run=0 to run=5"),
        (lambda r: r.plot.matrix(6), "run=6 is none of the 6 runs"),
        (lambda r: r.select(seed=0).compare("alpha", "alpha") and bench.load_results([]), "no results in"),
        (lambda r: bench.load_results("nowhere.json"), "no result at nowhere.json"),
        (lambda r: bench.run("seq-lora", "toy", seed=1), "run() has no 'seed'; write seeds=1"),
        (lambda r: bench.run("seq-lorra", "toy"), "unknown method 'seq-lorra'; did you mean 'seq-lora'?"),
        (lambda r: bench.run("seq-lora", "toy", epoch=1), "unknown setting 'epoch'; did you mean 'epochs'?"),
        (lambda r: bench.run([], "toy"), "method is empty; give at least one"),
        (lambda r: bench.run("seq-lora", "toy", workers=0), "workers=0 must be a whole number above 0"),
        (lambda r: bench.run("seq-lora", "toy", device="gpu"), "device 'gpu' must be one of"),
        (lambda r: bench.run("seq-lora", "toy", data_dir="nowhere"), "data_dir='nowhere' is no folder"),
        (lambda r: bench.register_method("mine", object), "Method class, not the class object"),  # type: ignore[arg-type]
        (lambda r: bench.register_stream(3), "register_stream takes a benchmark.stream.Stream, not a int"),  # type: ignore[arg-type]
    ],
)
def test_a_mistake_is_one_line(results: bench.Results, mistake: Any, said: str) -> None:
    with pytest.raises(bench.UserError) as caught:
        mistake(results)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_file_is_named(results: bench.Results, tmp_path: Path) -> None:
    (tmp_path / "runs" / "cut.json").write_text('{"schema_version": 2,')
    with pytest.raises(bench.UserError, match=r"cut\.json is not complete JSON"):
        bench.load_results(tmp_path / "runs")


def test_several_configurations_are_told_apart_by_name(results: bench.Results, tmp_path: Path) -> None:
    write(result("beta", 0, last=0.3, hyperparameters={"lr": 0.2}), tmp_path / "runs" / "other.json")
    more = bench.load_results(tmp_path / "runs")
    with pytest.raises(bench.UserError, match=r"beta has 2 configurations; name one of 'beta \(lr=0.1\)'"):
        more.compare("alpha", "beta")
    assert more.compare("alpha", "beta (lr=0.2)").n == 1


def test_names_that_are_taken_are_refused_and_own_ones_replaced() -> None:
    from methods.seq_lora import METHOD as SEQ
    from tasks.toy import STREAM

    with pytest.raises(bench.UserError, match=r"the method 'seq-lora' is taken by .*seq_lora\.py"):
        bench.register_method("Seq_LoRA", SEQ)
    with pytest.raises(bench.UserError, match=r"the stream 'toy' is taken by"):
        bench.register_stream(STREAM)
    with pytest.raises(bench.UserError, match=r"'a/b' cannot name a method"):
        bench.register_method("a/b", SEQ)
    bench.register_method("mine", SEQ)
    again = type("Again", (SEQ,), {})
    bench.register_method("Mine", again)
    assert METHODS.load("mine") is again
    assert METHODS.entry("mine").summary == "registered in this process"
    assert "mine" not in METHODS.names() and "Mine" in METHODS.names()


def test_a_stream_without_orders_is_not_registered() -> None:
    from dataclasses import replace

    from tasks.toy import STREAM

    with pytest.raises(bench.UserError, match="must name an order"):
        bench.register_stream(replace(STREAM, name="empty", orders={}))
    assert "empty" not in STREAMS.names()


def test_what_is_registered_needs_a_file_to_run_in_other_processes(tmp_path: Path) -> None:
    from methods.seq_lora import METHOD as SEQ

    bench.register_method("mine", SEQ)
    with pytest.raises(bench.UserError, match=r"registered in this process alone.*workers=2 cannot see"):
        bench.run("mine", "toy", workers=2, out=tmp_path)


@pytest.mark.slow
def test_the_page_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in ("run", "look", "draw", "register"):
        exec(compile(code(PAGE, block), str(PAGE), "exec"), names)
    assert len(names["results"]) == 6 and len(names["mine"]) == 3
    assert (tmp_path / "matrix.pdf").read_bytes().startswith(b"%PDF")
    assert {run.method for run in names["mine"]} == {"my-lora"}
    # Its code is in no commit, so that none is named.
    assert {run.provenance.commit for run in names["mine"]} == {None}


@pytest.mark.slow
def test_finished_runs_are_read_and_those_of_a_registered_class_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from methods.seq_lora import METHOD as SEQ
    from tasks.toy import STREAM

    bench.register_method("mine", SEQ)
    bench.register_stream(replace(STREAM, name="own-toy"))
    short: dict[str, Any] = {"out": tmp_path, "epochs": 1, "tasks": 2, "quiet": True}
    first = bench.run(["mine", "frozen"], "toy", **short)
    assert capsys.readouterr().out == ""
    assert len(bench.run("mine", "own-toy", **short)) == 1
    again = bench.run(["mine", "frozen"], "toy", **short | {"quiet": False})
    reported = capsys.readouterr().out.splitlines()
    assert [line for line in reported if "skipped" in line and "mine" in line] == []
    assert len([line for line in reported if "skipped" in line and "frozen" in line]) == 1
    assert [run.matrix for run in again] == [run.matrix for run in first]
    kept = bench.run("mine", "toy", fresh=False, **short)
    assert kept[0].timing == again.select(method="mine")[0].timing


def test_a_matrix_with_holes_is_framed_without_them(tmp_path: Path) -> None:
    scores = matrix(0.6)
    scores[1] = [None, None, None]
    write(result(scores=scores), tmp_path / "one.json")
    assert list(bench.load_results(tmp_path).matrix_frame()["after"]) == [1, 3, 3, 3]
