"""Leaderboards and terminal tables, by what they must and must not say."""

import json
import re

import pytest

from benchmark import leaderboard
from benchmark.collect import load, sections
from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.terminal import result_table, show
from tests.factories import counts, matrix, provenance, result, save

TOLD = {"task_id": True, "old_data": False, "statistics": False}


def built(root, *results):
    save(root, *results)
    (page,) = leaderboard.build(root, root)
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
        result("single", needs=TOLD, bound=True),
        result("joint", bound=True, scores=joint),
    )
    assert [row["method"] for row in records(text, "Methods")] == ["alpha"]
    assert [row["method"] for row in records(text, "Methods that are told the task at test")] == ["told"]
    bounds = records(text, "Reference rows")
    assert [row["method"] for row in bounds] == ["joint", "single (task id)"]
    assert "tier" not in bounds[0]
    assert bounds[0]["AP ↑"] == "90.0" and bounds[0]["forgetting ↓"] == bounds[0]["AAA ↑"] == ""
    assert len(records(text, "Costs")) == 4


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


def test_bad_files_are_named_after_the_good_ones_are_written(tmp_path, caplog):
    good, bad = save(tmp_path, result(seed=0), result(seed=1))
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(UserError, match=re.escape(bad.name)) as caught:
        leaderboard.build(tmp_path, tmp_path)
    assert "\n" not in str(caught.value) and good.name not in str(caught.value)
    assert bad.name in caplog.text
    assert records((tmp_path / "orchard.md").read_text(), "Methods")[0]["n"] == "1"
    with pytest.raises(UserError, match=re.escape(bad.name)):
        leaderboard.check(tmp_path, tmp_path)


def test_a_second_result_of_one_cell_is_refused(tmp_path):
    save(tmp_path, result(key="one"), result(key="two", last=0.1))
    found, problems = load(tmp_path)
    assert [cell.key for cell in found] == ["one"]
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
    assert leaderboard.check(tmp_path, tmp_path) == [str(page)]
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
