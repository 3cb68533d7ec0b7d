"""Heat maps of the report: tables whose cells are coloured by their value."""

from __future__ import annotations

import re

import numpy as np
import pytest

from benchmark.analysis import redundancy
from benchmark.publishing.heat_map import (
    STEPS,
    colour,
    heat_map,
    ink,
    luminance,
    overlap_maps,
    score_map,
    style,
)
from tests.factories import matrix, result


def body(text: str) -> list[list[tuple[str, str]]]:
    """Return class and text of every cell, row by row."""
    (table,) = re.findall(r"<tbody>\n(.*?)\n</tbody>", text, re.DOTALL)
    return [re.findall(r'<td(?: class="(\w+)")?>(.*?)</td>', line) for line in table.splitlines()]


def test_a_score_stands_in_its_cell_on_the_colour_of_its_level():
    text = score_map(result(scores=matrix(0.4, first=0.8)))
    # 80 % of 50 levels is level 40, 40 % is 20; a row ends with its last measured score.
    high, low = ("l40", "80"), ("l20", "40")
    assert body(text) == [[high], [low, high], [low, low, high]]
    assert "alpha on orchard" in text and '<th scope="row">3</th>' in text


def test_a_stage_that_was_not_scored_leaves_holes():
    text = score_map(result(scores=[[0.5, None, None], [None, 0.5, None], [0.5, 0.5, 0.5]]))
    assert body(text)[1] == [("", ""), ("l25", "50")]
    joint = score_map(result(scores=[[None] * 3, [None] * 3, [1.0, 0.0, 0.99]]))
    # 99 % of 50 levels is 49.5, which rounds to the even 50
    assert body(joint) == [[], [], [("l50", "100"), ("l0", "0"), ("l50", "99")]]


def test_many_tasks_have_colours_without_numbers():
    text = heat_map(np.full((13, 13), 0.5), range(13), "halves", "task", (0, 1), 2)
    assert body(text)[12] == [("l25", "")] * 13 and "<th" not in text


def test_values_beyond_the_limits_take_the_last_colour():
    text = heat_map(np.array([[-1.0, 7.0], [0.26, 1.0]]), (0, 4), "x", "task", (0, 1), 1)
    assert body(text) == [[("l0", "-1.0"), ("l50", "7.0")], [("l13", "0.3"), ("l50", "1.0")]]
    # Tasks without an adapter have no row: the second one here is task 5.
    assert '<th scope="col">5</th>' in text


def test_the_colours_grow_lighter_and_every_number_can_be_read():
    lights = [luminance(colour(level)) for level in range(STEPS + 1)]
    assert lights == sorted(lights) and len(set(lights)) == STEPS + 1
    # White on black is 1.05 / 0.05 = 21; between, the better of black and white is at least sqrt(21) = 4.58.
    assert luminance((255, 255, 255)) == pytest.approx(1.0) and luminance((0, 0, 0)) == 0.0
    for light, level in zip(lights, range(STEPS + 1), strict=True):
        other = 1.0 if ink(colour(level)) == "#fff" else 0.0
        darker, lighter = sorted((light, other))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5
    assert (
        ".l0{background:#00204d;color:#fff}" in style() and ".l50{background:#ffea46;color:#000}" in style()
    )


def test_overlaps_of_rows_and_of_columns_have_a_map_each():
    one, other = np.eye(6)[:2], np.eye(6)[1:3]
    adapters = {0: {"q": (one, one.T)}, 2: {"q": (other, one.T)}}
    maps = overlap_maps(redundancy.of_adapters(result(), adapters))
    rows, columns = (body(text) for text in maps.values())
    # One of two row directions is shared; both columns are.
    assert rows == [[("l50", "1.00"), ("l25", "0.50")], [("l25", "0.50"), ("l50", "1.00")]]
    assert columns[0][1] == ("l50", "1.00")
    assert '<th scope="row">3</th>' in next(iter(maps.values()))
    assert overlap_maps(redundancy.of_adapters(result(), {0: adapters[0]})) == {}


def test_a_name_is_escaped():
    assert "<b>" not in score_map(result("<b>"))
