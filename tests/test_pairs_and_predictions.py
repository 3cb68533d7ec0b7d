"""Results compared task by task; what a run answers to every row; scores that are no mean over rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmark.analysis.pairing import pair
from benchmark.analysis.predictions import Predictions, save_predictions
from benchmark.cli import app
from benchmark.errors import UserError
from benchmark.results import read, write
from tests.factories import result, save, with_rows


def test_tasks_are_compared_over_runs_of_equal_order_seed_and_data() -> None:
    first = [with_rows(result("alpha", seed, last=last)) for seed, last in ((0, 0.6), (1, 0.8), (7, 0.1))]
    second = [with_rows(result("beta", seed, last=last)) for seed, last in ((1, 0.5), (0, 0.5))]
    found = pair(first, second, ("alpha", "beta"))
    # Seeds 0 and 1 have a partner: task 1 is (0.6 + 0.8) / 2 = 0.7 against 0.5.
    assert found.runs == 2
    assert [task.task for task in found.tasks] == ["apples", "pears", "plums", "mean of tasks"]
    apples, _, plums, whole = found.tasks
    assert (apples.first, apples.second) == (pytest.approx(0.7), pytest.approx(0.5))
    assert plums.difference == pytest.approx(0.0)
    # (0.2 + 0.2 + 0) / 3
    assert whole.difference == pytest.approx(0.4 / 3)
    assert apples.interval is not None and apples.interval[0] < 0.2 < apples.interval[1]
    # Two differences of one sign: the exact two-sided p is 2 / 2^2.
    assert found.p == pytest.approx(0.5)


def test_equal_rows_leave_no_doubt_and_rows_not_kept_no_interval() -> None:
    one = with_rows(result("alpha"))
    same = pair([one], [with_rows(result("beta"))], ("alpha", "beta"))
    assert all(task.interval == (0.0, 0.0) for task in same.tasks) and same.p is None
    bare = pair([result("alpha")], [result("beta", last=0.5)], ("alpha", "beta"))
    assert all(task.interval is None for task in bare.tasks)


@pytest.mark.parametrize(
    ("other", "words"), [({"seed": 1}, "equal order, seed and data"), ({"stream": "meadow"}, "one stream")]
)
def test_what_is_no_pair_is_refused(other: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        pair([result("alpha")], [result("beta", **other)], ("alpha", "beta"))  # type: ignore[arg-type]


def test_the_command_compares_two_files_and_writes_every_form(tmp_path: Path) -> None:
    alpha, beta = save(tmp_path, result("alpha", last=0.6), result("beta", last=0.4))
    done = CliRunner().invoke(app, ["compare", str(alpha), str(beta)])
    assert done.exit_code == 0, done.stderr
    names = [read(path).method for path in (alpha, beta)]
    sign = "+20.0" if names == ["alpha", "beta"] else "-20.0"
    assert done.stdout.count(sign) == 2 and "1 pair of runs" in done.stdout
    text = CliRunner().invoke(app, ["analyse", "compare", str(alpha), str(beta), "--format", "latex"]).stdout
    assert r"\toprule" in text and sign in text
    wrong = CliRunner().invoke(app, ["compare", str(tmp_path), str(beta)])
    assert wrong.exit_code == 2 and "give those of one method" in wrong.stderr


def test_balanced_accuracy_and_macro_f1_by_hand() -> None:
    # Ten rows of one task: 8 of "a", all right; 2 of "b", one called "a" and one by another task's class.
    reference = ["a"] * 8 + ["b"] * 2
    prediction = ["a"] * 9 + ["z"]
    rows = pd.DataFrame({"task": "t", "reference": reference, "prediction": prediction})
    (found,) = Predictions(rows, {"t": ("a", "b")}).label_scores().to_dict("records")
    assert found["accuracy"] == pytest.approx(0.8)
    assert found["balanced accuracy"] == pytest.approx((8 / 8 + 0 / 2) / 2)
    # "a": precision 8 / 9, recall 1, F1 = 16 / 17; "b": never named, F1 0.
    assert found["macro F1"] == pytest.approx(16 / 17 / 2)
    assert Predictions(rows, {"t": ()}).text() == ""


@pytest.mark.slow
def test_a_run_writes_its_predictions_from_which_its_scores_follow(tmp_path: Path) -> None:
    small = ["--set", "epochs=1", "--set", "tasks=2", "--save-predictions", "--json"]
    flags = ["run", "--method", "seq-lora", "--stream", "toy", "--out", str(tmp_path), *small]
    done = CliRunner().invoke(app, flags)
    assert done.exit_code == 0, done.stderr
    (path,) = tmp_path.rglob("*.json")
    (file,) = tmp_path.rglob("*.predictions.parquet")
    assert file.name == f"{path.stem}.predictions.parquet"
    rows, run = pd.read_parquet(file), read(path)
    assert list(rows.columns) == ["task", "id", "prediction", "reference", "score"]
    means = rows.groupby("task", sort=False)["score"].mean()
    assert [task.name for task in run.tasks] == list(means.index)
    assert np.allclose(means, run.matrix[-1])
    assert ((rows["prediction"] == rows["reference"]) == (rows["score"] == 1)).all()
    scored = CliRunner().invoke(app, ["score", str(path), "--save-predictions"])
    assert scored.exit_code == 0 and "macro F1" in scored.stdout and str(file) in scored.stdout
    before = file.read_bytes()
    other = {"data_fingerprint": "f00d" * 16}
    write(run.model_copy(update={"provenance": run.provenance.model_copy(update=other)}), path)
    with pytest.raises(UserError, match="the data here are not those of"):
        save_predictions(path, None)
    assert file.read_bytes() == before
