"""Boards of thousands of results: what they say, and that they are written in seconds."""

from __future__ import annotations

import resource

import pytest

from benchmark.scoring import statistics
from benchmark.scoring.statistics import compare
from tests.command import bench
from tests.factories import many


def child_seconds() -> float:
    """Return the CPU seconds of the processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.slow
def test_the_boards_of_five_thousand_results_take_seconds_and_not_minutes(tmp_path):
    assert many(tmp_path) == 5000
    before = child_seconds()
    shown = bench("leaderboard", "--root", tmp_path, "--out", tmp_path)
    assert shown.returncode == 0, shown.stderr
    # The aim is 10 on a free core; on cores that are shared CPU time alone can be twice that and more.
    assert child_seconds() - before < 40
    overview = (tmp_path / "README.md").read_text()
    # 25 methods, 2 of them reference rows, by 5 orders and 5 seeds, on each of 8 streams
    assert overview.count(" 23 |    625 | method-00, method-01 |") == 8


def test_a_pair_is_resampled_once_and_only_where_its_signs_differ(monkeypatch):
    drawn: list[tuple[float, ...]] = []
    exact = statistics.bootstrap_interval

    def counted(differences):
        drawn.append(tuple(differences))
        return exact(differences)

    monkeypatch.setattr(statistics, "bootstrap_interval", counted)
    # Student's interval of 3, 3, 4 leaves out 0 (3.33 +- 1.43), and no resample can have another sign.
    assert compare(dict(enumerate([3.0, 3.0, 4.0])), dict.fromkeys(range(3), 0.0)).distinguishable
    assert not drawn
    # Mean 2.9 over ten, deviation 1.45, so 2.9 +- 1.04: one negative of ten needs the resamples.
    mixed = dict(enumerate([3.0, 3.0, 4.0, 3.0, 4.0, 3.0, 3.0, 4.0, 3.0, -1.0]))
    for _ in range(3):
        assert compare(mixed, dict.fromkeys(range(10), 0.0)).distinguishable
    assert len(drawn) == 1
