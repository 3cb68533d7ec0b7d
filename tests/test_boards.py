"""One table: the runs all rows stand on, twins, what could be best, and what its caption says."""

import pytest

from benchmark.publishing import leaderboard, site
from benchmark.publishing.board import boards
from benchmark.publishing.collect import Row, sections
from benchmark.results import CLASS_MEANS, TASK_INCREMENTAL, TRAINED_HEAD
from benchmark.scoring.statistics_rows import number_rows
from tests.factories import matrix, provenance, readings, result, save, with_rows
from tests.test_leaderboard import records


def built(root, *results):
    save(root, *results)
    return leaderboard.build(root, root)[0].read_text()


def several(method, *lasts, **changes):
    return [result(method, seed, last=last, **changes) for seed, last in enumerate(lasts)]


def one_board(*results):
    (section,) = sections(results)
    (board,) = boards(section.rows)
    return board


def test_rows_stand_by_score_and_all_that_could_be_best_are_marked(tmp_path):
    text = built(
        tmp_path,
        *several("worst", 0.20, 0.22, 0.18),
        *several("good", 0.60, 0.62, 0.61),
        *several("best", 0.62, 0.60, 0.61),
    )
    found = [(row["method"], row["could be best"]) for row in records(text, "Rehearsal-free")]
    # best and good have one mean and stand by name; worst is 0.27 of AP behind with residuals of 0.01.
    assert found == [("best", "yes"), ("good", "yes"), ("worst", "")]
    assert "**" not in text.split("### Costs")[0].split("### Rehearsal-free")[1]


def test_all_rows_are_judged_by_one_noise():
    """Rows of one mean are marked alike; one by one, the steady one alone would be below the best."""
    board = one_board(
        *several("best", 0.60, 0.61, 0.59, 0.60),
        *several("noisy", 0.10, 0.68, 0.20, 0.60),
        *several("steady", 0.40, 0.41, 0.39, 0.40),
    )
    assert [row.label for row in board.rows] == ["best", "steady", "noisy"]
    # Residuals of noisy alone make s = 0.14 (of AP); q(0.95; 3, 6) = 4.34: 4.34 * 0.14 / sqrt 4 = 0.29.
    assert board.best == {"best", "noisy", "steady"}


def test_the_best_is_bold_only_where_no_other_row_could_be_best(tmp_path):
    runs = several("alpha", 0.60, 0.70, 0.80)
    clear = built(tmp_path / "a", *runs, *several("beta", 0.50, 0.61, 0.69))
    first, second = records(clear, "Rehearsal-free")
    assert (first["could be best"], first["AP ↑"]) == ("yes", "**76.7 ± 6.7**")
    assert (second["could be best"], second["AP ↑"]) == ("", "70.0 ± 6.4")
    shared = built(tmp_path / "b", *runs, *several("beta", 0.80, 0.70, 0.60))
    assert "**7" not in shared
    few = built(tmp_path / "c", result(), result("beta", last=0.1))
    assert {row["could be best"] for row in records(few, "Rehearsal-free")} == {""} and "**7" not in few
    assert "Too few runs to say which could be best: 3 are needed." in few


def test_rows_of_fewer_runs_are_listed_apart(tmp_path):
    runs = [*several("a", 0.6, 0.5, 0.7), *several("b", 0.5, 0.4, 0.6), *several("hasty", 0.9, 0.9)]
    text = built(tmp_path, *runs)
    assert [row["method"] for row in records(text, "Rehearsal-free")] == ["a", "b"]
    (apart,) = records(text.replace("####", "###"), "With fewer runs: rehearsal-free")
    assert apart["method"] == "hasty" and apart["n"] == "2" and "could be best" not in apart
    assert "All rows stand on the same 3 runs." in text


def test_a_row_of_more_runs_is_shown_on_those_of_the_table(tmp_path):
    long = several("long", 0.5, 0.5, 0.5, 0.0, 0.0)
    text = built(tmp_path, *long, *several("b", 0.4, 0.4, 0.4), *several("c", 0.3, 0.3, 0.3))
    rows = {row["method"]: row for row in records(text, "Rehearsal-free")}
    assert rows["long"]["n"] == "3" and rows["long"]["AP ↑"] == "**63.3 ± 0.0**"  # (0.5 + 0.5 + 0.9) / 3


def test_runs_on_other_data_are_other_runs():
    """Paired by seed and order alone, rows scored on different test rows would stand in one table."""
    other = provenance(data_fingerprint="beef")
    board = one_board(
        *several("a", 0.6, 0.5, 0.7),
        *several("b", 0.5, 0.4, 0.6),
        *several("c", 0.9, 0.9, 0.9, provenance=other),
    )
    assert [row.label for row in board.rows] == ["a", "b"]
    assert [row.label for row in board.apart] == ["c"]


def test_twins_are_one_row_and_are_named(tmp_path):
    text = built(
        tmp_path,
        *several("keep-first", 0.6, 0.5, 0.7),
        *several("keep-last", 0.6, 0.5, 0.7),
        *several("other", 0.6, 0.5, 0.71),
    )
    assert [row["method"] for row in records(text, "Rehearsal-free")] == ["other", "keep-first = keep-last"]
    assert "Equal in every score of every shared run, and hence one row: keep-first = keep-last." in text
    assert len(records(text, "Costs")) == 3  # what they cost may differ


def test_rows_of_equal_last_scores_are_no_twins():
    """AP is equal, what was scored on the way is not."""
    forgetful = [[0.9, None, None], [0.2, 0.9, None], [0.6, 0.6, 0.9]]
    board = one_board(
        *several("a", 0.6, 0.6, 0.6), *(result("b", seed, scores=forgetful) for seed in range(3))
    )
    assert [row.label for row in board.rows] == ["a", "b"] and not board.twins


def test_the_caption_states_runs_power_and_how_ranks_repeat(tmp_path):
    # AP of a run is (2 last + 0.9) / 3, so residuals are 2/3 of those of `last`: +-0.005 in the four runs of
    # two runs, none in the third, with (2 - 1)(3 - 1) = 2 degrees of freedom: s^2 = 4 (2/3 * 0.005)^2 / 2.
    text = built(tmp_path, *several("a", 0.61, 0.60, 0.59), *several("b", 0.50, 0.50, 0.50))
    noise = 2 / 3 * 0.005 * (4 / 2) ** 0.5
    from scipy.stats import t

    from benchmark.scoring.statistics_best import visible_ratio

    # Of two rows Tukey's difference is Student's: t(0.975, 2) s sqrt(2 / 3).
    marked = 100 * noise * t.ppf(0.975, 2) * (2 / 3) ** 0.5
    assert f"Rows more than {marked:.1f} points of AP below the highest are not marked" in text
    seen = 100 * noise * visible_ratio(2, 3)
    assert f"of rows truly {seen:.1f} points worse than the best, 80 % are found so" in text
    three = [*several("a", 0.6, 0.7, 0.8), *several("b", 0.5, 0.6, 0.7), *several("c", 0.4, 0.5, 0.6)]
    assert "Ranks in two halves of the runs correlate with 1.00." in built(tmp_path / "b", *three)


def test_rows_are_compared_over_runs_and_never_over_tasks_of_one_run(tmp_path):
    methods = {"a": 0.6, "b": 0.5, "c": 0.4}
    runs = [result(m, s, last=last + s / 50) for s in range(6) for m, last in methods.items()]
    text = built(tmp_path, *runs)
    table = text.split("#### Compared: rehearsal-free\n\n")[1]
    first, second, third = [
        [run.strip() for run in line.split("|")[1:-1]] for line in table.splitlines()[2:5]
    ]
    # AP differs by 2/3 of 0.1 in each of six runs, without noise: the least p of six runs is 2 / 2^6.
    assert first == ["a", "1.0", "", "", "", ""]
    assert second == ["b", "2.0", "6.7", "6.7 to 6.7", "0.031", "0.062"]
    assert third[:3] == ["c", "3.0", "13.3"]
    assert "Friedman over 6 runs of 3 rows" in table
    # Of five runs p is 2 / 2^5 at the least, which can show nothing at 5 %.
    fewer = built(tmp_path / "five", *(run for run in runs if run.seed < 5))
    assert "signed-rank p |" not in fewer and "95 % interval |" in fewer


def test_rows_that_could_be_best_are_counted_by_other_readings_too(tmp_path):
    """By the trained head a leads; by class means b does, and c does not differ from it."""
    runs = []
    for name, head, means in (("a", 0.8, 0.3), ("b", 0.5, 0.7), ("c", 0.4, 0.69)):
        for seed in range(3):
            noise = 0.03 * ((seed + ord(name)) % 3 - 1)
            own = readings(matrix(means + noise))[TRAINED_HEAD]
            both = readings(matrix(head + noise)) | {CLASS_MEANS: own}
            runs.append(result(name, seed, last=head + noise, readings=both))
    board = one_board(*runs)
    assert [row.label for row in board.rows] == ["a", "b", "c"] and board.winner == "a"
    assert board.could_be_best_by(CLASS_MEANS) == 2 and board.could_be_best_by(TASK_INCREMENTAL) is None
    assert "Rehearsal-free: by class means 2 of 3 rows could be best." in built(tmp_path, *runs)


def test_what_a_method_needs_keeps_two_rows_of_one_name_apart():
    """A version of a method that keeps old data is another method, though its settings are the same."""
    keeps = {"task_id": False, "rehearsal": True, "stored_statistics": False}
    (section,) = sections([*several("alpha", 0.6, 0.6), *several("alpha", 0.8, 0.8, needs=keeps)])
    assert sorted((row.needs, len(row.results)) for row in section.rows) == [((), 2), (("rehearsal",), 2)]


def test_adapters_counted_by_another_definition_stand_in_another_section():
    found = sections([result("a", 0), result("b", 1, accounting_version=3)])
    assert [len(section.rows) for section in found] == [1, 1]
    assert "accounting=2" in found[0].title and "accounting=3" in found[1].title


def test_a_row_without_the_leading_score_stands_apart():
    holed = [[0.9, None, None], [0.5, 0.9, None], [None, 0.5, 0.9]]
    board = one_board(*several("a", 0.6, 0.5), result("b", scores=holed))
    assert [row.label for row in board.apart] == ["b"]


@pytest.mark.parametrize("runs", [0, 1])
def test_no_row_or_one_alone_is_not_compared(runs):
    board = boards([Row("a", (result(),))] * runs)
    assert all(not each.compared and not each.best and each.visible is None for each in board)


def test_intervals_stand_where_the_scores_of_test_rows_were_kept(tmp_path):
    """Three runs of three tasks of 10 rows; a run of `last` 0.6 has 6 of 10 right, 9 of the last task."""
    runs = [*map(with_rows, several("a", 0.6, 0.6, 0.6)), *several("b", 0.3, 0.3, 0.3)]
    board = one_board(*runs)
    low, high = board.intervals["a"]
    # All runs are alike, so that the 30 rows alone make the noise: a third of the root of the sum of
    # 0.6 * 0.4 / 9 twice and 0.9 * 0.1 / 9, which is 0.0839, times t of 29 degrees of freedom, 2.045.
    assert high - low == pytest.approx(2 * 2.045 * 0.0839, rel=0.01) and low < 0.7 < high
    first, second = records(built(tmp_path, *runs), "Rehearsal-free")
    assert first["AP, 95 %"] == f"{100 * low:.1f} to {100 * high:.1f}" and second["AP, 95 %"] == ""


def test_a_test_row_is_known_by_its_task_and_place():
    turned = provenance(("plums", "pears", "apples"))
    (section,) = sections([result(), result(seed=1, names=("plums", "apples"), provenance=turned)])
    first, second = number_rows(section.rows[0].results)
    assert [numbers[0] for numbers in first] == [0, 10, 20]  # apples, pears, plums, of 10 rows each
    assert [numbers.tolist() for numbers in second] == [list(range(20, 30)), list(range(10))]


def test_a_task_is_known_by_its_classes_in_another_place_and_by_its_name_where_tasks_share_them():
    def numbers(*tasks):
        runs = [
            result(seed=seed).model_copy(
                update={"tasks": [result().tasks[0].model_copy(update=dict(task)) for task in own]}
            )
            for seed, own in enumerate(tasks)
        ]
        return [[int(task[0]) for task in run] for run in number_rows(runs)]

    first, second = {"classes": ["a", "b"]}, {"classes": ["c", "d"]}
    # The same two sets of classes, of 10 rows each, second first and under other names: rows 10 and 0.
    shown = [first | {"name": "1 clean"}, second | {"name": "2 edges"}]
    turned = [second | {"name": "1 clean"}, first | {"name": "2 blurred"}]
    assert numbers(shown, turned) == [[0, 10], [10, 0]]
    # Domains have all classes in common: there the name tells them apart.
    domains = [first | {"name": "photo"}, first | {"name": "sketch"}]
    assert numbers(domains, domains[::-1]) == [[0, 10], [10, 0]]


def test_readings_of_the_same_runs_stand_side_by_side(tmp_path):
    """By class means row a has 0.5, 0.5 and 0.9 in every run, 1.9 / 3 in the mean; b was not read so."""
    both = readings(matrix(0.6)) | {CLASS_MEANS: readings(matrix(0.5))[TRAINED_HEAD]}
    text = built(tmp_path, *several("a", 0.6, 0.6, 0.6, readings=both), *several("b", 0.3, 0.3, 0.3))
    first, second = records(text, "Rehearsal-free")
    assert (first["AP, class means ↑"], second["AP, class means ↑"]) == ("63.3 ± 0.0", "")
    assert "AP, task id ↑" not in first  # nobody was read so
    _, page, *_ = [path.read_text() for path in site.build(tmp_path, tmp_path / "site", pictures=False)]
    assert "AP, class means ↑" in page and 'data-value="0.6333' in page
