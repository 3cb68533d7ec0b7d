"""How much room a stream leaves to adapters, worked by hand, and the boards that are refused without it."""

from html import escape
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.errors import UserError
from benchmark.protocol import Protocol
from benchmark.publishing import leaderboard, report, site
from benchmark.publishing.headroom import verdicts
from benchmark.scoring.headroom import chance_at_last, measure_headroom
from benchmark.space import BY_RULE, SearchRule
from tests.factories import STANDARD, counts, headroom_rows, provenance, result, save, tuned


def test_the_gap_is_over_the_best_reading_on_paired_runs() -> None:
    joint = {1: 0.70, 2: 0.74, 3: 0.72, 4: 0.1}
    frozen = {"ncm": {1: 0.60, 2: 0.60, 3: 0.60}, "frozen": {1: 0.5, 2: 0.5, 3: 0.5, 9: 1.0}}
    found = measure_headroom(joint, frozen, chance=0.1)
    assert found is not None and found.best == "ncm" and found.n == 3
    # Runs 1 to 3: differences 0.10, 0.14, 0.12; mean 0.12, deviation 0.02, error 0.02 / sqrt 3 = 0.0115.
    assert found.gap == pytest.approx(0.12)
    assert found.standard_error == pytest.approx(0.02 / 3**0.5)
    assert found.joint == pytest.approx(0.72)
    assert found.refusals == []  # 10.4 errors, 12 points, 7.2 x chance


@pytest.mark.parametrize(
    ("joint", "frozen", "chance", "words"),
    [
        ([0.64, 0.64], [0.6, 0.6], 0.1, "the gap is 4.0 points, 5 are needed"),
        # Differences 0.1 and 0.2: mean 0.15, error 0.0707 / sqrt 2 = 0.05, so 3 errors.
        ([0.7, 0.8], [0.6, 0.6], 0.1, "the gap is 3.0 standard errors, 5 are needed"),
        ([0.8, 0.8], [0.6, 0.6], 0.25, "joint is 3.2 x chance, 5 x are needed"),
        ([0.8], [0.6], 0.1, "1 paired run gives no standard error"),
    ],
)
def test_each_rule_is_reported_with_its_figure(
    joint: list[float], frozen: list[float], chance: float, words: str
) -> None:
    found = measure_headroom(dict(enumerate(joint)), {"ncm": dict(enumerate(frozen))}, chance)
    assert found is not None and len(found.refusals) == 1 and words in found.refusals[0]
    assert found.is_unsure == ("standard error" in words)


def test_a_threshold_that_is_met_exactly_is_met() -> None:
    # 0.55 - 0.5 is below 0.05 in floating point; 0.5 is 5 x 0.1.
    found = measure_headroom({1: 0.55, 2: 0.55}, {"ncm": {1: 0.5, 2: 0.5}}, 0.11)
    assert found is not None and found.refusals == []


def test_without_a_shared_run_nothing_is_measured() -> None:
    assert measure_headroom({1: 0.9}, {"ncm": {2: 0.5}}, 0.1) is None
    assert measure_headroom({1: 0.9}, {}, 0.1) is None


def test_chance_is_one_in_the_classes_that_compete() -> None:
    classes = [["a", "b"], ["b", "c", "d"]]
    assert chance_at_last(classes, all_compete=True) == 1 / 4  # a, b, c, d
    assert chance_at_last(classes, all_compete=False) == pytest.approx((1 / 2 + 1 / 3) / 2)
    # Free text cannot be guessed: its task counts 0.
    assert chance_at_last([["a", "b"], []], all_compete=True) == pytest.approx((1 / 2 + 0) / 2)


def test_a_folder_of_results_gives_the_readings_and_the_verdict(tmp_path: Path) -> None:
    save(tmp_path, *headroom_rows())
    (found,) = verdicts(tmp_path, "orchard", "seed", "standard")
    assert found.headroom is not None and not found.refusal
    assert list(found.headroom.frozen) == ["ncm", "linear-probe", "frozen"]
    assert found.headroom.gap == pytest.approx(0.3) and found.headroom.chance == pytest.approx(1 / 15)
    done = CliRunner().invoke(app, ["develop", "headroom", "orchard", "--root", str(tmp_path)])
    assert done.exit_code == 0 and "headroom: yes" in done.stdout
    with pytest.raises(UserError, match="it holds: orchard/standard"):
        verdicts(tmp_path, "meadow")


def test_a_missing_row_is_named_with_its_command(tmp_path: Path) -> None:
    tiny = Protocol(name="tiny", source="made up", backbone="seed")
    save(tmp_path, *(row for row in headroom_rows(protocol=tiny) if row.method != "linear-probe"))
    (found,) = verdicts(tmp_path, "orchard")
    place = "--stream orchard --protocol tiny --backbone seed --order forward --seed 0,1,2,3,4"
    assert found.missing == {"linear-probe": f"bench run --method linear-probe {place}"}
    done = CliRunner().invoke(app, ["headroom", "orchard", "--root", str(tmp_path)])
    assert (
        done.exit_code != 0 and f"no row linear-probe: bench run --method linear-probe {place}" in done.stdout
    )


def test_on_text_to_text_the_frozen_row_is_enough_and_free_text_has_no_chance(tmp_path: Path) -> None:
    kept = [row for row in headroom_rows() if row.method in ("joint", "frozen")]
    counts = kept[0].parameters.model_copy(update={"head": 0})
    save(tmp_path, *(row.model_copy(update={"parameters": counts}) for row in kept))
    (found,) = verdicts(tmp_path, "orchard")
    assert found.headroom is not None and list(found.headroom.frozen) == ["frozen"]
    assert found.headroom.chance == 0.0


def test_where_a_language_model_picks_labels_a_probe_of_its_features_is_asked_for(tmp_path: Path) -> None:
    picking = STANDARD.model_copy(update={"decoding": "labels-sum"})
    rows = headroom_rows(protocol=picking)
    headless = rows[0].parameters.model_copy(update={"head": 0})
    kept = {row.method: [] for row in rows}
    for row in rows:
        bare = row.method in ("joint", "frozen")
        kept[row.method].append(row.model_copy(update={"parameters": headless}) if bare else row)
    save(tmp_path, *kept["joint"], *kept["frozen"])
    (found,) = verdicts(tmp_path, "orchard")
    assert list(found.missing) == ["linear-probe"]
    save(tmp_path, *kept["linear-probe"])
    (found,) = verdicts(tmp_path, "orchard")
    assert found.headroom is not None and set(found.headroom.frozen) == {"frozen", "linear-probe"}
    assert found.headroom.chance == pytest.approx(1 / 15)  # 3 tasks of 5 labels, all of which compete


def test_where_a_prompt_lists_the_labels_chance_is_among_those_of_the_task(tmp_path: Path) -> None:
    listing = STANDARD.model_copy(update={"prompt": "olora-anonymous", "decoding": "labels"})
    save(tmp_path, *headroom_rows(protocol=listing))
    (found,) = verdicts(tmp_path, "orchard")
    # 3 tasks of 5 labels each: 1 / 5 of those that are listed, not 1 / 15 of all; joint's 0.8 is 4 x 1 / 5.
    assert found.headroom is not None and found.headroom.chance == pytest.approx(1 / 5)
    assert "joint is 4.0 x chance, 5 x are needed" in found.refusal


@pytest.mark.parametrize(("joint", "marked"), [(0.52, False), (0.8, True)])
def test_a_board_that_measured_too_little_room_marks_nothing_under_any_protocol(
    tmp_path: Path, joint: float, marked: bool
) -> None:
    rivals = [
        result(name, seed, last=last + 0.01 * (seed % noise))
        for name, last, noise in (("a", 0.2, 2), ("b", 0.6, 3))
        for seed in range(5)
    ]
    save(tmp_path, *headroom_rows(joint, protocol=None), *rivals)
    leaderboard.build(tmp_path, tmp_path)
    page = (tmp_path / "orchard.md").read_text(encoding="utf-8")
    assert ("| yes " in page) is ("b is best" in page) is marked
    # Ten runs are asked for by the standard protocols alone.
    assert "10 runs" not in page


@pytest.mark.parametrize(("head", "words"), [(60, "no trained head reaches"), (0, "no row reaches")])
def test_rows_below_what_nothing_was_trained_for_are_said_to_be(
    tmp_path: Path, head: int, words: str
) -> None:
    # (0.2 + 0.2 + 0.9) / 3 = 0.43, below the 0.5 of frozen features' class means.
    counted = counts().model_copy(update={"head": head})
    rivals = [result("a", seed, last=0.2) for seed in range(5)]
    rivals = [run.model_copy(update={"parameters": counted}) for run in rivals]
    stored = {"task_id": False, "rehearsal": False, "stored_statistics": True}
    references = [
        row.model_copy(update={"needs": stored}) if row.method == "ncm" else row
        for row in headroom_rows(protocol=None)
    ]
    save(tmp_path, *references, *rivals)
    leaderboard.build(tmp_path, tmp_path)
    page = (tmp_path / "orchard.md").read_text(encoding="utf-8")
    assert f"{words} the class means of frozen features, 50.0" in page
    # A model without a head has no balance between the tasks of one.
    assert ("heads keep their balance" in page) is (head > 0)


def test_a_standard_board_states_its_search_and_the_runs_that_it_lacks(tmp_path: Path) -> None:
    rule = SearchRule(
        rates={"sgd": (0.1, 0.3), "adamw": (0.001, 0.01)}, orders=("natural",), seeds=(7,), tasks=2
    )
    searched = STANDARD.model_copy(update={"search": rule})
    source = provenance(tuned=tuned().model_copy(update={"sampler": BY_RULE}))
    rivals = [result("a", seed, protocol=searched) for seed in range(5)]
    save(
        tmp_path,
        *(
            row.model_copy(update={"provenance": source})
            for row in [*headroom_rows(protocol=searched), *rivals]
        ),
    )
    leaderboard.build(tmp_path, tmp_path)
    page = (tmp_path / "orchard.md").read_text(encoding="utf-8")
    assert "- What 10 runs a row would show, which the rules ask for: these have 5." in page
    grid = "adamw at 0.001, 0.01; sgd at 0.1, 0.3; further rates where the best lies at an end"
    assert (
        f"- **search**: {grid}; on the first 2 tasks of order natural and seed 7, by average performance"
        in page
    )
    assert "source_length" not in page


def test_a_standard_board_without_headroom_is_refused_and_the_others_are_written(tmp_path: Path) -> None:
    other = result("alpha", stream="meadow")
    save(tmp_path, *headroom_rows(joint=0.52), other)
    with pytest.raises(UserError, match=r"orchard, standard.*the gap is 2\.0 points.*joint 52\.0.*ncm 50\.0"):
        leaderboard.build(tmp_path, tmp_path)
    assert not (tmp_path / "orchard.md").exists()
    assert "Adapters cannot be compared here: headroom not known" in (tmp_path / "meadow.md").read_text()
    done = CliRunner().invoke(app, ["leaderboard", "--root", str(tmp_path), "--out", str(tmp_path)])
    assert done.exit_code != 0 and done.stderr.count("\n") == 1


def test_the_mean_does_not_depend_on_how_runs_are_hashed() -> None:
    """A page whose figure lies on the edge of rounding was written in two ways, by the order of a set."""

    class Run(str):
        turn = 1

        def __hash__(self) -> int:
            return self.turn * int(self)

    def found(turn: int) -> tuple[float, ...]:
        Run.turn = turn
        frozen = {Run(run): score for run, score in enumerate([0.62, 0.25, 0.91, 0.98, 0.81, 0.9, 0.31])}
        measured = measure_headroom({run: score / 2 for run, score in frozen.items()}, {"ncm": frozen}, 0.1)
        assert measured is not None
        return measured.joint, measured.gap, *measured.frozen.values()

    # 7 keys in a table of 32: the order of the set turns round.
    assert found(1) == found(31)


def test_a_board_without_headroom_that_is_listed_is_shown_and_ranks_nothing(tmp_path: Path) -> None:
    save(tmp_path, *headroom_rows(joint=0.52))
    listed = (
        '[[board]]\nstream = "orchard"\nprotocol = "standard"\nwhy = "A stricter probe took its room away."\n'
    )
    (tmp_path / "measured.toml").write_text(listed, encoding="utf-8")
    leaderboard.build(tmp_path, tmp_path)
    page = (tmp_path / "orchard.md").read_text(encoding="utf-8")
    assert "No ranking of adapters follows from this board" in page and "**What it says**" not in page
    assert "the gap is 2.0 points, 5 are needed" in page and "A stricter probe took its room away." in page
    front = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "too little room to compare adapters" in front and "Normalised scores" not in front
    _, site_page, *_ = site.build(tmp_path, tmp_path / "site", pictures=False)
    assert "A stricter probe took its room away." in site_page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '[[board]]\nstream = "orchard"\nprotocol = "standard"\nwhy = "There was no room, but now is."',
            "has headroom",
        ),
        ('[[board]]\nstream = "orchard"\nprotocol = "standard"', "why"),
        ('[[boards]]\nstream = "orchard"', "boards"),
    ],
)
def test_a_list_of_boards_that_is_faulty_or_out_of_date_gets_one_line(
    tmp_path: Path, text: str, words: str
) -> None:
    save(tmp_path, *headroom_rows())
    (tmp_path / "measured.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=words):
        leaderboard.build(tmp_path, tmp_path)


def test_references_that_no_search_tuned_give_no_headroom(tmp_path: Path) -> None:
    save(tmp_path, *headroom_rows(searched=False))
    with pytest.raises(UserError, match="no row joint: bench tune --method joint"):
        leaderboard.build(tmp_path, tmp_path)


def test_a_rate_set_by_hand_is_not_ranked_on_a_standard_board(tmp_path: Path) -> None:
    by_search, by_hand, own_runs = tuned(), tuned(), tuned()
    own_runs.tuned_on = ["forward/0"]
    runs = headroom_rows()
    for seed in range(5):
        runs.append(result("alpha", seed, protocol=STANDARD, provenance=provenance(tuned=by_search)))
        runs.append(result("beta", seed, protocol=STANDARD))
        changed = {"lr": 0.5}  # the search chose 0.1
        given = provenance(tuned=by_hand)
        runs.append(
            result("gamma", seed, protocol=STANDARD, hyperparameters=changed, provenance=given, last=0.9)
        )
        # The search had looked at run 0 of the board.
        runs.append(result("delta", seed, protocol=STANDARD, provenance=provenance(tuned=own_runs)))
    save(tmp_path, *runs)
    leaderboard.build(tmp_path, tmp_path)
    text = (tmp_path / "orchard.md").read_text()
    assert "Headroom: joint 80.0" in text
    ranked = text.split("### Rehearsal-free", 1)[1].split("Not tuned here")[0]
    assert "| alpha (tuned, 8 trials) " in ranked
    assert not any(f"| {name}" in ranked for name in ("beta", "gamma", "delta"))
    line = next(line for line in text.splitlines() if line.startswith("Not tuned here, and hence not ranked"))
    assert all(name in line for name in ("beta", "gamma", "delta")) and "alpha" not in line
    report.build(tmp_path / "results", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "Headroom: joint 80.0" in page and escape(line) in page
    for words in (text, page):
        assert "Anything about 3 rows whose settings no search of this board chose" in words
