"""Every mistake gets one line that says what is wrong, a non-zero exit code and no traceback."""

from __future__ import annotations

import errno
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from tests import tiny

TOY = ["--set", "stream.tasks=2", "--set", "epochs=1", "--set", "stream.train_rows=8"]


def bench(*arguments: object) -> tuple[int, str]:
    """Return exit code and everything printed by a call in this process."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def mistake(code_wanted: int, *words: str, arguments: list[object]) -> None:
    code, output = bench(*arguments)
    assert code == code_wanted, output
    assert "Traceback" not in output
    lines = [line for line in output.splitlines() if line.startswith(("error:", "failed:"))]
    assert len(lines) == 1, output
    for word in words:
        assert word in lines[0], lines[0]


def data(folder: Path, agnews: bytes | None) -> Path:
    """Write a data folder with four tiny tasks; `agnews` replaces the fourth file, None leaves it out."""
    root = folder / "longseq"
    root.mkdir(parents=True)
    facts: dict[str, Any] = {"tasks": {}, "orders": {}}
    for name in ("dbpedia", "amazon", "yahoo", "agnews"):
        labels = [f"{name} a", f"{name} b"]
        facts["tasks"][name] = {
            "group": "TC",
            "labels": labels,
            "olora_instruction": "",
            "sapt_definition": "",
            "sapt_labels": labels,
        }
        rows = [
            {
                "id": f"{name}-{n}",
                "task": name,
                "split": split,
                "text": f"{split} {n}",
                "label": labels[n % 2],
            }
            for split in ("train", "dev", "test")
            for n in range(4)
        ]
        text = "".join(json.dumps(row | {"id": f"{row['id']}-{row['split']}"}) + "\n" for row in rows)
        (root / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (root / "tasks.json").write_text(json.dumps(facts))
    (root / "agnews.jsonl.gz").unlink()
    if agnews is not None:
        (root / "agnews.jsonl.gz").write_bytes(agnews)
    return folder


ROW = {"id": "1", "task": "agnews", "split": "train", "text": "t", "label": "agnews a"}


def zipped(*rows: dict[str, Any]) -> bytes:
    return gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["agnews.jsonl.gz"]),
        (b"", ["agnews.jsonl.gz"]),
        (zipped(*[ROW] * 200)[:-20], ["agnews.jsonl.gz"]),
        (zipped(ROW, ROW | {"label": "agnews c"}), ["agnews.jsonl.gz", "agnews c"]),
        (zipped({k: v for k, v in ROW.items() if k != "text"}), ["agnews.jsonl.gz", "text"]),
    ],
    ids=["missing", "empty", "truncated", "mislabelled", "no column"],
)
def test_faulty_data_files(content: bytes | None, words: list[str], tmp_path: Path) -> None:
    folder = data(tmp_path / "data", content)
    run = ["run", "--method", "seq-lora", "--stream", "standard-cl", "--data-dir", folder]
    mistake(1, *words, arguments=[*run, "--out", tmp_path / "out"])


def test_no_data_folder_names_both_ways_to_get_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BENCH_DATA", raising=False)
    run = ["run", "--method", "seq-lora", "--stream", "omniglot", "--out", tmp_path]
    mistake(1, "--data-dir", "BENCH_DATA", arguments=run)


def digits(out: Path, *more: object) -> list[object]:
    vit = tiny.folder("image")
    return ["run", "--method", "seq-lora", "--stream", "digits", "--backbone", vit, "--out", out, *more]


def test_backbones_that_do_not_fit(tmp_path: Path, bench_data: Path) -> None:
    mistake(1, "projection", "query", arguments=digits(tmp_path, "--set", "targets=projection"))
    mistake(1, "rank", arguments=digits(tmp_path, "--set", "rank=500"))
    superni = ["run", "--method", "seq-lora", "--stream", "superni", "--data-dir", bench_data]
    vit = ["--backbone", tiny.folder("image"), "--out", tmp_path]
    mistake(1, "text-to-text", "image", arguments=[*superni, *vit])
    empty = tmp_path / "empty"
    empty.mkdir()
    mistake(1, "config.json", arguments=[*digits(tmp_path)[:5], "--backbone", empty, "--out", tmp_path])


def test_an_output_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        run = ["run", "--method", "frozen", "--stream", "toy", *TOY, "--out", out]
        mistake(2, "output folder", str(out), arguments=run)


def test_a_full_disk_keeps_what_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ["run", "--method", "frozen", "--stream", "toy", *TOY, "--out", tmp_path]
    assert bench(*run)[0] == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with monkeypatch.context() as full:

        def no_space(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        full.setattr(os, "fsync", no_space)
        mistake(1, "No space left", arguments=[*run, "--seed", "1"])
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert bench(*run, "--seed", "0-1")[0] == 0


def test_a_result_in_the_way_that_is_none(tmp_path: Path) -> None:
    run = ["run", "--method", "frozen", "--stream", "toy", *TOY, "--out", tmp_path]
    assert bench(*run)[0] == 0
    (path,) = tmp_path.rglob("frozen*.json")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    mistake(1, path.name, "cut in half", arguments=run)
    mistake(2, path.name, "cut in half", arguments=["show", path])
    path.write_text(json.dumps(json.loads(whole) | {"schema_version": 99}))
    mistake(1, "schema 99", arguments=run)
    mistake(2, "schema 99", arguments=["show", path])


def test_a_loss_that_is_no_number_names_its_step_and_lets_the_others_finish(tmp_path: Path) -> None:
    run = ["run", "--method", "seq-lora,frozen", "--stream", "toy", *TOY, "--out", tmp_path]
    absurd = ["--set", "seq-lora.learning_rate=10", "--set", "seq-lora.optimizer=sgd"]
    code, output = bench(*run, *absurd, "--set", "epochs=200")
    assert code == 1
    (line,) = [line for line in output.splitlines() if line.startswith("failed:")]
    assert "seq-lora" in line and "step" in line and "'adapt'" in line
    assert len(list(tmp_path.rglob("frozen*.json"))) == 1


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    run = ["run", "--method", "frozen", "--stream", "toy", *TOY, "--out", tmp_path]
    mistake(1, "no CUDA device", arguments=[*run, "--device", "cuda"])


def test_no_workers(tmp_path: Path) -> None:
    code, output = bench("run", "--method", "frozen", "--stream", "toy", "--workers", 0)
    assert code == 2 and "Traceback" not in output
