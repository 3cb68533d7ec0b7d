"""`bench data verify` tells all that is wrong at once, each fault in one line with its file and row.

Every test breaks several files in several ways; what training says of the same files is one line.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.data.findings import DataFaults, Finding, gathering, noted, settle, strict
from benchmark.errors import UserError
from benchmark.registry import STREAMS
from benchmark.stream import Request, load
from tasks.sources import natural_instructions, text_classification
from tests.image_files import save, split_folders
from tests.test_benchmark_layouts import dump, olora, superni_folders, trace_folders
from tests.test_stream_files import HEAD, PICTURES, QUICK, photos, write


def verified(stream: object, folder: Path | None, *more: str) -> list[str]:
    """Return the faults that the command lists, without the folder that all lie in."""
    where = ["--data-dir", str(folder)] if folder else []
    done = CliRunner().invoke(app, ["data", "verify", str(stream), *where, *more, "--json"])
    assert done.exit_code == 1, done.output
    findings = [Finding(**one) for one in json.loads(done.stdout)["findings"]]
    lines = [one.line.replace(f"{folder or Path(str(stream)).parent}/", "") for one in findings if one.fault]
    assert all("\n" not in line for line in lines) and len(set(lines)) == len(lines)
    return lines


def assert_told(lines: Sequence[str], *expected: str) -> None:
    """Check that each line begins with one of the expected texts, and that none of these is left."""
    assert len(lines) == len(expected), lines
    for text in expected:
        assert any(line.startswith(text) for line in lines), (text, lines)


def refused(name: str, folder: Path, **parameters: Any) -> str:
    """Return what training says: one line."""
    stream = STREAMS.load(name)
    given = stream.parameters(**parameters) if stream.parameters and parameters else None
    request = Request(stream.default_order, 0, stream.protocols["quick"], folder, given)
    with pytest.raises(UserError) as caught:
        load(stream, request)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


def test_noted_faults_are_raised_together_or_gathered_while_reading_goes_on() -> None:
    def read() -> str:
        findings: list[Finding] = []
        for name in ("a", "b"):
            with noted(findings):
                raise UserError(name)
        settle(findings)
        return "what is sound"

    with pytest.raises(DataFaults, match=r"^a \(and 1 more fault\)$"):
        read()
    with gathering() as gathered:
        assert read() == "what is sound"
        with strict(), pytest.raises(DataFaults):
            read()
    assert [one.message for one in gathered] == ["a", "b"]
    with pytest.raises(KeyError), noted([]):
        raise KeyError("no mistake of the user's")


def test_standard_cl(tmp_path: Path) -> None:
    folder = tmp_path / "longseq"
    table, rows = {}, {}
    for name in text_classification.ORDERS["1"]:
        labels = list(text_classification.TASKS[name].labels)
        facts = {"group": "TC", "labels": labels, "olora_instruction": "?", "sapt_definition": None}
        table[name] = facts | {"sapt_labels": labels}
        rows[name] = [
            {"id": f"{split}-{n}", "split": split, "text": f"{name} {split} {n}", "label": label}
            for split in ("train", "dev", "test")
            for n, label in enumerate(labels)
        ]
    del rows["dbpedia"][1]["text"]
    rows["dbpedia"][1]["split"] = "trian"
    rows["amazon"][2]["label"] = "Sprots"
    rows["amazon"][3]["label"] = "Very Negative"
    rows["amazon"][1] |= {"id": "train-0", "label": "Goood"}
    rows["agnews"] = [row for row in rows["agnews"] if row["split"] != "test"]
    for name, listed in rows.items():
        write_rows(folder / f"{name}.jsonl.gz", listed)
    (folder / "yahoo.jsonl.gz").unlink()
    (folder / "tasks.json").write_text(json.dumps({"tasks": table}), encoding="utf-8")
    assert_told(
        verified("standard-cl", tmp_path),
        "longseq/dbpedia.jsonl.gz, row 2: split: Input should be 'train', 'dev' or 'test'",
        "longseq/dbpedia.jsonl.gz, row 2: text: Field required",
        "longseq/amazon.jsonl.gz, row 2: the id 'train-0' is already that of",
        "longseq/amazon.jsonl.gz, row 2: the label 'Goood' is not one of: very negative,",
        "longseq/amazon.jsonl.gz, row 3: the label 'Sprots' is not one of: very negative,",
        "longseq/amazon.jsonl.gz, row 4: the label 'Very Negative' differs from 'very negative' only by case",
        "longseq/yahoo.jsonl.gz does not exist",
        # What is left of the tasks once these rows are out.
        "dbpedia, train: no rows of the class 'Educational Institution'",
        "amazon, train: no rows of the class 'negative'",
        "amazon, train: no rows of the class 'neutral'",
        "amazon, train: no rows of the class 'positive'",
        "agnews, test: no test rows",
    )
    said = refused("standard-cl", tmp_path)
    assert "dbpedia.jsonl.gz, row 2: split" in said
    assert said.endswith("(and 6 more faults; all: bench data verify standard-cl --order 1)")
    (folder / "tasks.json").write_text("{", encoding="utf-8")
    assert_told(
        verified("standard-cl", tmp_path),
        "longseq/tasks.json is not JSON",
        "longseq/yahoo.jsonl.gz does not exist",
    )


def test_what_is_sound_is_read_again_once_it_is_mended(tmp_path: Path) -> None:
    """No cache keeps what was read of faulty files."""
    olora(tmp_path)
    path = tmp_path / "TC/agnews/train.json"
    whole = path.read_bytes()
    dump(path, [{"label": "World", "sentence": "x"}, {"label": "Wrld", "sentence": "y"}])
    for _ in range(2):
        assert_told(
            verified("standard-cl", tmp_path),
            "TC/agnews/train.json, row 2: the label 'Wrld' is not one of: World",
            *(f"agnews, train: no rows of the class '{name}'" for name in ("Sports", "Business", "Science")),
            *absent_classes(),
        )
    path.write_bytes(whole)
    assert_told(verified("standard-cl", tmp_path), *absent_classes(("agnews",)))


def absent_classes(more: tuple[str, ...] = ()) -> list[str]:
    """`olora` writes rows of each task's first two classes alone."""
    lines = []
    for name in text_classification.ORDERS["1"]:
        for split in ("train", "test"):
            if name != "agnews" or split == "test" or more:
                labels = text_classification.TASKS[name].labels[2:]
                lines += [f"{name}, {split}: no rows of the class '{label}'" for label in labels]
    return lines
