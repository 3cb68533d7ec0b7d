"""Results that contradict themselves: every verb that shows results names the file, and shows the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import UserError
from benchmark.publishing import leaderboard, report, site
from benchmark.publishing.collect import load
from benchmark.publishing.soundness import check_sound
from benchmark.results import read
from tests.command import bench
from tests.factories import provenance, result, save

Spoil = Callable[[dict[str, Any]], object]


def spoiled(tmp_path: Path, spoil: Spoil) -> Path:
    """Write three runs, spoil the last, and return its file."""
    *_, path = save(tmp_path, *(result(seed=seed, last=0.5 + seed / 10) for seed in range(3)))
    data = json.loads(path.read_text())
    spoil(data)
    path.write_text(json.dumps(data))
    return path


def matrix_of(data: dict[str, Any]) -> list[list[float]]:
    return data["readings"]["trained_head"]["matrix"]


EDITS: dict[str, tuple[Spoil, str]] = {
    "a number": (
        lambda data: data["headline"].update(forgetting=0.0),
        "states forgetting 0.0, but its matrix",
    ),
    "a score": (lambda data: matrix_of(data)[2].__setitem__(0, 1.0), "but its matrix gives"),
    "a setting": (lambda data: data["config"]["protocol"].update(epochs=99), "its settings and data give"),
    "a protocol's name": (
        lambda data: data["config"]["protocol"].update(name="long"),
        "its settings and data give",
    ),
    "a seed": (lambda data: data.update(seed=9), "its settings and data give"),
    "a seed's type": (lambda data: data.update(seed=True), "seed: Input should be a valid integer"),
    "no seed": (lambda data: data.pop("seed"), "seed: Field required"),
    "no settings": (lambda data: data.update(config={}), "they lack protocol, hyperparameters"),
    "settings that are none": (lambda data: data["config"].update(protocol="smoke"), "a block of protocol"),
    "counts": (lambda data: data["parameters"].update(active_adapters=[]), "has 0 entries for 3 tasks"),
    "test rows": (lambda data: data["tasks"][0].update(test=0), "tasks.0.test: Input should be greater"),
    "NaN": (lambda data: matrix_of(data)[2].__setitem__(0, float("nan")), "NaN is no number"),
    "half a character": (lambda data: data.update(method="a\ud800"), "half a character"),
    "a newer schema": (lambda data: data.update(schema_version=3), "has result schema 3"),
    "an older schema": (
        lambda data: data.update(schema_version=1),
        "schema 1 are not migrated: run it again",
    ),
}


@pytest.mark.parametrize(("spoil", "reason"), EDITS.values(), ids=EDITS)
def test_what_was_edited_is_reported_by_file_and_never_averaged_in(tmp_path, spoil, reason):
    path = spoiled(tmp_path, spoil)
    found, (problem,) = load(tmp_path)
    assert len(found) == 2 and str(path) in problem and reason in problem
    for shown in (
        lambda: leaderboard.build(tmp_path, tmp_path),
        lambda: report.build(tmp_path / "results", tmp_path / "page.html"),
        lambda: site.build(tmp_path, tmp_path / "site", pictures=False),
    ):
        with pytest.raises(UserError) as caught:
            shown()
        assert str(path) in str(caught.value) and reason in str(caught.value)
    # Two runs are left: AP 0.633 and 0.7.
    assert "66.7 ± 4.7" in (tmp_path / "orchard.md").read_text()
    assert "<td>66.7 ± 4.7</td>" in (tmp_path / "page.html").read_text()
    with pytest.raises(UserError, match="orchard"):
        check_sound(read(path), path)


def test_a_second_result_of_a_cell_is_not_averaged_in_a_report(tmp_path):
    first, second = save(tmp_path, result(), result(last=0.1, provenance=provenance(data_fingerprint="b")))
    with pytest.raises(UserError, match=f"{second.name} is a second result of the run in .*{first.name}"):
        report.build(tmp_path, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    # One run is left, so the page is about that run alone.
    assert "70.00" in text and "36.67" not in text


def test_json_without_end_is_no_traceback(tmp_path):
    (path,) = save(tmp_path, result())
    path.write_text("[" * 100_000)
    with pytest.raises(UserError, match="is not a valid result"):
        read(path)


@pytest.mark.slow
def test_the_translator_refuses_an_edited_result(tmp_path):
    path = spoiled(tmp_path, EDITS["a score"][0])
    shown = bench("metrics", path)
    assert shown.returncode == 2 and str(path) in shown.stderr and not shown.stdout


MARK = "<img src=x onerror=alert(1)>"


def test_html_in_any_name_is_text_on_every_page(tmp_path):
    pytest.importorskip("matplotlib", reason="pictures are the plots extra")
    names = (f"{MARK}task", "pears", "plums")
    runs = [
        result(
            f"{MARK}{name}",
            seed,
            f"{MARK}order",
            last=last + seed / 20,
            names=names,
            hyperparameters={f"{MARK}lr": f"{MARK}{name}"},
            needs={f"{MARK}need": True},
            backbone=f"{MARK}backbone",
            stream="](orchard) x",
            provenance=provenance(names, data_origin=MARK, device=MARK, versions={MARK: MARK}),
        )
        for seed in range(3)
        for name, last in (("a", 0.5), ("b", 0.3), ("c", 0.1))
    ]
    save(tmp_path, *runs)
    boards = leaderboard.build(tmp_path, tmp_path / "boards")
    pages = [
        *site.build(tmp_path, tmp_path / "site"),
        report.build(tmp_path / "results", tmp_path / "page.html"),
    ]
    for page in pages:
        text = page.read_text()
        assert "<img src=x" not in text and "&lt;img src=x" in text
        assert "%3Cimg src=x" not in text  # pictures hold text as it is, and theirs is escaped before
    for board in boards:
        text = board.read_text()
        assert "\\<img src=x" in text
        assert "<img src=x" not in text.replace("\\<img", "")
        assert "[](orchard)" not in text and "\\[](" not in text.replace("\\]", "")
