"""A study from its file to its page: what is run in which order, and what the page stands on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.errors import UserError
from benchmark.results import TRAINED_HEAD, Result
from benchmark.running.plan import plan
from benchmark.running.run import Run
from benchmark.study import page as pages
from benchmark.study.curve_plot import draw
from benchmark.study.evidence import gather
from benchmark.study.members import Members
from benchmark.study.stages import SHUFFLED, Missing, Study
from benchmark.study.study_file import PathRule, StudyFile, read_study
from tests import factories

# --- the file


def test_a_run_that_chooses_is_not_reported(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('title = "t"\nstream = "toy"\nruns = "0-4"\ntuning = "4-5"\n', encoding="utf-8")
    with pytest.raises(UserError, match="run 4 both chooses lambda and is reported"):
        read_study(str(path))


def test_the_path_is_of_reported_runs(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'title = "t"\nstream = "toy"\nruns = "0-4"\ntuning = "7"\npath = { runs = "4-5" }\n', encoding="utf-8"
    )
    with pytest.raises(UserError, match=r"path\.runs: 5 is none of the reported runs, 0-4"):
        read_study(str(path))


def test_mistakes_in_a_name_or_a_file_get_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        UserError,
        match=r"there is no study sweeps.lite-study.toml \(there are: cifar100, litelora, standard-cl, toy\)",
    ):
        read_study("lite")
    path = tmp_path / "own.toml"
    path.write_text('title = "t"\nstream = "toy"\nruns = 0\ntuning = 1\nrans = 2\n', encoding="utf-8")
    with pytest.raises(UserError, match="line 5: unknown key 'rans', did you mean 'runs'") as caught:
        read_study(str(path))
    assert "\n" not in str(caught.value)


def test_what_the_study_chooses_is_not_set_by_hand() -> None:
    file = StudyFile(title="t", stream="toy", runs="0", tuning="1", settings={"litelora": {"sparsity": 0.1}})
    with pytest.raises(UserError, match=r"settings.litelora: sparsity is the study's own to choose"):
        Study(file, Path("nowhere")).members.gate(0, 0.0)


# --- the whole


def test_a_run_has_the_order_of_its_name_and_where_there_is_none_that_of_its_place() -> None:
    """So the rows of a board, run i with order i and seed i, are members of a study of its stream."""
    _, file = read_study("litelora")
    shifts = Members(file, need_backbone=False).gate(3, 0.02)
    assert (shifts.order, shifts.seed) == ("3", 3)
    (board,) = plan("litelora", "shifts", "3", "3", None, "standard", (), need_backbone=False)
    assert shifts.identity == board.identity
    images = Members(StudyFile(title="", stream="cifar100", runs="2-5", tuning="9"), need_backbone=False)
    assert [images.gate(number, 0.02).order for number in (2, 3, 4, 5)] == ["2", "3", "own-4", "own-5"]
    _, file = read_study("toy")
    toy = Members(file).gate(0, 0.02)  # The only order is called 1.
    assert (toy.order, toy.seed) == ("1", 0)


def made_up(run: Run, kept: list[bool], score: float) -> Result:
    """Return a result of a run that kept some adapters, worth 0.1, 0.2 and 0.3, with one score throughout."""
    from benchmark.scoring.metrics import headline

    tasks = len(kept)
    scores: list[list[float | None]] = [
        [score if i <= t else None for i in range(tasks)] for t in range(tasks)
    ]
    report = [
        {
            "kept": keep,
            "gate_logit": t + 0.5,
            "worth": {"selection": {"with": 0.0, "without": t / 10, "worth": t / 10}} if t else {},
        }
        for t, keep in enumerate(kept)
    ]
    counts = factories.counts(tasks, sum(kept))
    made = factories.result(
        run.method,
        run.seed,
        run.order,
        names=tuple(f"task {t}" for t in range(tasks)),
        scores=scores,
        stream=run.stream,
        protocol=run.protocol,
        report=report,
        parameters=run.parameters,
        needs_adapter=[True, False, True, True],
    )
    config = run.config()
    return factories.keyed(
        made.model_copy(
            update={
                "config": config, "parameters": counts, "backbone": run.backbone,
                "headline": headline(scores, [10] * tasks),
            }
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[str]]:
    """Return a study that was run on made-up results: every lambda closes what is worth less than it."""
    folder = tmp_path_factory.mktemp("study")
    file = StudyFile(
        title="Made up", stream="toy", runs="0-2", tuning="7-8", shuffles=2,
        path=PathRule(values=4, least_reduction=0.25, runs="0-1"),
        set={"tasks": 4, "planes": 2},
    )  # fmt: skip
    study, names = Study(file, folder), []
    for stage in study.stages():
        names.append(stage.name)
        results = []
        for run in stage.runs:
            chosen = run.hyperparameters
            kept = [True] * 4
            if run.method == "litelora":
                kept = [True, *(worth > chosen["sparsity"] for worth in (0.1, 0.2, 0.3))]
            elif "keep" in chosen:
                kept = [t < chosen["keep"] for t in range(4)]
            elif "decisions" in chosen:
                kept = list(chosen["decisions"])
            # A point lower for every adapter dropped; others lose two more, or three in odd runs, and
            # keep-random one on top.
            lost = 0.0 if run.method == "litelora" else 0.02 + 0.01 * (run.seed % 2)
            lost += 0.01 if run.method == "keep-random" else 0.0
            score = 0.8 - 0.01 * (4 - sum(kept)) - lost
            results.append(made_up(run, kept, score))
        factories.save(folder / f"stage {len(names)}", *results)
        study.refresh()
    return study, names


def test_stages_tune_first_and_then_run_what_outcomes_need(finished: tuple[Study, list[str]]) -> None:
    study, names = finished
    assert names[:4] == [
        "tuning at lambda 0",
        "tuning on the path",
        "run 0: lambda*, 0 and sd-lora",
        "run 0: shuffled gate",
    ]
    # Two stages of each of the three runs for the outcomes, one of each for the other controls, then two of
    # each of the two runs that take the path.
    assert names[8:11] == ["run 0: controls", "run 1: controls", "run 2: controls"]
    assert names[11:13] == ["run 0: path", "run 0: keep-random"]
    assert len(names) == 2 + 2 * 3 + 3 + 2 * 2 == study.count_stages()
    # Worths 0.1, 0.1, 0.2, 0.2, 0.3, 0.3 of two tuning runs: a third of the way of five steps is 1 2/3, at
    # 0.1 + 2/3 of 0.1; two thirds are 3 1/3, at 0.2 + 1/3 of 0.1; beyond is 1.5 x 0.3.
    assert study.lambdas() == [0.0, 0.167, 0.233, 0.45]
    assert study.complete() == study.complete_controls() == [0, 1, 2]


def test_with_several_workers_as_many_runs_are_one_stage(finished: tuple[Study, list[str]]) -> None:
    apart, together = ([*finished[0].stages(each)] for each in (1, 2))
    rows, curves = ("lambda*, 0 and sd-lora", "shuffled gate"), ("path", "keep-random")
    expected = [f"{runs}: {part}" for runs in ("runs 0-1", "run 2") for part in rows]
    expected += ["runs 0-1: controls", "run 2: controls"]
    assert [stage.name for stage in together[2:]] == expected + [f"runs 0-1: {part}" for part in curves]
    assert len(together) == finished[0].count_stages(2)
    known = [{run.identity for stage in stages for run in stage.runs} for stages in (apart, together)]
    assert known[0] == known[1]


def test_evidence_stands_on_what_was_kept(finished: tuple[Study, list[str]]) -> None:
    evidence = gather(finished[0])
    # One of four adapters has to go; each costs a point, so that no more do.
    assert evidence.reduction == 0.25
    assert evidence.first.word == "confirmed" and evidence.differences("sd-lora") == pytest.approx(
        [1.0, 2.0, 1.0]
    )
    assert evidence.differences("shuffled gate") == pytest.approx([2.0, 3.0, 2.0])
    # Kept and needed are tasks 3 and 4; their logits are the largest.
    assert evidence.decisions("litelora")[0].precision == 1.0 and evidence.third[0].word == "confirmed"
    for value, (guessed, kept, alike) in evidence.predictions().items():
        assert (guessed, alike) == (kept, 1.0), f"at {value} the worths say it all"
    assert len(evidence.height_differences()) == 2 and all(h > 0 for h in evidence.height_differences())


def test_the_page_says_whether_a_choice_can_matter(finished: tuple[Study, list[str]]) -> None:
    # The oracle keeps three of four as keep-random does, which loses a point more; the other two are alike.
    evidence = gather(finished[0])
    assert evidence.differences("keep-random", of="oracle") == pytest.approx([1.0, 1.0, 1.0])
    (said,) = pages.choices(evidence)
    assert "oracle less keep-random, as many as the oracle +1.0 (+1.0 to +1.0)" in said
    assert "keep-first less keep-last +0.0" in said
    # LiteLoRA scores 80 at lambda 0, which keeps all four, and 79 at lambda*; the oracle 77, 76 and 77.
    assert "keeps 100%, LiteLoRA at lambda* scores -1.0 (-1.0 to -1.0)" in pages.beside_all(evidence)
    assert evidence.differences("litelora, lambda 0", of="oracle") == pytest.approx([-3.0, -4.0, -3.0])
    without = {name: found for name, found in evidence.rows.items() if name not in ("oracle", "keep-last")}
    assert pages.choices(SimpleNamespace(rows=without)) == []  # type: ignore[arg-type]


def test_adapters_on_the_way_are_counted_over_stages_and_permutations(
    finished: tuple[Study, list[str]],
) -> None:
    evidence = gather(finished[0])
    active = {
        "litelora": [1, 2, 2, 3],  # 3 at the end, 8 / 4 = 2 in the mean
        f"{SHUFFLED} 1": [1, 1, 2, 3],  # 7 / 4
        f"{SHUFFLED} 2": [1, 1, 1, 3],  # 6 / 4; of both 13 / 8
    }
    made = {name: [SimpleNamespace(active_adapters=counts)] for name, counts in active.items()}
    evidence.__dict__["rows"] = made
    assert evidence.count_active("litelora") == (3.0, 2.0)
    assert evidence.count_active(SHUFFLED) == (3.0, 13 / 8)
    assert "2.0 are active with LiteLoRA's and 1.6 with shuffled ones" in pages.describe_way(evidence)


def test_rules_that_can_keep_only_the_same_are_one_run(finished: tuple[Study, list[str]]) -> None:
    study, _ = finished
    found = study.at_random(0)
    # At lambda 0 all are kept and at the last one alone: no other choice keeps as many.
    assert found[0.0] == study.path(0)[0.0] and found[study.lambdas()[-1]].method == "litelora"
    assert found[study.lambdas()[1]].method == "keep-random"


def test_a_run_that_lacks_a_result_is_left_out_of_every_table(
    finished: tuple[Study, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = finished
    gone = study.members.reference(1).identity
    results = {key: result for key, result in study._results.items() if key != gone}
    monkeypatch.setattr(study, "_results", results)
    assert study.complete() == [0, 2] and study.complete_paths() == [0]
    with pytest.raises(Missing, match="there is no result of sd-lora on toy, order 1, seed 1"):
        study.result(study.members.reference(1))
    assert len(gather(study).rows["sd-lora"]) == 2


def test_outcomes_stand_on_runs_that_lack_another_control(
    finished: tuple[Study, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, _ = finished
    gone = study.controls(1)["keep-first"].identity
    results = {key: result for key, result in study._results.items() if key != gone}
    monkeypatch.setattr(study, "_results", results)
    evidence = gather(study)
    assert (evidence.runs, evidence.control_runs) == ((0, 1, 2), (0, 2))
    assert len(evidence.rows["shuffled gate 1"]) == 3 and "keep-first" not in evidence.rows
    assert len(evidence.with_controls.rows["keep-first"]) == 2
    text = pages.write(evidence, "name", "command")
    assert "LiteLoRA less the row by numbers of which no outcome is" in text
    # A run's scores are all one number, so that AP differs as AIA does.
    by_end = evidence.differences_by("sd-lora", "average_performance", TRAINED_HEAD)
    assert by_end == pytest.approx(evidence.differences("sd-lora"))
    first, second = text.split("Of runs 0, 2 alone, which have every control:")
    assert "| keep-last" in first and "| keep-first" not in first and "| keep-first" in second
    # Its page can be made again: what either table stands on is among the results.
    assert study.controls(0)["keep-first"].identity in {Run.of(each).identity for each in study.results()}
    none = replace(evidence, control_runs=())
    assert "No run has the other controls yet." in pages.write(none, "name", "command")


def write_made_up(folder: Path) -> Path:
    """Write the file of the study that `finished` ran."""
    file = folder / "made-up.toml"
    file.write_text(
        'title = "Made up"\nstream = "toy"\nruns = "0-2"\ntuning = "7-8"\nshuffles = 2\n'
        "set = { tasks = 4, planes = 2 }\npath = { values = 4, least_reduction = 0.25, runs = '0-1' }\n",
        encoding="utf-8",
    )
    return file


def test_the_page_is_made_again_from_published_results_alone(
    finished: tuple[Study, list[str]], tmp_path: Path
) -> None:
    study, _ = finished
    file = write_made_up(tmp_path)

    def page(*flags: object) -> str:
        done = CliRunner().invoke(app, ["study", str(file), "--page", *map(str, flags)])
        assert done.exit_code == 0, done.output
        return done.stdout

    page("--out", study.folder, "--publish", tmp_path / "kept")
    first = (tmp_path / "kept" / "made-up.md").read_text(encoding="utf-8")
    page("--out", tmp_path / "kept")
    assert (tmp_path / "kept" / "made-up.md").read_text(encoding="utf-8") == first
    for text in ("## Verdict", "**confirmed**", "| shuffled gate", "| oracle", "made-up.svg", "3 runs"):
        assert text in first
    assert "<svg" in (tmp_path / "kept" / "made-up.svg").read_text(encoding="utf-8")


def test_a_page_whose_paths_are_not_complete_shows_the_rows_alone(finished: tuple[Study, list[str]]) -> None:
    evidence = replace(gather(finished[0]), path_runs=())
    text = pages.write(evidence, "name", "command")
    assert "## At lambda*" in text and "## The path" not in text and "path of lambda" not in draw(evidence)


def test_the_page_says_how_the_rates_were_chosen(finished: tuple[Study, list[str]]) -> None:
    evidence = gather(finished[0])
    assert "litelora not tuned here, sd-lora not tuned here" in pages.describe_search(evidence)
    assert "outcome 1 is about these settings" in pages.describe_search(evidence)
    searched = factories.result(provenance=factories.provenance(tuned=factories.tuned(trials=9)))
    both: Any = SimpleNamespace(rows={"litelora": [searched], "sd-lora": [searched]})
    said = pages.describe_search(both)
    assert "litelora tuned, 9 trials, sd-lora tuned, 9 trials" in said and "outcome 1" not in said


def test_results_are_published_before_a_reported_run_is_complete_and_the_study_goes_on_from_them(
    finished: tuple[Study, list[str]], tmp_path: Path
) -> None:
    study, kept = finished[0], tmp_path / "kept"
    file = write_made_up(tmp_path)
    # Both stages of tuning, and of run 0 LiteLoRA and SD-LoRA, but not the shuffled gate.
    for number in (1, 2, 3):
        shutil.copytree(study.folder / f"stage {number}", tmp_path / "runs" / f"stage {number}")
    flags = ["--page", "--out", str(tmp_path / "runs"), "--publish", str(kept)]
    done = CliRunner().invoke(app, ["study", str(file), *flags])
    assert done.exit_code != 0 and "no reported run of the study is complete" in done.output
    assert [path.name for path in kept.iterdir()] == ["made-up.jsonl"]
    begun = Study(study.file, kept)
    assert begun.lambdas() == study.lambdas() and begun.find_best_lambda() == study.find_best_lambda()
    # Four lambdas on each of two runs, then lambda*, 0 and SD-LoRA.
    assert len(begun.results()) == 4 * 2 + 3 and all(begun.has(run) for run in begun.compared(0))
    assert not begun.complete() and not begun.has(begun.compared(1)[0])


def test_a_page_without_a_complete_run_gets_one_line(tmp_path: Path) -> None:
    flags = ["--page", "--out", str(tmp_path), "--publish", str(tmp_path / "kept")]
    done = CliRunner().invoke(app, ["study", "toy", *flags])
    assert done.exit_code != 0 and "no reported run of the study is complete" in done.output
    assert not (tmp_path / "kept").exists()


def test_a_dry_run_tells_the_next_stage_and_json_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["study", "toy", "--dry-run", "--out", str(tmp_path)])
    assert done.exit_code == 0 and "next, tuning at lambda 0:" in done.output and "seed 102" in done.output
    refused = CliRunner().invoke(app, ["study", "toy", "--json", "--out", str(tmp_path)])
    assert refused.exit_code != 0 and "has no --json" in refused.output
