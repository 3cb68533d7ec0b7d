"""The site in a real browser: it sorts, filters, tells details, links, and asks nobody for anything."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from benchmark.publishing import report, site
from tests.factories import keep_adapters, result, save
from tests.test_docs import build, copied

api = pytest.importorskip("playwright.sync_api", reason="a browser is driven with the browser extra")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OLD = {"task_id": False, "rehearsal": True, "stored_statistics": False}
PAGES = ("index.html", "streams/orchard.html", "methods/alpha.html")
# AP is (2 last + 0.9) / 3: 50, 70 and 60, each 3.3 lower and higher in the two other runs.
LASTS = {"alpha": 0.3, "beta": 0.6, "gamma": 0.45}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser: BENCH_BROWSER, or a Chromium that is installed."""
    path = os.environ.get("BENCH_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"needs a browser: set BENCH_BROWSER, or install one of {', '.join(NAMES)}")
    quiet = ["--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    rootless = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=quiet + rootless)
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a small site's folder."""
    pytest.importorskip("matplotlib", reason="pictures are the plots extra")
    folder = tmp_path_factory.mktemp("site")
    runs = [
        result(name, seed, last=last + 0.05 * (seed - 1)) for name, last in LASTS.items() for seed in range(3)
    ]
    last_row_alone = [[None] * 3, [None] * 3, [0.1, 0.1, 0.1]]
    for seed in range(3):
        runs += [
            result("unmeasured", seed, scores=last_row_alone),
            result("keeper", seed, needs=OLD),
            result("<i>bound", seed, reference=True),
        ]
    save(folder / "boards", *runs)
    site.build(folder / "boards", folder / "site")
    return (folder / "site").as_uri()


@pytest.fixture
def page(browser: Any, pages: str) -> Iterator[Any]:
    """The stream's page on a desktop; it fails a test that leaves an error or asks for another address."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    trouble: list[str] = []
    opened.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: trouble.append(f"error: {error}"))

    def asked(request: Any) -> None:
        if not request.url.startswith((pages, "data:")):
            trouble.append(f"asked for {request.url}")

    opened.on("request", asked)
    opened.goto(f"{pages}/streams/orchard.html")
    yield opened
    opened.close()
    assert trouble == []


def methods(page: Any, table: int = 0) -> list[str]:
    return page.locator("table").nth(table).locator("tbody tr:visible > th").all_inner_texts()


def heading(page: Any, name: str) -> Any:
    return page.locator("table").first.locator("thead th").filter(has_text=name)


def test_a_click_sorts_the_best_first_and_another_turns_round(page):
    assert methods(page) == ["beta", "gamma", "alpha", "unmeasured"]  # by AP
    assert heading(page, "AP ↑").get_attribute("aria-sort") == "descending"
    button = heading(page, "forgetting").get_by_role("button")
    button.click()
    # 0.9 - last, less is better; what was not measured is last both ways.
    assert methods(page) == ["beta", "gamma", "alpha", "unmeasured"]
    assert heading(page, "forgetting").get_attribute("aria-sort") == "ascending"
    assert heading(page, "AP ↑").get_attribute("aria-sort") is None
    button.press("Enter")
    assert methods(page) == ["alpha", "gamma", "beta", "unmeasured"]
    assert heading(page, "forgetting").get_attribute("aria-sort") == "descending"
    assert page.locator("#status").inner_text() == "sorted by forgetting ↓, descending"
    heading(page, "method").get_by_role("button").click()
    assert methods(page) == ["alpha", "beta", "gamma", "unmeasured"]


def test_a_filter_leaves_the_rows_that_match(page):
    page.get_by_label("Filter methods").fill("AM")
    assert methods(page) == ["gamma"]
    # In the scores and in the costs, of 6 rows each.
    assert page.locator("#status").inner_text() == "2 of 12 rows"
    page.get_by_label("Filter methods").fill("nothing like it")
    assert page.locator("table:visible").count() == 0
    assert page.locator("#status").inner_text() == "no row matches"
    page.get_by_label("Filter methods").fill("")
    page.get_by_label("Show").select_option("Rehearsal-based")
    assert page.locator("table:visible caption").all_inner_texts() == ["Rehearsal-based"]


def test_details_come_with_the_pointer_and_with_the_keyboard(page):
    tip = page.get_by_role("tooltip")
    runs = page.locator("table").first.locator("tbody tr").first.locator("td")
    runs.nth(1).hover()
    # beta: (2 * 0.55 + 0.9) / 3 and so on.
    assert tip.inner_text().splitlines() == [
        "standard deviation 3.3, n = 3",
        "order forward, seed 0: 66.7",
        "order forward, seed 1: 70.0",
        "order forward, seed 2: 73.3",
    ]
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    # From the last heading, Tab reaches the one run of the table that is in line; arrows go on.
    page.locator("table").first.locator("thead button").last.focus()
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "beta"  # the link to the method's page
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "yes"  # beta could be best
    page.keyboard.press("ArrowRight")
    assert tip.is_visible() and "n = 3" in tip.inner_text()
    page.keyboard.press("ArrowDown")
    assert "seed 1: 60.0" in tip.inner_text()
    assert page.locator(":focus").get_attribute("aria-describedby") == "tip"


def test_links_lead_to_the_result_files(page):
    row = page.locator("table").first.locator("tbody tr").first
    row.locator("summary").click()
    row.get_by_role("link", name="order forward, seed 1").click()
    assert '"method": "beta"' in page.inner_text("body") and '"seed": 1' in page.inner_text("body")


def test_the_first_tab_stop_skips_to_the_tables(page):
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the tables"
    page.keyboard.press("Enter")
    assert page.locator(":focus").get_attribute("id") == "content"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_theme_is_the_system_s_until_chosen(browser, pages, scheme):
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{pages}/index.html")
    paper = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 22, 26)"}
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == paper[scheme]
    other = "dark" if scheme == "light" else "light"
    page.get_by_label("Theme").select_option(other)
    assert page.evaluate(ground) == paper[other]
    page.reload()
    assert page.evaluate(ground) == paper[other]
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_scrolls_tables_and_never_the_page(browser, pages, name):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(f"{pages}/{name}")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.close()


def test_a_scrolled_table_keeps_its_method_column(browser, pages):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(f"{pages}/streams/orchard.html")
    name, score = (
        page.locator("table").first.locator(f"tbody tr >> nth=0 >> {cell}") for cell in ("th", "td")
    )
    before = name.bounding_box()["x"]
    page.locator(".wide").first.evaluate("box => box.scrollLeft = 200")
    assert name.bounding_box()["x"] == before >= 0
    assert score.first.bounding_box()["x"] < before
    page.close()


def test_what_a_board_says_stands_on_the_first_screen_of_a_phone(browser, pages):
    page = browser.new_page(viewport={"width": 390, "height": 800})
    page.goto(f"{pages}/streams/orchard.html")
    for words in ("What was measured", "What it may not claim"):
        box = page.get_by_role("heading", name=words).bounding_box()
        assert box["y"] + box["height"] < 800, words
    page.close()


def test_without_script_the_page_is_complete(browser, pages):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{pages}/streams/orchard.html")
    assert methods(page) == ["beta", "gamma", "alpha", "unmeasured"]
    assert page.locator("button:visible, input:visible, select:visible").count() == 0
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(browser, pages, name, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is the browser extra")
    # The page's policy would keep out axe's own script.
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(f"{pages}/{name}")
    found = axe.Axe().run(page).response
    assert [each["id"] for each in found["violations"]] == []
    assert len(found["passes"]) > 10
    context.close()


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of the documentation's folder."""
    pytest.importorskip("material", reason="mkdocs-material is the docs extra")
    folder = copied(tmp_path_factory.mktemp("documentation"))
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return (folder / "site").as_uri()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "tutorial.html"])
def test_the_documentation_breaks_no_rule_of_wcag(browser, documentation, name, scheme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is the browser extra")
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(f"{documentation}/{name}")
    # The theme's own landmarks share names, which is advice and no rule.
    wcag = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}
    found = axe.Axe().run(page, options=wcag).response
    assert [each["id"] for each in found["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_a_report_of_a_phone_s_width(browser, tmp_path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is the browser extra")
    pytest.importorskip("matplotlib", reason="pictures are the plots extra")
    (path,) = save(tmp_path, result())
    keep_adapters(path, tasks=3)
    report.build(path, tmp_path / "page.html")
    page = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    page.goto((tmp_path / "page.html").as_uri())
    assert [each["id"] for each in axe.Axe().run(page).response["violations"]] == []
    # Wide tables scroll in themselves, and the page does not.
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.close()
