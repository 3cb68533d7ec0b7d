"""Scoring again: the stored row comes back from the adapters alone, and from no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmark.analysis.rescoring import rescore
from benchmark.results import read
from benchmark.running.checkpoint import pack, read_state
from tests import tiny
from tests.command import invoke
from tests.factories import stream_file

SMALL = ["stream.tasks=3", "stream.train_rows=16", "stream.test_rows=8", "epochs=5"]


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The result of a small run."""
    settings = [part for text in SMALL for part in ("--set", text)]
    done = invoke("run", "--method", "litelora", "--stream", "toy", *settings, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    (path,) = tmp_path.rglob("*.json")
    return path


def test_the_adapters_give_the_stored_row(finished: Path) -> None:
    done = invoke("score", finished)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    shown = [f"{100 * score:.2f}" for score in read(finished).matrix[-1] if score is not None]
    assert [line.split()[-2:] for line in lines[2:5]] == [[score, score] for score in shown]
    assert lines[-1] == "every score is as stored"
    # The value that the run had is no change.
    assert invoke("score", finished, "--set", "protocol.decoding=greedy").stdout == done.stdout
    assert [path.suffix for path in finished.parent.iterdir() if path.is_file()].count(".scores") == 0


def test_other_adapters_do_not(finished: Path) -> None:
    adapters = finished.with_suffix(".safetensors")
    key = read(finished).key
    learned = read_state(adapters, key)
    state = {name: -tensor if tensor.is_floating_point() else tensor for name, tensor in learned.items()}
    adapters.write_bytes(pack(state, key))
    done = invoke("score", finished)
    assert done.exit_code == 1
    assert done.stdout.splitlines()[-1] == "the stored scores are not reproduced"


def test_other_data_is_refused(finished: Path) -> None:
    data = json.loads(finished.read_bytes())
    data["provenance"]["data_fingerprint"] = "f00d" * 16
    finished.write_text(json.dumps(data), encoding="utf-8")
    done = invoke("score", finished)
    assert done.exit_code == 2
    assert "is not what" in done.stderr and "f00df00d" in done.stderr and done.stderr.count("\n") == 1


def test_other_rows_are_scored_where_they_are_asked_for(finished: Path, tmp_path: Path) -> None:
    done = invoke("score", finished, "--set", "test_limit=2", "--out", "two")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "scored with test_limit=2: no proof of the stored scores"
    found = json.loads(finished.with_name(f"{finished.stem}.two.scores").read_bytes())
    # Of two rows none, one or both are right.
    assert all(score in (0, 0.5, 1) for score in found["scores"])
    assert found["mean"] == pytest.approx(sum(found["scores"]) / 3)
    assert found["settings"] == {"test_limit": 2} and not found["other_data"]
    assert found["key"] == read(finished).key
    held = invoke("score", finished, "--set", "score_on=validation")
    assert held.exit_code == 0 and "score_on=validation" in held.stdout


def test_a_folder_of_other_data_is_scored_and_named(finished: Path, tmp_path: Path) -> None:
    data = json.loads(finished.read_bytes())
    data["provenance"]["data_fingerprint"] = "f00d" * 16
    finished.write_text(json.dumps(data), encoding="utf-8")
    done = invoke("score", finished, "--data-dir", tmp_path)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "scored with other data: no proof of the stored scores"


def test_other_tasks_are_refused(finished: Path, tmp_path: Path) -> None:
    data = json.loads(finished.read_bytes())
    data["tasks"][1]["name"] = "pears"
    finished.write_text(json.dumps(data), encoding="utf-8")
    done = invoke("score", finished)
    assert done.exit_code == 2
    assert "no task 'pears' in its place" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("protocol.epochs=2", "unknown setting of scoring 'epochs'"),
        ("normalizer=words", "did you mean 'normaliser'"),
        ("decoding=beam", "got 'beam'"),
        ("decoding", "form key=value"),
        ("head=nearest-class-mean", "cannot be scored with head nearest-class-mean"),
    ],
)
def test_what_made_the_model_cannot_be_changed(finished: Path, setting: str, words: str) -> None:
    done = invoke("score", finished, "--set", setting)
    assert done.exit_code == 2
    assert words in done.stderr and done.stderr.count("\n") == 1


def test_where_all_classes_compete_the_scores_are_those_of_a_run_where_they_did(
    finished: Path, tmp_path: Path
) -> None:
    # Under a local loss the head has no part in training, so the adapters of both runs are the same.
    settings = [part for text in (*SMALL, "head=class-incremental") for part in ("--set", text)]
    together = tmp_path / "together"
    done = invoke("run", "--method", "litelora", "--stream", "toy", *settings, "--out", together)
    assert done.exit_code == 0, done.stderr
    (known,) = together.rglob("*.json")
    found = rescore(finished, None, ["head=class-incremental"])
    assert found.found.scores == read(known).matrix[-1]
    assert found.found.scores != found.stored and found.conditions == "head=class-incremental"


def test_a_loss_over_all_classes_binds_the_model_to_its_head(tmp_path: Path) -> None:
    settings = [part for text in (*SMALL, "loss=full") for part in ("--set", text)]
    done = invoke("run", "--method", "seq-lora", "--stream", "toy", *settings, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    (path,) = tmp_path.rglob("*.json")
    done = invoke("score", path, "--set", "head=class-incremental")
    assert done.exit_code == 2
    assert "and a full loss cannot be scored" in done.stderr and done.stderr.count("\n") == 1


def test_a_name_stays_beside_the_result(finished: Path) -> None:
    done = invoke("score", finished, "--out", "../elsewhere")
    assert done.exit_code == 2 and "cannot be part of a file's name" in done.stderr


def test_another_decoding_gives_what_a_run_with_it_has(tmp_path: Path) -> None:
    # Decoding has no part in training, so the adapters of both runs are the same.
    colours = {"round": "red", "flat": "green", "long": "black", "thin": "light brown"}
    rows = [
        f"{task},{split},the thing is {filler}{shape},{colours[shape]}"
        for task, shapes in (("one", ("round", "flat")), ("two", ("long", "thin")))
        for split in ("train", "test")
        for shape in shapes
        for filler in ("", "very ", "not ", "a ")
    ]
    table, stream = tmp_path / "things.csv", tmp_path / "things.toml"
    table.write_text("\n".join(["task,split,text,label", *rows]), encoding="utf-8")
    stream.write_text(stream_file("minilm"), encoding="utf-8")
    for decoding in ("greedy", "labels"):
        flags = [
            "--backbone",
            tiny.folder("seq2seq"),
            "--set",
            f"decoding={decoding}",
            "--out",
            tmp_path / decoding,
        ]
        assert invoke("run", "--method", "seq-lora", "--stream", stream, *flags).exit_code == 0
    (greedy,), (labels,) = ((tmp_path / name).rglob("*.json") for name in ("greedy", "labels"))
    rows_together = [read(path).matrix[-1] for path in (greedy, labels)]
    assert rows_together[0] != rows_together[1], "the decodings must differ for this test to show anything"
    found = rescore(greedy, None, ["protocol.decoding=labels"], stream)
    assert found.found.scores == rows_together[1] and found.conditions == "decoding=labels"
    assert not found.reproduced
    assert rescore(greedy, None, (), stream).reproduced
    # Letters in upper case are other strings to `exact` and the same to `words`; here all are in lower case.
    assert rescore(labels, None, ["normaliser=exact"], stream).found.scores == rows_together[1]


@pytest.mark.parametrize(("block", "name"), [("parameters", "test_rows"), ("hyperparameters", "sparsity")])
def test_settings_that_no_run_has_are_refused_in_one_line(finished: Path, block: str, name: str) -> None:
    data = json.loads(finished.read_bytes())
    data["config"][block][name] = [[]]
    finished.write_text(json.dumps(data), encoding="utf-8")
    done = invoke("score", finished)
    assert done.exit_code == 2 and name in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
