"""The site: the rows of the boards, in pages that ask for nothing and believe no result file."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from benchmark.errors import Incomplete, UserError
from benchmark.protocol import Protocol
from benchmark.publishing import site
from benchmark.publishing.in_words import join_words
from benchmark.publishing.plots import TriedRate
from benchmark.publishing.site_methods import tried_rates
from benchmark.publishing.site_server import server
from benchmark.results import write
from benchmark.running.tuned_values import TunedValues
from scripts.board_pages import pages
from scripts.check_links import broken
from tests.command import assert_one_line_error, bench
from tests.factories import STANDARD, headroom_rows, matrix, provenance, reference_rows, result, save, tuned

EVIL = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
OLD = {"task_id": False, "rehearsal": True, "stored_statistics": False}


class Page(HTMLParser):
    """What a test asks of a page: tags with attributes, and its tables as texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] = []
        self.words: str | None = None
        self.caption = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td", "caption"):
            self.words = ""

    def handle_data(self, data):
        if self.words is not None:
            self.words += data

    def handle_endtag(self, tag):
        if tag == "caption":
            self.caption = " ".join((self.words or "").split())
        elif tag in ("th", "td"):
            self.rows[-1].append(" ".join((self.words or "").split()))
        elif tag == "table":
            self.tables[self.caption] = self.rows
        if tag in ("th", "td", "caption"):
            self.words = None


def built(tmp_path, *results, pictures=False):
    save(tmp_path / "boards", *results)
    return [Page(path.read_text()) for path in site.build(tmp_path / "boards", tmp_path / "site", pictures)]


def test_rows_stand_as_on_the_boards_and_unlike_ones_apart(tmp_path):
    joint = [[None] * 3, [None] * 3, [0.9, 0.9, 0.9]]
    _, page, *_ = built(
        tmp_path,
        *(result("alpha", seed, last=last) for seed, last in enumerate([0.5, 0.6, 0.7])),
        *(result("beta", seed, last=last) for seed, last in enumerate([0.1, 0.2, 0.3])),
        *(result("keeper", seed, needs=OLD) for seed in range(3)),
        *(result("joint", seed, scores=joint, reference=True, needs=OLD) for seed in range(3)),
        result("hasty", last=0.9),
    )
    apart, ends = "Rehearsal-free: with fewer runs", "References: floor and ceiling"
    assert list(page.tables) == ["Rehearsal-free", apart, "Rehearsal-based", ends, "Costs"]
    head, first, second = page.tables["Rehearsal-free"]
    scores = ["AP ↑", "AIA (AAA) ↑", "forgetting ↓", "BWT ↑", "learning acc. ↑", "AP worst"]
    assert head == ["method", "could be best", *scores, "n", "results"]
    # AP of a run: (last + last + 0.9) / 3, so alpha has 63.3, 70.0 and 76.7; it leads beta by 26.7.
    assert first[:4] == ["alpha", "yes", "70.0 ± 6.7", "78.3 ± 3.9"] and first[-3:-1] == ["63.3", "3"]
    assert second[:3] == ["beta", "", "43.3 ± 6.7"]
    assert [row[0] for row in page.tables[apart][1:]] == ["hasty"]
    (reference,) = page.tables[ends][1:]
    # Joint training has one row of scores: no score on the way, nothing forgotten, and so no column of it.
    assert page.tables[ends][0] == ["method", "reference", "AP ↑", "AP worst", "n", "results"]
    assert reference[:4] == ["joint (rehearsal)", "ceiling", "90.0 ± 0.0", "90.0"]


LISTED = (
    '[[board]]\nstream = "orchard"\nprotocol = "standard"\nwhy = "A stricter probe took its room away."\n'
)


@pytest.mark.parametrize(("joint", "marks"), [(0.8, ["could be best"]), (0.52, [])])
def test_a_board_has_a_column_of_marks_where_adapters_have_room(tmp_path, joint, marks):
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards" / "measured.toml").write_text("" if marks else LISTED)
    _, page, *_ = built(tmp_path, *headroom_rows(joint))
    assert page.tables["Rehearsal-free"][0][: 2 + len(marks)] == ["method", *marks, "AP ↑"]
    assert [title for title in page.tables["Rehearsal-free"][0] if "best" in title] == marks


def test_a_board_that_is_refused_leaves_its_methods_out(tmp_path):
    save(tmp_path / "boards", *headroom_rows(0.52), result("alpha", stream="meadow"))
    with pytest.raises(Incomplete, match="orchard, standard"):
        site.build(tmp_path / "boards", tmp_path / "site", False)
    assert [path.stem for path in (tmp_path / "site" / "methods").iterdir()] == ["alpha"]


def test_a_run_tells_its_spread_and_its_runs(tmp_path):
    _, page, *_ = built(tmp_path, *(result(seed=s, last=last) for s, last in enumerate([0.5, 0.6, 0.7])))
    details = [each.get("data-detail") for tag, each in page.tags if tag == "td"]
    # Forgetting is 0.9 - last.
    reported = "order forward, seed 0: 40.0\norder forward, seed 1: 30.0\norder forward, seed 2: 20.0"
    assert f"standard deviation 10.0, n = 3\n{reported}" in details


def test_every_result_lies_beside_the_page_and_is_linked(tmp_path):
    runs = [result(seed=seed, stream="plum tree & co") for seed in range(2)]
    _, page, *_ = built(tmp_path, *runs)
    links = [
        each["href"] or "" for tag, each in page.tags if tag == "a" and "results/" in (each["href"] or "")
    ]
    linked = {
        json.loads((tmp_path / "site" / "streams" / unquote(link)).read_bytes())["seed"] for link in links
    }
    assert linked == {0, 1}


def test_tables_can_be_read_aloud(tmp_path):
    for page in built(tmp_path, result()):
        headings = [each for tag, each in page.tags if tag == "th"]
        assert all(each.get("scope") in ("col", "row") for each in headings)
        assert ("html", {"lang": "en"}) in page.tags
        targets = {each.get("id") for _, each in page.tags}
        skips = [each["href"] for tag, each in page.tags if tag == "a" and each.get("class") == "skip"]
        assert skips == ["#content"] and "content" in targets


def test_html_in_a_name_stays_text(tmp_path):
    stream = "<img src=x onerror=alert(1)>&'"  # no file can have a slash in its name
    folder = tmp_path / "boards" / "results" / stream / "tiny"
    lines = {"lr": EVIL}, {"lr": "<b>"}
    for number, settings in enumerate(lines):
        run = result(EVIL, number, EVIL, stream=stream, hyperparameters=settings)
        write(run, folder / f'"><b>{number}.json')
    every = built(tmp_path)
    for page in every:
        assert sum(tag == "script" for tag, _ in page.tags) == 1
        assert not any(tag in ("img", "b") for tag, _ in page.tags)
        assert not any(name.startswith("on") for _, each in page.tags for name in each)
    assert any(f"{EVIL} (lr={EVIL})" == row[0] for table in every[1].tables.values() for row in table)


def test_pages_ask_for_nothing_and_stay_small(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures are the plots extra")
    runs = [result(f"method-{m}", s, last=0.02 * m + 0.1 * s) for m in range(10) for s in range(3)]
    drawn = built(tmp_path, *runs, pictures=True)
    for page in drawn:
        sources = [each["src"] or "" for _, each in page.tags if "src" in each]
        assert all(source.startswith("data:image/svg+xml,") for source in sources)
        assert not any(tag in ("iframe", "object", "embed", "base") for tag, _ in page.tags)
        assert [each.get("href") for tag, each in page.tags if tag == "link"] == ["data:,"]
    assert all(any(tag == "img" for tag, _ in page.tags) for page in drawn[:2])
    assert all(path.stat().st_size < 2_000_000 for path in (tmp_path / "site").rglob("*.html"))


def test_a_page_too_large_goes_without_pictures_and_says_so(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="pictures are the plots extra")
    save(tmp_path / "boards", *(result(seed=seed) for seed in range(3)))
    site.build(tmp_path / "boards", tmp_path / "plain", pictures=False)
    size = (tmp_path / "plain" / "streams" / "orchard.html").stat().st_size
    monkeypatch.setattr(site, "MOST_BYTES", size + 500)
    site.build(tmp_path / "boards", tmp_path / "site")
    text = (tmp_path / "site" / "streams" / "orchard.html").read_text()
    assert "<figure>" not in text and "`bench report` draws them" in text
    monkeypatch.setattr(site, "MOST_BYTES", 1000)
    with pytest.raises(UserError, match=r"index\.html would have .* bytes"):
        site.build(tmp_path / "boards", tmp_path / "site")


def test_the_overview_has_the_normalised_scores(tmp_path):
    index, *_ = built(tmp_path, *reference_rows(), *(result("alpha", seed, last=0.6) for seed in range(3)))
    # AP: floor (0.45 + 0.45 + 0.9) / 3 = 0.6, joint 0.9, alpha 0.7: a third of the gap in every run.
    assert index.tables["Rehearsal-free"] == [["method", "orchard ↑"], ["alpha (untuned)", "33 (33 to 33)"]]


def test_the_overview_opens_with_a_result_in_words(tmp_path):
    runs = [result(m, s, last=last + s / 50) for m, last in (("alpha", 0.6), ("beta", 0.2)) for s in range(3)]
    built(tmp_path, *runs, result("floor", last=0.1, reference=True))
    text = " ".join((tmp_path / "site" / "index.html").read_text().split())
    # AP: (2 (0.62) + 0.9) / 3 = 71.3 on the middle seed, 1.3 above and below on the others.
    assert "Rehearsal-free: alpha is best, AP 71.3 ± 1.3, significantly above the other row." in text
    assert "No ranking of adapters follows from this board" in text  # it has no joint row
    assert "Normalised scores" not in text


def test_rows_are_enumerated_as_one_speaks():
    assert [join_words(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]


def test_a_board_says_in_plain_words_what_it_says_and_may_not_claim(tmp_path):
    runs = headroom_rows()
    for seed in range(5):
        found = provenance(tuned=tuned())
        # AP of a run: (2 last + 0.9) / 3; alpha and beta differ by 0.7 points, which noise of 2 to 3 hides.
        # Gamma, 0.313 three times and 0.447 twice, is 0.067 above the frozen 0.3 with a deviation of 0.073:
        # t = 0.067 / (0.073 / sqrt 5) = 2.04, of four degrees p = 0.11, above 5 % without any correction.
        lasts = {
            "alpha": 0.6 + seed / 50,
            "beta": 0.59 + (seed * 3 % 5) / 50,
            "gamma": 0.02 + 0.2 * (seed % 2),
        }
        for name, last in lasts.items():
            passes = [12.0 if name == "alpha" else 24.0] * 3
            runs.append(
                result(name, seed, last=last, protocol=STANDARD, provenance=found, forward_equivalents=passes)
            )
        # Alpha less this is 0.06 with a deviation of 0.0211: t = 6.36, p = 0.0031. Beta less this is 0.053
        # with one of 0.0298: t = 4, p = 0.016. Ncm and gamma are below with 0.00006 and 0.0012. Holm takes
        # them from the smallest on times 4, 3, 2 and 1: the largest is 0.016.
        last = 0.51 + (seed * 2 % 5) / 50
        runs.append(result("seq-lora", seed, last=last, protocol=STANDARD, provenance=found, reference=True))
    built(tmp_path, *runs)
    for name in ("index.html", "streams/orchard.html"):
        text = " ".join((tmp_path / "site" / name).read_text().split())
        room = (
            "There is room for methods to differ: class means of frozen features score 50.0 (ncm), adapters "
            "trained on all tasks at once 80.0 (joint), and guessing gives 6.7."
        )
        assert room in text
        says, not_claimed = text.split("What it says", 1)[1].split("What it may not claim", 1)
        assert re.search(r"alpha \(72\.7 ± 2\.1\) and beta \(72\.0 ± 2\.1\) do not differ", says)
        assert (
            "3 of 4 rows score significantly more than the frozen backbone, of which a head at most" in says
        )
        assert "2 of 4 rows score significantly more than sequential LoRA, 66.7 ± 2.1, and 2" in says
        assert "and 2 significantly less (Student over paired runs, Holm over rows)" in says
        assert re.search(r"gaps below \d+\.\d points are within the noise of 5 runs, and one of", not_claimed)
        assert "beta (2.0 times) and gamma (2.0 times) take more passes through the backbone" in not_claimed
        assert "Anything about other models, data or budgets: all rows are seed on orchard." in not_claimed


def test_trials_are_told_apart_by_optimiser_and_by_whether_they_ended_early():
    def trial(optimizer: str, rate: float, score: float, state: str) -> dict[str, object]:
        return {"optimizer": optimizer, "learning_rate": rate, "state": state, "validation_ap": score}

    trials = [
        trial("sgd", 0.1, 40.0, "complete"),
        trial("sgd", 0.01, 20.0, "complete"),
        trial("adamw", 0.001, 55.0, "pruned"),
        {"learning_rate": 0.5, "state": "failed"},
    ]
    found = TunedValues(values={"optimizer": "sgd", "learning_rate": 0.1}, source="made up", trials=trials)
    assert tried_rates(found) == {
        "sgd": [TriedRate(0.01, 20.0), TriedRate(0.1, 40.0)],
        "adamw": [TriedRate(0.001, 55.0, complete=False)],
    }


def test_a_board_without_room_ranks_nothing(tmp_path):
    tiny = Protocol(name="tiny", source="made up", backbone="seed")
    built(tmp_path, *headroom_rows(joint=0.52, protocol=tiny))
    text = " ".join((tmp_path / "site" / "streams" / "orchard.html").read_text().split())
    assert "there is too little room for one: class means of frozen features score 50.0 (ncm)" in text
    assert "What it says" not in text and "order says nothing" in text
    assert "the gap is 2.0 points, 5 are needed" in text  # the figures stand below


def test_the_overview_has_no_empty_cell_and_none_of_one_run(tmp_path):
    index, *_ = built(
        tmp_path,
        *reference_rows(),
        *(result("alpha", seed, last=0.6) for seed in range(3)),
        result("hasty", 0, last=0.6),
    )
    assert [row[0] for row in index.tables["Rehearsal-free"][1:]] == ["alpha (untuned)"]
    assert all(cell for table in index.tables.values() for row in table for cell in row)
    assert "1 row with one run alone" in (tmp_path / "site" / "index.html").read_text()


def test_each_row_links_its_method_s_page_which_has_settings_curve_costs_and_runs(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures are the plots extra")
    _, stream, page = built(tmp_path, *(result("frozen", seed) for seed in range(2)), pictures=True)
    links = {each["href"] for tag, each in stream.tags if tag == "a" and "methods/" in (each["href"] or "")}
    assert links == {"../methods/frozen.html"}
    text = (tmp_path / "site" / "methods" / "frozen.html").read_text()
    assert "learning_rate = " in text  # a setting of the class
    assert "Sensitivity to the learning rate" in text and "digits/smoke" in text  # from sweeps/tuned
    assert "Costs on orchard, tiny, seed, class-incremental" in page.tables
    assert sum("results/" in (each.get("href") or "") for tag, each in page.tags if tag == "a") >= 2


def test_two_names_that_differ_in_signs_have_pages_of_their_own(tmp_path):
    built(tmp_path, result("a b"), result("a-b"), result("a&b"))
    assert len(list((tmp_path / "site" / "methods").iterdir())) == 3


def test_links_are_checked_within_a_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text('<a href="sub/a.html#here">x</a><a href="https://example.org">y</a>')
    (tmp_path / "sub" / "a.html").write_text('<p id="here"><a href="../index.html">z</a></p>')
    assert list(broken(tmp_path)) == []
    (tmp_path / "sub" / "a.html").write_text('<p id="there"><a href="gone.html">z</a></p>')
    assert sorted(broken(tmp_path)) == [
        "index.html: sub/a.html#here names no place there",
        "sub/a.html: gone.html leads nowhere",
    ]


def test_every_link_between_boards_and_documentation_leads_somewhere(tmp_path):
    built(tmp_path, *reference_rows(), *(result("alpha", seed) for seed in range(3)))
    site.build(tmp_path / "boards", tmp_path / "docs" / "boards", False, docs="../index.html")
    (tmp_path / "docs" / "index.html").write_text('<a href="boards/index.html">boards</a>')
    assert list(broken(tmp_path / "docs")) == []
    files = pages(tmp_path / "boards")
    assert {"index.html", "streams/orchard.html", "methods/alpha.html"} <= files.keys()
    assert b'href="../../index.html"' in files["streams/orchard.html"]
    assert list(pages(tmp_path / "nothing")) == ["index.html"]


def test_a_file_that_cannot_be_used_is_named_and_the_rest_written(tmp_path):
    save(tmp_path / "boards", result())
    broken = tmp_path / "boards" / "results" / "orchard" / "tiny" / "broken.json"
    broken.write_text("{")
    with pytest.raises(UserError, match=r"broken\.json is not complete JSON"):
        site.build(tmp_path / "boards", tmp_path / "site", pictures=False)
    assert (tmp_path / "site" / "streams" / "orchard.html").is_file()
    assert not list((tmp_path / "site").rglob("broken.json"))


def test_an_earlier_site_is_replaced_and_nothing_else(tmp_path):
    built(tmp_path, result(stream="old"), result())
    for file in (tmp_path / "boards" / "results" / "old").rglob("*.json"):
        file.unlink()
    built(tmp_path)
    assert [path.name for path in (tmp_path / "site" / "streams").iterdir()] == ["orchard.html"]
    assert len(list((tmp_path / "site").rglob("*.json"))) == 1
    with pytest.raises(UserError, match="something else than a site"):
        site.build(tmp_path / "boards", tmp_path / "boards", pictures=False)
    assert list((tmp_path / "boards" / "results").rglob("*.json"))


def test_scores_that_were_not_measured_have_no_value_to_sort_by(tmp_path):
    last_alone = result("beta", scores=[[None] * 3, [None] * 3, [0.9, 0.9, 0.9]])
    _, page, *_ = built(tmp_path, last_alone, result())
    runs = [each for tag, each in page.tags if tag == "td" and each.get("class") != "plain"]
    assert any("data-value" not in each for each in runs)
    assert all(each["data-value"] not in ("None", "nan") for each in runs if "data-value" in each)


def test_the_server_shows_the_site_to_this_machine_alone(tmp_path):
    built(tmp_path, result(scores=matrix(0.5)))
    with server(tmp_path / "site", 0) as running:
        host, port = running.server_address[:2]
        assert host == "127.0.0.1"
        threading.Thread(target=running.serve_forever, daemon=True).start()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/streams/orchard.html", timeout=10) as answer:
            assert b"<h1>orchard</h1>" in answer.read()
        with pytest.raises(UserError, match="give another --port"):
            server(tmp_path / "site", int(port))
        running.shutdown()
    with pytest.raises(UserError, match="bench develop site build"):
        server(Path(tmp_path / "nowhere"), 0)


def test_the_command_names_the_pages_it_wrote(tmp_path):
    save(tmp_path / "boards", result())
    arguments = ["site", "build", "--root", tmp_path / "boards", "--out", tmp_path / "site", "--no-pictures"]
    done = bench(*arguments)
    assert done.returncode == 0, done.stderr
    names = ("index.html", "streams/orchard.html", "methods/alpha.html")
    written = [tmp_path / "site" / name for name in names]
    assert done.stdout.split() == [str(page) for page in written]
    done = bench("site", "build", "--root", tmp_path / "nowhere", "--out", tmp_path / "site")
    assert_one_line_error(done, "no results in", "bench run")
