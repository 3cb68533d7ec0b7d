"""Leaderboards and terminal tables, by what they must and must not say."""

import json
import re

import pytest

from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.publishing import leaderboard
from benchmark.publishing.collect import load, sections
from benchmark.publishing.terminal import result_table, show
from tests.factories import counts, keyed, matrix, provenance, result, save

TOLD = {"task_id": True, "rehearsal": False, "stored_statistics": False}
OLD = {"task_id": False, "rehearsal": True, "stored_statistics": False}


def built(root, *results):
    save(root, *results)
    page, _ = leaderboard.build(root, root)
    return page.read_text()


def records(text, title):
    """Return the rows of the first table after a heading, as dicts."""
    lines = text.split(f"### {title}\n", 1)[1].strip().splitlines()
    table = [
        [c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("|")
    ]
    end = next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))
    head, _, *rows = table[:end]
    return [dict(zip(head, row, strict=True)) for row in rows]


def test_scores_are_means_with_deviation_and_worst(tmp_path):
    text = built(tmp_path, *(result(seed=s, last=last) for s, last in enumerate([0.5, 0.6, 0.7])))
    (row,) = records(text, "Methods")
    # AP of a run: (last + last + 0.9) / 3; forgetting: 0.9 - last
    assert row == {
        "method": "alpha",
        "tier": "",
        "AP ↑": "70.0 ± 6.7",
        "AAA ↑": "78.3 ± 3.9",
        "forgetting ↓": "30.0 ± 10.0",
        "BWT ↑": "-30.0 ± 10.0",
        "AP worst": "63.3",
        "n": "3",
    }
    assert "**" not in str(row)


def test_different_settings_are_never_averaged(tmp_path):
    text = built(
        tmp_path,
        result(seed=0, last=0.6, hyperparameters={"lr": 0.1, "steps": 3}),
        result(seed=1, last=0.6, hyperparameters={"lr": 0.1, "steps": 3}),
        result(seed=0, last=0.3, hyperparameters={"lr": 0.2, "steps": 3}),
        result(method="beta", seed=0),
    )
    rows = {row["method"]: row for row in records(text, "Methods")}
    assert {name: row["n"] for name, row in rows.items()} == {
        "alpha (lr=0.1)": "2",
        "alpha (lr=0.2)": "1",
        "beta": "1",
    }
    assert rows["alpha (lr=0.2)"]["AP ↑"] == "50.0"


def test_other_stream_parameters_and_protocol_settings_get_their_own_section(tmp_path):
    longer = Protocol(name="tiny", source="made up", backbone="seed", epochs=2)
    text = built(tmp_path, result(), result(parameters={"tasks": 3}), result(protocol=longer))
    titles = [line for line in text.splitlines() if line.startswith("## tiny")]
    assert len(titles) == 3 and len(set(titles)) == 3
    assert any("epochs=2" in title for title in titles) and any("tasks=3" in title for title in titles)
    assert all(row["n"] == "1" for row in records(text, "Methods"))


def test_task_identity_and_bounds_stand_apart(tmp_path):
    joint = [[None] * 3, [None] * 3, [0.9, 0.9, 0.9]]
    text = built(
        tmp_path,
        result("alpha"),
        result("told", needs=TOLD),
        result("single", needs=TOLD, reference=True),
        result("joint", reference=True, scores=joint),
    )
    assert [row["method"] for row in records(text, "Methods")] == ["alpha"]
    assert [row["method"] for row in records(text, "Methods that are given the task id at inference")] == [
        "told"
    ]
    bounds = records(text, "Reference rows")
    assert [row["method"] for row in bounds] == ["joint", "single (task id)"]
    assert "tier" not in bounds[0]
    assert bounds[0]["AP ↑"] == "90.0" and bounds[0]["forgetting ↓"] == bounds[0]["AAA ↑"] == ""
    assert len(records(text, "Costs")) == 4


def test_unlike_needs_are_never_ranked_in_one_table(tmp_path):
    nothing = {"task_id": False, "rehearsal": False, "stored_statistics": False}
    both = {"task_id": True, "rehearsal": True, "stored_statistics": False}
    text = built(
        tmp_path,
        *(
            result(m, s, last=last, needs=n)
            for s in range(3)
            for m, last, n in [
                ("free", 0.3, nothing),
                ("rich", 0.8, OLD),
                ("told", 0.7, TOLD),
                ("all", 0.9, both),
            ]
        ),
    )
    groups = {
        "Methods": ["free"],
        "Methods that rehearse old data": ["rich"],
        "Methods that are given the task id at inference": ["told"],
        "Methods that rehearse old data and are given the task id at inference": ["all"],
    }
    for title, names in groups.items():
        assert [row["method"] for row in records(text, title)] == names
    # Alone in its group, nobody has a tier.
    assert text.count("One method alone is not ranked.") == 4


def test_a_need_younger_than_a_result_does_not_split_its_row(tmp_path):
    young = {"task_id": False, "rehearsal": False, "stored_statistics": False, "test_batch": False}
    text = built(tmp_path, result(seed=0), result(seed=1, needs=young))
    assert [(row["method"], row["n"]) for row in records(text, "Methods")] == [("alpha", "2")]


def test_head_protocols_have_sections_of_their_own(tmp_path):
    told = Protocol(name="tiny", source="made up", backbone="seed", head="task-incremental")
    text = built(tmp_path, result(), result("beta", protocol=told))
    assert [line for line in text.splitlines() if line.startswith("## tiny")] == [
        "## tiny, seed, class-incremental",
        "## tiny, seed, task-incremental",
    ]


def test_rows_selected_on_test_are_marked_in_every_table(tmp_path):
    peeking = Protocol(name="tiny", source="made up", backbone="seed", selection="paper")
    ends = reference_rows(protocol=peeking)
    text = built(tmp_path, *(result(seed=s, protocol=peeking) for s in range(3)), *ends)
    front = (tmp_path / "README.md").read_text()
    rows = [line for line in (text + front).splitlines() if line.startswith("| alpha")]
    assert len(rows) == 3  # scores, costs, overview
    assert all("(selected on test)" in row for row in rows)
    assert "TEST rows" in text
    assert "selected on test)" in result_table([result(protocol=peeking)])
    assert "selected on test" not in result_table([result()])


def reference_rows(**changes):
    """Return the two ends: one adapter trained on every task (AP 60 %), and all at once (AP 90 %)."""
    ends = []
    for seed in range(3):
        single = counts()
        single.adapters = [1, 1, 1]
        floor = result("floor", seed, last=0.45, reference=True, **changes)
        ends.append(floor.model_copy(update={"parameters": single}))
        joint = [[None] * 3, [None] * 3, [0.9, 0.9, 0.9]]
        ends.append(result("ceiling", seed, scores=joint, reference=True, needs=OLD, **changes))
    return ends


def test_the_normalised_score_is_the_share_of_the_gap_that_is_closed(tmp_path):
    # AP (0.6 + 0.6 + 0.9) / 3 = 0.7; floor (0.45 + 0.45 + 0.9) / 3 = 0.6; ceiling 0.9: (0.7 - 0.6) / 0.3
    built(tmp_path, *(result(seed=s) for s in range(3)), result("once", last=0.9), *reference_rows())
    front = (tmp_path / "README.md").read_text()
    rows = {row["method"]: row["[orchard](orchard.md) ↑"] for row in records(front, "Methods")}
    assert rows == {"alpha": "33 (33 to 33)", "once": "100 (n = 1)"}
    ends = {row["method"]: row["[orchard](orchard.md) ↑"] for row in records(front, "Reference rows")}
    assert ends == {"floor": "0 (0 to 0)", "ceiling (rehearsal)": "100 (100 to 100)"}
    assert "floor, ceiling" in front


def test_without_both_ends_the_overview_says_so(tmp_path):
    floors = [row for row in reference_rows() if row.method == "floor"]
    built(tmp_path / "a", *(result(seed=s) for s in range(3)), *floors)
    front = (tmp_path / "a" / "README.md").read_text()
    assert "no joint reference row" in front and "Normalised scores" not in front
    twins = [keyed(row.model_copy(update={"method": "other"})) for row in floors]
    built(tmp_path / "b", *reference_rows(), *twins)
    assert "several sequential reference rows" in (tmp_path / "b" / "README.md").read_text()


def test_methods_are_compared_over_cells_and_ranked(tmp_path):
    cells = [
        result(m, s, last=last + s / 50) for s in range(3) for m, last in [("a", 0.6), ("b", 0.5), ("c", 0.4)]
    ]
    text = built(tmp_path, *cells)
    table = text.split("#### Compared: methods\n\n")[1]
    first, second, third = [line.split("|")[1:-1] for line in table.splitlines()[2:5]]
    assert [cell.strip() for cell in first] == ["a", "1.3", "", "", "", "", ""]
    # Of 9 cells 6 differ by 0.1 and 3 (the last task) not at all: AP by 6.7, rank 2 in 6 cells and 3 ties.
    # Six equal signs: p = 2 / 2^6 = 0.031; Holm doubles the smallest of two.
    assert [cell.strip() for cell in second] == ["b", "2.0", "6.7", "6.7 to 6.7", "0.031", "0.062", "9"]
    assert [cell.strip() for cell in third][:3] == ["c", "2.7", "13.3"]
    assert "Friedman over 9 cells shared by 3 methods" in table


def test_too_few_runs_are_said_not_ranked(tmp_path):
    cells = [result(m, s, last=last) for s in range(3) for m, last in [("a", 0.6), ("b", 0.5)]]
    text = built(tmp_path, *cells, result("hasty", last=0.9))
    assert "Too few runs to rank, 3 are needed: hasty." in text
    assert "hasty" not in text.split("#### Compared: methods\n\n")[1].split("#")[0]


def test_a_result_edited_by_hand_is_refused(tmp_path):
    (path,) = save(tmp_path, result())
    path.write_text(path.read_text().replace('"average_performance": 0.7', '"average_performance": 0.9'))
    found, problems = load(tmp_path)
    assert not found and "average_performance" in problems[0] and path.name in problems[0]


def test_the_best_is_bold_only_in_a_tier_of_its_own(tmp_path):
    runs = [result(seed=s, last=0.6 + s / 10) for s in range(3)]
    clear = built(tmp_path / "a", *runs, *(result("beta", s, last=0.5 + s / 10) for s in range(3)))
    assert [(r["method"], r["tier"]) for r in records(clear, "Methods")] == [("alpha", "1"), ("beta", "2")]
    assert records(clear, "Methods")[0]["AP ↑"].startswith("**")
    assert not records(clear, "Methods")[1]["AP ↑"].startswith("**")
    shared = built(tmp_path / "b", *runs, *(result("beta", s, last=0.8 - s / 10) for s in range(3)))
    assert {row["tier"] for row in records(shared, "Methods")} == {"1"}
    assert "**7" not in shared
    few = built(tmp_path / "c", result(), result("beta", last=0.1))
    assert {row["tier"] for row in records(few, "Methods")} == {""} and "**7" not in few


def test_costs_show_what_differs_between_tasks_and_runs(tmp_path):
    first, second = counts(active=1), counts(active=2)
    first.trainable = [10, 5000, 20]
    cells = [result(seed=0), result(seed=1)]
    cells[0].parameters, cells[1].parameters = first, second
    (row,) = records(built(tmp_path, *cells), "Costs")
    assert row["active ↓"] == "1.5 / 3" and row["reduction ↑"] == "50 %"
    assert row["trainable ↓"] == "3,100"  # (5000 + 1200) / 2
    assert row["auxiliary bytes ↓"] == "2,048" and row["seconds ↓"] == "12"


def test_reduction_is_of_the_adapters_learned(tmp_path):
    """Of five adapters learned one is active: 1 - 1/5. One adapter trained on and on spares nothing."""

    def row(adapters: list[int], active: list[int], **changes: object) -> tuple[str, str]:
        made = result(**changes)
        held = {"adapters": adapters, "active_adapters": active}
        made.parameters = made.parameters.model_copy(update=held)
        (found,) = records(built(tmp_path / str(adapters + active), made), "Costs")
        return found["active ↓"], found["reduction ↑"]

    assert row([1, 3, 5], [1, 1, 1]) == ("1 / 5", "80 %")
    assert row([20, 40, 60], [20, 40, 60]) == ("60 / 60", "0 %")  # components, several a task
    assert row([1, 1, 1], [1, 1, 1]) == ("1 / 1", "")  # sequential
    assert row([0, 0, 1], [0, 0, 1]) == ("1 / 1", "")  # joint: nothing is learned before the last step
    assert row([0, 0, 0], [0, 0, 0]) == ("0 / 0", "")  # frozen, or weights changed themselves
    # Told the task, each adapter answers for its own, whatever an earlier version counted.
    needs = {"task_id": True, "rehearsal": False, "stored_statistics": False}
    assert row([1, 2, 3], [1, 1, 1], needs=needs) == ("3 / 3", "0 %")


def test_the_footer_gives_values_not_names_alone(tmp_path):
    text = built(
        tmp_path,
        result(seed=4),
        result(
            seed=4, order="back", provenance=provenance(("plums", "pears", "apples"), class_order=[2, 0, 1])
        ),
        result(seed=5, provenance=provenance(dirty=True, commit="f" * 40)),
    )
    for line in (
        "- **backbone**: example/seed at cafe",
        "- **head protocol**: class-incremental",
        "- **data**: a basket; basket r1",
        "- **seeds**: 4, 5",
        "- **order forward**: apples, pears, plums",
        "- **order back**: plums, pears, apples; classes 2 0 1",
        "- **commits**: 0123456789ab; ffffffffffff+dirty",
        "- **versions**: python 3.11, torch 2.0",
    ):
        assert line in text.splitlines()
    assert "do not edit" in text and "test rows" in text


def test_bad_files_are_named_once_after_the_good_ones_are_written(tmp_path, caplog):
    good, bad = save(tmp_path, result(seed=0), result(seed=1))
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(UserError, match=re.escape(bad.name)) as caught:
        leaderboard.build(tmp_path, tmp_path)
    assert "\n" not in str(caught.value) and good.name not in str(caught.value)
    assert str(caught.value).count(bad.name) == 1 and not caplog.records
    assert records((tmp_path / "orchard.md").read_text(), "Methods")[0]["n"] == "1"
    with pytest.raises(UserError, match=re.escape(bad.name)):
        leaderboard.check(tmp_path, tmp_path)


def test_a_second_result_of_one_cell_is_refused(tmp_path):
    first, second = result(), result(last=0.1, provenance=provenance(data_fingerprint="other rows"))
    save(tmp_path, first, second)
    found, problems = load(tmp_path)
    assert [cell.key for cell in found] == [first.key]
    assert len(problems) == 1 and "second result" in problems[0]


def test_a_result_in_the_wrong_folder_is_refused(tmp_path):
    (path,) = save(tmp_path, result())
    moved = tmp_path / "results" / "meadow" / "tiny" / path.name
    moved.parent.mkdir(parents=True)
    path.rename(moved)
    found, problems = load(tmp_path)
    assert not found and "orchard/tiny" in problems[0]


def test_no_results_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no results"):
        leaderboard.build(tmp_path, tmp_path)


def test_the_same_results_give_the_same_bytes_whatever_their_files_are_called(tmp_path):
    cells = [result(m, s, last=0.4 + s / 10) for m in ("alpha", "beta") for s in range(3)]
    assert built(tmp_path / "a", *cells) == built(tmp_path / "b", *reversed(cells))


def test_check_sees_a_missing_and_an_edited_page(tmp_path):
    save(tmp_path, result())
    page = tmp_path / "orchard.md"
    front = tmp_path / "README.md"
    assert leaderboard.check(tmp_path, tmp_path) == [str(page), str(front)]
    leaderboard.build(tmp_path, tmp_path)
    assert leaderboard.check(tmp_path, tmp_path) == []
    page.write_text(page.read_text().replace("70.0", "99.9"))
    assert leaderboard.check(tmp_path, tmp_path) == [str(page)]


def test_names_cannot_break_a_table(tmp_path):
    text = built(tmp_path, result(backbone="a|b\nc"), result(hyperparameters={"x": "p|q"}, backbone="a|b\nc"))
    assert [row["n"] for row in records(text, "Methods")] == ["1", "1"]
    assert r"a\|b c" in text


def test_sections_do_not_depend_on_the_order_of_results():
    cells = [result(m, s) for m in ("beta", "alpha") for s in (1, 0)]
    assert sections(cells) == sections(cells[::-1])


def test_the_terminal_table_has_tasks_by_name_or_by_position():
    text = result_table([result(seed=0, last=0.5), result(seed=1, last=0.7), result("beta", last=0.2)])
    rows = {line.split("  ")[0]: line.split()[1:] for line in text.splitlines()}
    assert rows["apples"] == ["60.0", "±", "14.1", "20.0"]
    assert rows["plums"] == ["90.0", "±", "0.0", "90.0"]
    assert rows["runs"] == ["2", "1"]
    backwards = result(order="back", provenance=provenance(("plums", "pears", "apples")))
    mixed = result_table([result(), backwards])
    assert "task 1" in mixed and "apples" not in mixed


def test_the_terminal_table_stays_narrow():
    names = tuple(f"a rather long name of a task number {i}" for i in range(3))
    cells = [result(f"method-number-{i}", s, names=names) for i in range(12) for s in range(2)]
    text = result_table(cells)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert all(f"method-number-{i}" in text for i in range(12))


def test_show_tells_everything_and_bends_for_a_null_row():
    cell = result(scores=[[None] * 3, [None] * 3, matrix(0.6)[2]], report=[{}, {"gate": {"kept": False}}, {}])
    text = show(cell)
    for piece in (
        "alpha on orchard",
        "60.0",
        "best earlier row",
        "gate.kept=false",
        "hyperparameters.lr",
        "cafe",
    ):
        assert piece in text
    for name in json.loads(cell.model_dump_json())["parameters"]:
        assert name in text
