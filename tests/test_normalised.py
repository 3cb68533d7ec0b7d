"""Normalised scores: which boards count, and what a mean over them says."""

from benchmark.publishing import leaderboard
from tests.factories import keyed, provenance, reference_rows, result, save, tuned
from tests.test_leaderboard import records

COLUMN = "[orchard](orchard.md) ↑"


def front(root, *results):
    save(root, *results)
    leaderboard.build(root, root)
    return (root / "README.md").read_text()


def floors(*lasts):
    """Return tuned runs of one adapter trained on every task, with these scores."""
    ends = reference_rows()[::2]
    made = [
        result("floor", seed, last=last, reference=True, provenance=end.provenance)
        for (seed, last), end in zip(enumerate(lasts), ends, strict=True)
    ]
    return [each.model_copy(update={"parameters": ends[0].parameters}) for each in made]


def test_the_normalised_score_is_the_share_of_the_gap_that_is_closed(tmp_path):
    # AP (0.6 + 0.6 + 0.9) / 3 = 0.7; floor (0.45 + 0.45 + 0.9) / 3 = 0.6; ceiling 0.9: (0.7 - 0.6) / 0.3
    text = front(tmp_path, *(result(seed=s) for s in range(3)), result("once", last=0.9), *reference_rows())
    rows = {row["method"]: row[COLUMN] for row in records(text, "Rehearsal-free")}
    assert rows == {"alpha (untuned)": "33 (33 to 33)", "once (untuned)": "100 (n = 1)"}
    ends = {row["method"]: row[COLUMN] for row in records(text, "References: floor and ceiling")}
    assert ends == {
        "floor": "0 (0 to 0)",
        "all (rehearsal)": "100 (100 to 100)",
    }


def test_a_probe_of_all_tasks_is_no_ceiling(tmp_path):
    ends = reference_rows()
    counts = ends[1].parameters.model_copy(update={"trainable": [0, 0, 0], "adapters": [0, 0, 0]})
    probes = [keyed(end.model_copy(update={"method": "probe", "parameters": counts})) for end in ends[1::2]]
    text = front(tmp_path, *(result(seed=s) for s in range(3)), *ends, *probes)
    rows = {row["method"]: row[COLUMN] for row in records(text, "Rehearsal-free")}
    assert rows == {"alpha (untuned)": "33 (33 to 33)"}  # (0.7 - 0.6) / 0.3, as without the probe.


def test_the_interval_counts_that_the_gap_varies_with_the_share(tmp_path):
    # Floor 0.6, 0.5, 0.7, 0.6, 0.6, ceiling 0.9, alpha 0.7: of gaps 0.3, 0.4, 0.2, 0.3, 0.3 it closes 0.1,
    # 0.2, 0, 0.1, 0.1, together 0.5 / 1.5. From a third of the gap these are 0, 0.067, -0.067, 0, 0 off:
    # deviation 0.0471 over the mean gap 0.3, times t(0.975, 4) / sqrt 5 = 1.2415, makes 0.195.
    ends = [*floors(0.45, 0.30, 0.60, 0.45, 0.45), *reference_rows()[1::2]]
    text = front(tmp_path, *(result(seed=s) for s in range(5)), *ends)
    rows = {row["method"]: row[COLUMN] for row in records(text, "Rehearsal-free")}
    assert rows == {"alpha (untuned)": "33 (14 to 53)"}


def test_without_both_ends_the_overview_says_so(tmp_path):
    floors = [row for row in reference_rows() if row.method == "floor"]
    text = front(tmp_path / "a", *(result(seed=s) for s in range(3)), *floors)
    assert "no joint reference row" in text and "Normalised scores" not in text
    twins = [keyed(row.model_copy(update={"method": "other"})) for row in floors]
    assert "several sequential reference rows" in front(tmp_path / "b", *reference_rows(), *twins)


def test_a_gap_that_is_narrow_unsure_rare_or_untuned_normalises_nothing(tmp_path):
    def refused(name, ends):
        text = front(tmp_path / name, *(result(seed=s) for s in range(5)), *ends)
        assert "Normalised scores" not in text
        return text.splitlines()[-3]  # the only stream's line

    assert "share 4 runs, 5 are needed" in refused("rare", reference_rows(runs=4))
    # Floor (0.78 + 0.78 + 0.9) / 3 = 0.82 against 0.9.
    assert "the gap is 8.0 points, 10 are needed" in refused("narrow", reference_rows(floor=0.78))
    # AP 0.3 in three runs and 0.9 in two: gaps 0.6, 0.6, 0.6, 0, 0, mean 0.36, deviation 0.329, error 0.147.
    unsure = [*floors(0, 0, 0, 0.9, 0.9), *reference_rows()[1::2]]
    assert "the gap is 2.4 standard errors, 5 are needed" in refused("unsure", unsure)
    untuned = [
        keyed(end.model_copy(update={"provenance": end.provenance.model_copy(update={"tuned": None})}))
        for end in reference_rows()
    ]
    assert "not tuned here: floor, all" in refused("untuned", untuned)


def test_a_mean_over_boards_has_a_median_and_says_what_one_board_decides(tmp_path):
    # Three streams with AP 0.7 (a third of the gap), 0.6 (nothing) and 0.9 (all of it).
    results = []
    for stream, last in {"apples": 0.6, "pears": 0.45, "plums": 0.9}.items():
        results += [result(seed=s, last=last, stream=stream) for s in range(5)]
        results += [result("hasty", seed=s, last=last, stream=stream) for s in range(4)]
        results += reference_rows(stream=stream)
    rows = {row["method"]: row for row in records(front(tmp_path, *results), "Rehearsal-free")}
    # (33.3 + 0 + 100) / 3; the middle one; without plums 16.7, without pears 66.7
    assert (rows["alpha (untuned)"]["mean ↑"], rows["alpha (untuned)"]["median ↑"]) == ("44", "33")
    assert rows["alpha (untuned)"]["without one board"] == "17 to 67"
    # Four runs show their share of each board, and no mean.
    assert (
        rows["hasty (untuned)"]["[plums](plums.md) ↑"].startswith("100")
        and rows["hasty (untuned)"]["mean ↑"] == ""
    )


def test_searches_of_other_lengths_make_one_row_over_boards(tmp_path):
    # A third of the gap on one board, nothing on the other: (33.3 + 0) / 2.
    results = []
    for stream, last, trials in (("apples", 0.6, 8), ("pears", 0.45, 9)):
        searched = provenance(tuned=tuned(trials))
        results += [result(seed=s, last=last, stream=stream, provenance=searched) for s in range(5)]
        results += reference_rows(stream=stream)
    rows = {row["method"]: row["mean ↑"] for row in records(front(tmp_path, *results), "Rehearsal-free")}
    assert rows == {"alpha": "17"}
