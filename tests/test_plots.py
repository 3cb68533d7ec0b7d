"""Pictures and the report: what is drawn is what the results say, and nothing leaves the page."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmark.analysis import redundancy
from benchmark.cli import app
from benchmark.errors import UserError
from benchmark.publishing import plot_style, plots, report
from benchmark.publishing.collect import Row
from benchmark.scoring.statistics_ranks import friedman
from tests.factories import counts, matrix, result, save

pytest.importorskip("matplotlib", reason="pictures are the plots extra")


def row(name, *lasts, **changes):
    return Row(name, tuple(result(name, seed, last=last, **changes) for seed, last in enumerate(lasts)))


def line(drawn, index=0):
    return drawn.axes[0].get_lines()[index].get_ydata()


def test_the_heatmap_holds_the_matrix_and_leaves_holes():
    drawn = plots.score_matrix(result(scores=matrix(0.4, first=0.8)))
    (image,) = drawn.axes[0].get_images()
    shown = image.get_array()
    assert shown[1, 0] == pytest.approx(40.0) and shown[2, 2] == pytest.approx(80.0)
    assert np.ma.getmaskarray(shown).tolist() == np.triu(np.ones((3, 3), bool), 1).tolist()
    assert [text.get_text() for text in drawn.axes[0].texts] == ["80", "40", "80", "40", "40", "80"]


def test_accuracy_over_tasks_is_the_mean_of_the_seen_ones_with_its_spread():
    drawn = plots.accuracy_over_tasks([row("alpha", 0.4, 0.6)])
    # After task 2: (0.4 + 0.9) / 2 and (0.6 + 0.9) / 2; after task 3: (0.8 + 0.9) / 3 and (1.2 + 0.9) / 3
    assert line(drawn) == pytest.approx([90.0, 70.0, 63.333], abs=1e-3)
    low, high = drawn.axes[0].collections[0].get_datalim(drawn.axes[0].transData).intervaly
    # Deviation of 65 and 75 is 7.07, of 56.7 and 70 it is 9.43: the band reaches from 63.3 - 9.43 to 90.
    assert (low, high) == (pytest.approx(53.905, abs=1e-2), pytest.approx(90.0))


def test_forgetting_is_drawn_for_every_task_but_the_last():
    falling = [[0.9, None, None], [0.7, 0.8, None], [0.5, 0.9, 0.6]]
    drawn = plots.forgetting_per_task([Row("alpha", (result(scores=falling),))])
    # max(0.9, 0.7) - 0.5; 0.8 - 0.9
    assert line(drawn) == pytest.approx([40.0, -10.0])


def test_active_adapters_are_those_reported():
    run = result().model_copy(update={"parameters": counts(active=2)})
    assert line(plots.active_over_tasks([Row("alpha", (run,))])).tolist() == [1, 2, 2]


def test_the_pareto_front_keeps_what_nobody_beats():
    points = [(1, 50), (2, 60), (2, 60), (2, 55), (3, 60), (4, 70), (0, 40)]
    assert plots.pareto(points) == [0, 1, 2, 5, 6]
    assert plots.pareto([]) == []


def test_needs_and_references_are_not_on_the_front():
    keeps = {"task_id": False, "rehearsal": True, "stored_statistics": False}
    drawn = plots.score_against_stored(
        [row("alpha", 0.4), row("keeper", 0.9, needs=keeps), row("floor", 0.1, reference=True)]
    )
    labels = [each.get_text() for each in drawn.legends[0].get_texts()]
    assert labels == ["alpha", "keeper (rehearsal)", "floor (reference)", "Pareto front"]
    front = drawn.axes[0].get_lines()[-1]
    assert front.get_ydata().tolist() == [pytest.approx(100 * (0.4 + 0.4 + 0.9) / 3)]


@pytest.mark.parametrize("stored", [(0,), (3600,), (294_916, 294_924), (0, 10_000), (70, 2_000_000)])
def test_no_point_is_cut_by_the_frame(stored):
    rows = [row(f"m{n}", 0.4) for n, _ in enumerate(stored)]
    for each, count in zip(rows, stored, strict=True):
        each.first.parameters.on_disk = count
    axes = plots.score_against_stored(rows).axes[0]
    places = axes.transAxes.inverted().transform(axes.transData.transform([(x, 40) for x in stored]))[:, 0]
    assert places.min() > 0.02 and places.max() < 0.98


def test_the_band_reaches_one_critical_difference_from_the_best():
    runs = {name: {block: value for block in range(4)} for name, value in (("a", 1), ("b", 3), ("c", 2))}
    drawn = plots.critical_difference(friedman(runs))
    axes = drawn.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["b", "c", "a"]
    assert axes.get_lines()[0].get_xdata().tolist() == [1.0, 2.0, 3.0]
    # 2.343 * sqrt(3 * 4 / (6 * 4))
    assert axes.patches[0].get_width() == pytest.approx(1.657, abs=1e-3)


def test_rows_of_equal_scores_leave_the_ranks_their_width():
    settings = "gate (sparsity=0.181) = gate (sparsity=0.235) = gate (sparsity=0.419)"
    runs = {name: {block: value for block in range(4)} for name, value in ((settings, 1), ("b", 3), ("c", 2))}
    drawn = plots.critical_difference(friedman(runs))
    drawn.draw_without_rendering()
    # In one line the name is wider than the picture's 4.2 inches; its longest part leaves half of them.
    assert drawn.axes[0].get_position().width > 0.4
    assert drawn.axes[0].get_yticklabels()[-1].get_text().split("\n= ") == settings.split(" = ")


def test_a_method_has_one_colour_in_every_picture():
    both = [row("litelora", 0.4), row("made-up", 0.5)]
    alone = plot_style.looks(both[1:])
    assert plot_style.looks(both)[1] == alone[0]
    assert plot_style.colour_of("litelora") == plot_style.COLOURS[0]
    drawn = plots.accuracy_over_tasks(both)
    assert [line.get_color() for line in drawn.axes[0].get_lines()] == [
        plot_style.colour_of(name) for name in ("litelora", "made-up")
    ]


def test_rows_of_one_colour_differ_in_marker_and_line():
    looks = plot_style.looks([row("litelora", 0.4) for _ in range(9)])
    assert len({look["color"] for look in looks}) == 1
    assert len({look["marker"] for look in looks}) == 9
    assert [look["linestyle"] for look in looks[:4]] == list(plot_style.LINES)


def test_the_overlap_heatmap_shows_both_sides():
    one, other = np.eye(6)[:2], np.eye(6)[1:3]
    adapters = {0: {"q": (one, one.T)}, 1: {"q": (other, one.T)}}
    drawn = plots.overlaps(redundancy.of_adapters(result(), adapters))
    rows, columns = (axes.get_images()[0].get_array()[0, 1] for axes in drawn.axes[::2])
    assert (rows, columns) == (pytest.approx(0.5), pytest.approx(1.0))


def test_equal_results_give_equal_files_of_both_kinds(tmp_path):
    first = plot_style.save(plots.score_matrix(result()), tmp_path / "a.b")
    second = plot_style.save(plots.score_matrix(result()), tmp_path / "again")
    assert [path.name for path in first] == ["a.b.svg", "a.b.png"]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert first[1].read_bytes().startswith(b"\x89PNG")


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.sources, self.alts, self.tags = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.sources += [given[name] for name in ("src", "href") if name in given]
        self.alts += [given.get("alt")] if tag == "img" else []


def test_a_picture_is_drawn_once_and_comes_out_as_matplotlib_saves_it():
    rows = [row("alpha", 0.4, 0.6), row("beta", 0.5)]
    saved = io.StringIO()
    plots.accuracy_over_tasks(rows).savefig(saved, format="svg", metadata={"Date": None})
    drawn, passes = plots.accuracy_over_tasks(rows), []
    (artist,) = drawn.axes
    draw = artist.draw
    artist.draw = lambda renderer: (passes.append(renderer), draw(renderer))
    assert plot_style.svg(drawn) == saved.getvalue()
    assert len(passes) == 1


def test_dollar_signs_in_a_name_are_no_mathematics():
    rows = [row(r"a$\broken{$", 0.4, 0.6)]
    for drawn in (plots.accuracy_over_tasks(rows), plots.score_against_stored(rows)):
        assert r"a$\broken{$" in plot_style.svg(drawn)
    assert r"a$\broken{$ on orchard" in plot_style.svg(plots.score_matrix(rows[0].first))


def test_the_report_of_a_folder_is_one_page_without_outside_requests(tmp_path):
    methods = {"alpha": 0.4, "beta": 0.3}
    save(tmp_path, *(result(m, s, last=last + s / 10) for m, last in methods.items() for s in range(3)))
    text = report.build(tmp_path, tmp_path / "page.html").read_text()
    page = Page(text)
    assert page.sources and all(source.startswith("data:image/svg+xml,") for source in page.sources)
    assert all(page.alts) and "script" not in page.tags
    # AP of alpha: (2 x 0.4, 0.5 and 0.6 + 0.9) / 3 = 56.7, 63.3 and 70.0, 63.3 in the mean
    assert text.count("<td>alpha</td>") == 1 and "<td>63.3 ± 6.7</td>" in text


def test_the_report_of_a_run_holds_every_convention(tmp_path):
    (path,) = save(tmp_path, result())
    text = report.build(path, tmp_path / "page.html").read_text()
    assert "LibContinual" in text and "alpha on orchard" in text
    assert '<td class="words">mean of the last row</td>' in text


def test_names_are_escaped(tmp_path):
    (path,) = save(tmp_path, result("<script>alert(1)</script>".replace("/", "")))
    text = report.build(path, tmp_path / "page.html").read_text()
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not re.search(r"%3Cscript", text, re.IGNORECASE)


def test_bad_files_are_named_after_the_page_is_written(tmp_path):
    _, bad = save(tmp_path, result(seed=0), result(seed=1))
    bad.write_bytes(bad.read_bytes()[:50])
    with pytest.raises(UserError, match=bad.name):
        report.build(tmp_path, tmp_path / "page.html")
    assert (tmp_path / "page.html").is_file()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no results in"):
        report.build(tmp_path / "empty", tmp_path / "page.html")


def test_every_picture_is_written_as_pdf_and_svg_at_the_width_of_a_column(tmp_path):
    lasts = {"alpha": 0.6, "beta": 0.4, "gamma": 0.2}
    save(tmp_path, *(result(m, s, last=last + s / 50) for m, last in lasts.items() for s in range(3)))
    done = CliRunner().invoke(app, ["figures", str(tmp_path), "--out", str(tmp_path / "figures")])
    assert done.exit_code == 0, done.stderr
    written = [Path(line) for line in done.stdout.splitlines()]
    names = {path.name.removeprefix("orchard-tiny-seed-class-incremental-") for path in written}
    kinds = ["curves", "forgetting", "ranks"]
    stems = [*(f"{kind}-rehearsal-free" for kind in kinds), "pareto", "active"]
    stems += [f"matrix-{name}" for name in lasts]
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("pdf", "svg")}
    for path in written:
        head = path.read_bytes()[:2000]
        if path.suffix == ".pdf":
            assert head.startswith(b"%PDF")
            continue
        # A column of 8.5 cm is 241 points wide.
        width = re.search(rb'<svg [^>]*width="([\d.]+)pt"', head)
        assert width and float(width[1]) <= 242
        sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", path.read_text())]
        # Exponents of the axis are set at 0.7 of 8 points.
        assert sizes and min(sizes) >= (5.6 if "pareto" in path.name else 7), path.name


def test_sizes_for_paper_end_with_their_context():
    with plot_style.looking(plot_style.COLUMN):
        assert plot_style.figure().get_figwidth() == pytest.approx(3.35)
        assert plot_style.figure(8.0, 3.6).get_figwidth() == pytest.approx(3.35)
    assert plot_style.figure().get_figwidth() == pytest.approx(6.0)
