"""Whatever is wrong with what a user gives: one line, no traceback, an exit code, finished work kept."""

from __future__ import annotations

import errno
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from benchmark.models import backbone as backbones
from benchmark.results import read
from tasks.sources import natural_instructions, text_classification
from tests import tiny
from tests.command import bench, invoke

SMALL = ["--set", "stream.tasks=3", "--set", "stream.train_rows=16", "--set", "stream.test_rows=8"]
TOY = ["run", "--method", "seq-lora", "--stream", "toy", "--set", "epochs=2", *SMALL]


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no setting of the reader's shell decide."""
    for name in ("BENCH_DEBUG", "BENCH_DATA"):
        monkeypatch.delenv(name, raising=False)


def assert_failed(done: Result, *words: str) -> None:
    """Check that one run failed, that one line says so with the given words, and that nothing was raised."""
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("failed: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.output
    assert "BENCH_DEBUG" not in done.stderr, "an error that nobody foresaw"
    for word in words:
        assert word in done.stderr


def assert_refused(done: Result, *words: str) -> None:
    """Check that the command was refused with one line that holds the given words."""
    assert done.exit_code == 2, done.output
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.output
    for word in words:
        assert word in done.stderr


def assert_usage(done: Result, words: str) -> None:
    """Check that a flag was refused, the last line saying why."""
    assert done.exit_code == 2, done.output
    assert words in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.output


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """A data folder with a few rows of each task of the standard CL benchmark."""
    folder = tmp_path / "data" / "longseq"
    folder.mkdir(parents=True)
    table = {}
    for name in text_classification.ORDERS["1"]:
        labels = list(text_classification.TASKS[name].labels)
        table[name] = {
            "group": "TC",
            "labels": labels,
            "olora_instruction": "What is it?\n",
            "sapt_definition": None,
            "sapt_labels": labels,
        }
        rows = [
            {"id": f"{split}-{n}", "split": split, "text": f"{name} {n}", "label": labels[n % 2]}
            for split in ("train", "dev", "test")
            for n in range(4)
        ]
        write_rows(folder / f"{name}.jsonl.gz", rows)
    (folder / "tasks.json").write_text(json.dumps({"tasks": table}), encoding="utf-8")
    return folder


DAMAGE: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "truncated": (
        "agnews.jsonl.gz",
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        "not gzip'd text or cut off",
    ),
    "no table": ("tasks.json", Path.unlink, "cannot read"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_bad_data_file_fails_its_run_before_a_model_is_loaded(
    kind: str, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, damage, words = DAMAGE[kind]
    damage(texts / file)
    monkeypatch.setattr(backbones, "load", None)
    command = ["run", "--method", "frozen", "--stream", "standard-cl", "--data-dir", texts.parent]
    done = invoke(*command, "--out", tmp_path / "runs")
    assert_failed(done, "frozen on standard-cl, order 1, seed 0", words)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [".sweep"]


def test_sound_data_files_go_on_to_the_model(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbones, "load", None)
    command = ["run", "--method", "frozen", "--stream", "standard-cl", "--data-dir", texts.parent]
    assert "not callable" in invoke(*command, "--out", tmp_path / "runs").stderr


def test_a_data_folder_that_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["run", "--method", "frozen", "--stream", "standard-cl", "--out", tmp_path / "runs"]
    assert_usage(invoke(*command, "--data-dir", tmp_path / "nowhere"), "nowhere' does not exist")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "nowhere"))
    assert_refused(invoke(*command), "nowhere (from BENCH_DATA) does not exist")


def test_no_data_folder_names_both_ways_to_get_the_data(tmp_path: Path) -> None:
    done = invoke("run", "--method", "frozen", "--stream", "omniglot", "--out", tmp_path)
    assert_refused(done, "--data-dir or BENCH_DATA", "bench data list")


def test_a_failing_run_leaves_the_finished_ones(texts: Path, tmp_path: Path) -> None:
    (texts / "agnews.jsonl.gz").unlink()
    command = ["run", "--method", "frozen", "--stream", "standard-cl,toy", "--set", "epochs=1"]
    done = invoke(*command, "--data-dir", texts.parent, "--out", tmp_path / "runs")
    assert_failed(done, "frozen on standard-cl", "agnews.jsonl.gz does not exist")
    (path,) = (tmp_path / "runs").rglob("*.json")
    assert read(path).stream == "toy"
    assert str(path) in done.stdout


def vit(*more: object, out: Path, backbone: object | None = None) -> Result:
    """Run on the digits with a tiny ViT."""
    chosen = ["--backbone", backbone or tiny.folder("image")]
    limits = ["--set", "epochs=1", "--set", "train_limit=10", "--set", "test_limit=10"]
    return invoke("run", "--method", "seq-lora", "--stream", "digits", *limits, *chosen, "--out", out, *more)


def test_a_backbone_without_a_matching_layer(tmp_path: Path) -> None:
    done = vit("--set", "targets=projection", out=tmp_path)
    assert_failed(done, "ViTModel has no linear layer for the target 'projection'", "it has: down, key,")


def test_a_target_that_is_no_role(tmp_path: Path) -> None:
    assert_failed(vit("--set", "targets=qeury", out=tmp_path), "did you mean 'query'?")


def test_a_text_to_text_stream_on_an_image_backbone(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "superni"
    folder.mkdir(parents=True)
    categories = natural_instructions.CATEGORIES
    table = {name: {"definition": "Answer.", "category": kind} for name, kind in categories.items()}
    (folder / "tasks.json").write_text(json.dumps({"tasks": table}), encoding="utf-8")
    for name in table:
        rows = [
            {"id": f"{split}-{n}", "split": split, "input": f"question {n}", "outputs": ["yes"]}
            for split in ("train", "test")
            for n in range(2)
        ]
        write_rows(folder / f"{name}.jsonl.gz", rows)
    command = ["run", "--method", "seq-lora", "--stream", "superni", "--data-dir", folder.parent]
    done = invoke(*command, "--backbone", tiny.folder("image"), "--out", tmp_path / "runs")
    assert_failed(done, "'superni' is text-to-text", "of kind image", "it takes: seq2seq, causal")


def test_a_backbone_path_that_leads_nowhere(tmp_path: Path) -> None:
    done = vit(backbone=tmp_path / "nowhere", out=tmp_path / "runs")
    assert_refused(done, "nowhere", "is neither a folder nor a hub id of the form owner/name")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("damage", ["empty", "configuration", "type", "weights"])
def test_a_backbone_folder_that_is_none(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    whole = tiny.folder("image")
    if damage != "empty":
        for path in whole.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
    if damage == "configuration":
        (folder / "config.json").write_text('{"model_type": ', encoding="utf-8")
    if damage == "type":
        (folder / "config.json").write_text('{"model_type": "unheard of"}', encoding="utf-8")
    if damage == "weights":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
    done = vit(backbone=folder, out=tmp_path / "runs")
    if damage == "empty":
        assert_refused(done, f"the backbone folder {folder} holds no config.json")
    else:
        assert_failed(done, f"cannot load the backbone '{folder}'")


def test_an_output_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("kept", encoding="utf-8")
    assert_refused(invoke(*TOY, "--out", tmp_path / "runs"), "cannot write to the output folder", "runs")
    assert_refused(invoke(*TOY, "--out", tmp_path / "runs" / "more"), "cannot write to the output folder")
    assert (tmp_path / "runs").read_text(encoding="utf-8") == "kept"


def test_a_file_in_place_of_a_folder_inside_the_output(tmp_path: Path) -> None:
    (tmp_path / "toy").write_text("kept", encoding="utf-8")
    assert_refused(invoke(*TOY, "--out", tmp_path), "cannot write", "Not a directory")


def test_a_full_disk_stops_a_run_that_later_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert invoke(*TOY, "--seed", "1", "--out", tmp_path).exit_code == 0
    finished = {path: path.read_bytes() for path in (tmp_path / "toy").rglob("*.*")}
    writes = 0
    sync = os.fsync

    def full(handle: int) -> None:
        nonlocal writes
        writes += 1
        if writes > 4:  # the second task's progress
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        done = invoke(*TOY, "--out", tmp_path)
    assert_refused(done, "cannot write", "progress.json", "No space left on device", "free space there")
    assert "task 1/3" in done.stdout and "task 2/3" not in done.stdout
    assert not list(tmp_path.rglob("*.tmp"))
    assert {path: path.read_bytes() for path in finished} == finished
    done = invoke(*TOY, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    assert "task 1/3" not in done.stdout and "task 2/3" in done.stdout
    assert (
        sorted(path.suffix for path in (tmp_path / "toy").rglob("*.*"))
        == [".json"] * 2 + [".safetensors"] * 2
    )


def other_schema(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"schema_version": 0}), encoding="utf-8")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


RESULTS = {"schema": (other_schema, "has result schema 0"), "cut": (cut, "is not complete JSON")}


@pytest.mark.parametrize("kind", RESULTS)
def test_a_bad_result_in_place_of_a_runs_own(kind: str, tmp_path: Path) -> None:
    damage, words = RESULTS[kind]
    assert invoke(*TOY, "--out", tmp_path).exit_code == 0
    (path,) = tmp_path.rglob("*.json")
    damage(path)
    found = path.read_bytes()
    assert_failed(invoke(*TOY, "--out", tmp_path), str(path), words)
    assert path.read_bytes() == found
    assert invoke(*TOY, "--out", tmp_path, "--fresh").exit_code == 0
    assert len(read(path).tasks) == 3


@pytest.mark.parametrize("kind", RESULTS)
def test_a_bad_result_is_refused_by_show_export_and_leaderboard(kind: str, tmp_path: Path) -> None:
    damage, words = RESULTS[kind]
    out = tmp_path / "results"
    assert invoke(*TOY, "--seed", "0-1", "--out", out).exit_code == 0
    path, other = sorted(out.rglob("*.json"))
    damage(path)
    assert_refused(invoke("show", path), str(path), words)
    assert_refused(invoke("export", path, tmp_path / "adapter"), str(path), words)
    assert not (tmp_path / "adapter").exists()
    done = bench("leaderboard", "--root", tmp_path, "--out", tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("left out: ") and str(path) in last and words in last
    assert "Traceback" not in done.stderr
    # The page of the others is written all the same.
    assert read(other).method in (tmp_path / "toy.md").read_text(encoding="utf-8")


def test_a_loss_that_is_no_number_names_the_step_and_stops_one_run(tmp_path: Path) -> None:
    settings = ["--set", "seq-lora.learning_rate=10", "--set", "seq-lora.optimizer=sgd", "--set", "epochs=20"]
    command = ["run", "--method", "seq-lora,frozen", "--stream", "toy", *SMALL, *settings]
    done = invoke(*command, "--out", tmp_path)
    assert_failed(done, "seq-lora on toy", "the loss became nan at step", "of phase 'adapt'", "learning_rate")
    (path,) = tmp_path.rglob("*.json")
    assert read(path).method == "frozen"
    assert "2 of 2 runs" in done.stdout


def test_a_rank_larger_than_a_layer(tmp_path: Path) -> None:
    done = invoke(*TOY, "--set", "rank=17", "--out", tmp_path)
    assert_failed(done, "rank 17 exceeds the layer projection of 48 x 16", "--set rank=")
    assert_failed(vit("--set", "rank=500", out=tmp_path), "rank 500 exceeds the layer")


def test_cuda_without_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = invoke(*TOY, "--device", "cuda", "--out", tmp_path)
    assert_refused(done, "this machine has no CUDA device; use --device cpu")
    done = invoke(*TOY, "--device", "auto", "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    (path,) = tmp_path.rglob("*.json")
    assert read(path).provenance.device == "cpu"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--workers", "0"], "'--workers': "),
        (["--workers", "two"], "'--workers': "),
        (["--device", "tpu"], "'--device': "),
    ],
)
def test_a_flag_out_of_range(flags: list[str], words: str, tmp_path: Path) -> None:
    assert_usage(invoke(*TOY, *flags, "--out", tmp_path / "runs"), words)
    assert not (tmp_path / "runs").exists()
