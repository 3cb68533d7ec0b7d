"""Leaderboards and terminal tables, by what they must and must not say."""

import json
import re

import pytest

from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.publishing import leaderboard
from benchmark.publishing.collect import differing, load, sections
from benchmark.publishing.terminal import result_table, show
from tests.factories import counts, matrix, provenance, reference_rows, result, save

TASK_ID = "Task-incremental (task id at inference)"
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


def every_row(text):
    """Return the rows that compete on a page of one group, those of fewer runs last."""
    apart = text.replace("#### With", "### With")
    return records(text, "Rehearsal-free") + records(apart, "With fewer runs: rehearsal-free")


def test_scores_are_means_with_deviation_and_worst(tmp_path):
    text = built(tmp_path, *(result(seed=s, last=last) for s, last in enumerate([0.5, 0.6, 0.7])))
    (row,) = records(text, "Rehearsal-free")
    # AP of a run: (last + last + 0.9) / 3; forgetting: 0.9 - last
    assert row == {
        "method": "alpha",
        "could be best": "",
        "AP ↑": "70.0 ± 6.7",
        "AIA (AAA) ↑": "78.3 ± 3.9",
        "forgetting ↓": "30.0 ± 10.0",
        "BWT ↑": "-30.0 ± 10.0",
        "learning acc. ↑": "90.0 ± 0.0",
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
        result(method="beta", seed=0, last=0.4),
        result(method="beta", seed=1, last=0.4),
    )
    rows = {row["method"]: row for row in every_row(text)}
    assert {name: row["n"] for name, row in rows.items()} == {
        "alpha (lr=0.1)": "2",
        "alpha (lr=0.2)": "1",
        "beta": "2",
    }
    assert rows["alpha (lr=0.2)"]["AP ↑"] == "50.0"


def test_other_stream_parameters_and_protocol_settings_get_their_own_section(tmp_path):
    longer = Protocol(name="tiny", source="made up", backbone="seed", epochs=2)
    text = built(tmp_path, result(), result(parameters={"tasks": 3}), result(protocol=longer))
    titles = [line for line in text.splitlines() if line.startswith("## tiny")]
    assert len(titles) == 3 and len(set(titles)) == 3
    assert any("epochs=2" in title for title in titles) and any("tasks=3" in title for title in titles)
    assert all(row["n"] == "1" for row in records(text, "Rehearsal-free"))


def test_task_identity_and_bounds_stand_apart(tmp_path):
    joint = [[None] * 3, [None] * 3, [0.9, 0.9, 0.9]]
    text = built(
        tmp_path,
        result("alpha"),
        result("told", needs=TOLD),
        result("single", needs=TOLD, reference=True),
        result("joint", reference=True, scores=joint, needs=OLD),
        result("frozen", reference=True, last=0.1),
    )
    assert [row["method"] for row in records(text, "Rehearsal-free")] == ["alpha"]
    assert [row["method"] for row in records(text, TASK_ID)] == ["told"]
    bounds = records(text, "References: floor and ceiling")
    assert [row["method"] for row in bounds] == ["joint (rehearsal)", "single (task id)", "frozen"]
    assert "could be best" not in bounds[0] and {row["reference"] for row in bounds} == {"floor", "ceiling"}
    assert bounds[0]["AP ↑"] == "90.0" and bounds[0]["forgetting ↓"] == bounds[0]["AIA (AAA) ↑"] == ""
    assert len(records(text, "Costs")) == 5


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
        "Rehearsal-free": ["free"],
        "Rehearsal-based": ["rich"],
        TASK_ID: ["told"],
        "Rehearsal-based and task-incremental (task id at inference)": ["all"],
    }
    for title, names in groups.items():
        assert [row["method"] for row in records(text, title)] == names
    assert text.count("One row alone is not compared.") == 4


def test_a_need_younger_than_a_result_does_not_split_its_row(tmp_path):
    young = {"task_id": False, "rehearsal": False, "stored_statistics": False, "test_batch": False}
    text = built(tmp_path, result(seed=0), result(seed=1, needs=young))
    assert [(row["method"], row["n"]) for row in records(text, "Rehearsal-free")] == [("alpha", "2")]


def test_head_protocols_have_sections_of_their_own(tmp_path):
    task_incremental = Protocol(name="tiny", source="made up", backbone="seed", head="task-incremental")
    text = built(tmp_path, result(), result("beta", protocol=task_incremental))
    assert [line for line in text.splitlines() if line.startswith("## tiny")] == [
        "## tiny, seed, class-incremental",
        "## tiny, seed, task-incremental",
    ]


def test_rows_selected_on_test_are_marked_in_every_table(tmp_path):
    peeking = Protocol(name="tiny", source="made up", backbone="seed", selection="paper")
    runs = [result(seed=s, protocol=peeking) for s in range(5)]
    text = built(tmp_path, *runs, *reference_rows(protocol=peeking))
    front = (tmp_path / "README.md").read_text()
    rows = [line for line in (text + front).splitlines() if line.startswith("| alpha")]
    assert len(rows) == 3  # scores, costs, overview
    assert all("(selected on test)" in row for row in rows)
    assert "TEST rows" in text
    assert "selected on test)" in result_table([result(protocol=peeking)])
    assert "selected on test" not in result_table([result()])


def test_a_result_edited_by_hand_is_refused(tmp_path):
    (path,) = save(tmp_path, result())
    path.write_text(path.read_text().replace('"average_performance": 0.7', '"average_performance": 0.9'))
    found, problems = load(tmp_path)
    assert not found and "average_performance" in problems[0] and path.name in problems[0]


def test_costs_show_what_differs_between_tasks_and_runs(tmp_path):
    first, second = counts(active=1), counts(active=2)
    first.trainable = [10, 5000, 20]
    runs = [result(seed=0), result(seed=1)]
    runs[0].parameters, runs[1].parameters = first, second
    (row,) = records(built(tmp_path, *runs), "Costs")
    assert row["active ↓"] == "1.5 / 3" and row["reduction ↑"] == "50 %"
    assert row["trainable ↓"] == "3,100"  # (5000 + 1200) / 2
    assert row["auxiliary bytes ↓"] == "2,048" and row["seconds"] == "12"


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


def test_the_footer_tells_products_of_another_type_than_the_weights(tmp_path):
    rounded = Protocol(name="tiny", source="made up", backbone="seed", precision="bf16")
    text = built(tmp_path, result(), result(seed=1, protocol=rounded))
    plain, products = sorted(re.findall(r"- \*\*devices\*\*: (.*)", text), key=len)
    assert products == f"{plain}, products in bf16"


def test_bad_files_are_named_once_after_the_good_ones_are_written(tmp_path, caplog):
    good, bad = save(tmp_path, result(seed=0), result(seed=1))
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(UserError, match=re.escape(bad.name)) as caught:
        leaderboard.build(tmp_path, tmp_path)
    assert "\n" not in str(caught.value) and good.name not in str(caught.value)
    assert str(caught.value).count(bad.name) == 1 and not caplog.records
    assert records((tmp_path / "orchard.md").read_text(), "Rehearsal-free")[0]["n"] == "1"
    with pytest.raises(UserError, match=re.escape(bad.name)):
        leaderboard.check(tmp_path, tmp_path)


def test_a_second_result_of_one_run_is_refused(tmp_path):
    first, second = result(), result(last=0.1, provenance=provenance(data_fingerprint="other rows"))
    save(tmp_path, first, second)
    found, problems = load(tmp_path)
    assert [run.key for run in found] == [first.key]
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
    runs = [result(m, s, last=0.4 + s / 10) for m in ("alpha", "beta") for s in range(3)]
    assert built(tmp_path / "a", *runs) == built(tmp_path / "b", *reversed(runs))


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
    text = built(tmp_path, result(backbone="a|b c"), result(hyperparameters={"x": "p|q"}, backbone="a|b c"))
    (row,) = records(text, "Rehearsal-free")
    assert row["method"] == r"alpha (lr=0.1, x=unset) = alpha (lr=unset, x=p\|q)"
    assert r"a\|b c" in text


def test_settings_that_differ_are_named_by_the_alphabet():
    names = [f"z.{letter}" for letter in "gcaebfd"]
    own, other = dict.fromkeys(names, "1"), dict.fromkeys(names, "2")
    assert differing(own, [own, other]) == "a=1, b=1, c=1, d=1, e=1, f=1, g=1"


def test_sections_do_not_depend_on_the_order_of_results():
    runs = [result(m, s) for m in ("beta", "alpha") for s in (1, 0)]
    assert sections(runs) == sections(runs[::-1])


def test_the_terminal_table_has_tasks_by_name_or_by_position():
    text = result_table([result(seed=0, last=0.5), result(seed=1, last=0.7), result("beta", last=0.2)])
    rows = {line.split("  ")[0]: line.split()[1:] for line in text.splitlines()}
    assert rows["apples"] == ["60.0", "±", "14.1", "20.0"]
    assert rows["plums"] == ["90.0", "±", "0.0", "90.0"]
    assert rows["runs"] == ["2", "1"]
    backwards = result(order="back", provenance=provenance(("plums", "pears", "apples")))
    mixed = result_table([result(), backwards])
    assert "task 1" in mixed and "apples" not in mixed


def test_the_terminal_table_says_that_it_averages_runs_of_different_code():
    def run(seed: int, code: str | None):
        return result(seed=seed, provenance=provenance(method_sha256=code))

    mixed = result_table([run(0, "a" * 64), run(1, "b" * 64), run(2, "b" * 64), run(3, None)])
    assert "note: alpha averages 1 and 2 runs of different code of the method" in mixed
    assert "note" not in result_table([run(0, "a" * 64), run(1, "a" * 64), run(2, None)])


def test_the_terminal_table_stays_narrow():
    names = tuple(f"a rather long name of a task number {i}" for i in range(3))
    runs = [result(f"method-number-{i}", s, names=names) for i in range(12) for s in range(2)]
    text = result_table(runs)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert all(f"method-number-{i}" in text for i in range(12))


def test_show_tells_everything_and_bends_for_a_null_row():
    run = result(scores=[[None] * 3, [None] * 3, matrix(0.6)[2]], report=[{}, {"gate": {"kept": False}}, {}])
    text = show(run)
    for piece in (
        "alpha on orchard",
        "60.0",
        "best earlier row",
        "gate.kept=false",
        "hyperparameters.lr",
        "cafe",
    ):
        assert piece in text
    for name in json.loads(run.model_dump_json())["parameters"]:
        assert name in text
