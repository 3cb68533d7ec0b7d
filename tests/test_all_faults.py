"""`bench data verify` reports all that is wrong with texts at once, each error in a line with file and row.

Every test breaks several files in several ways; what training says of the same files is one line.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.data.data_errors import (
    DataError,
    InvalidData,
    collect_into,
    collecting_errors,
    raise_or_collect,
    strict,
)
from benchmark.errors import UserError
from tasks.sources import natural_instructions, text_classification
from tests.test_benchmark_layouts import dump, olora, superni_folders, trace_folders
from tests.test_stream_files import HEAD, SMOKE, write
from tests.verified import assert_reported, refused, verified


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)


def test_noted_errors_are_raised_together_or_gathered_while_reading_goes_on() -> None:
    def read() -> str:
        errors: list[DataError] = []
        for name in ("a", "b"):
            with collect_into(errors):
                raise UserError(name)
        raise_or_collect(errors)
        return "what is sound"

    with pytest.raises(InvalidData, match=r"^a \(and 1 more error\)$"):
        read()
    with collecting_errors() as gathered:
        assert read() == "what is sound"
        with strict(), pytest.raises(InvalidData):
            read()
    assert [one.message for one in gathered] == ["a", "b"]
    with pytest.raises(KeyError), collect_into([]):
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
    rows["agnews"][1]["label"] = "Spo\nrts"
    rows["agnews"] = [row for row in rows["agnews"] if row["split"] != "test"]
    for name, listed in rows.items():
        write_rows(folder / f"{name}.jsonl.gz", listed)
    (folder / "yahoo.jsonl.gz").unlink()
    (folder / "tasks.json").write_text(json.dumps({"tasks": table}), encoding="utf-8")
    assert_reported(
        verified("standard-cl", tmp_path),
        "longseq/dbpedia.jsonl.gz, row 2: split: Input should be 'train', 'dev' or 'test'",
        "longseq/dbpedia.jsonl.gz, row 2: text: Field required",
        "longseq/amazon.jsonl.gz, row 2: the id 'train-0' is already that of",
        "longseq/amazon.jsonl.gz, row 2: the label 'Goood' is not one of: very negative,",
        "longseq/amazon.jsonl.gz, row 3: the label 'Sprots' is not one of: very negative,",
        "longseq/amazon.jsonl.gz, row 4: the label 'Very Negative' differs from 'very negative' only by case",
        "longseq/agnews.jsonl.gz, row 2: the label 'Spo\\nrts' is not one of: World, Sports,",
        "longseq/yahoo.jsonl.gz does not exist",
        # What is left of the tasks once these rows are out.
        "dbpedia, train: no rows of the class 'Educational Institution'",
        "amazon, train: no rows of the class 'negative'",
        "amazon, train: no rows of the class 'neutral'",
        "amazon, train: no rows of the class 'positive'",
        "agnews, train: no rows of the class 'Sports'",
        "agnews, test: no test rows",
    )
    said = refused("standard-cl", tmp_path)
    assert "dbpedia.jsonl.gz, row 2: split" in said
    assert said.endswith("(and 7 more errors; all: bench data verify standard-cl --order 1)")
    (folder / "tasks.json").write_text("{", encoding="utf-8")
    assert_reported(
        verified("standard-cl", tmp_path),
        "longseq/tasks.json is not JSON",
        "longseq/yahoo.jsonl.gz does not exist",
    )
    (folder / "tasks.json").write_text('{"tasks": {}}', encoding="utf-8")
    assert_reported(
        verified("standard-cl", tmp_path),
        *[f"longseq/tasks.json has no entry for the task '{name}'" for name in rows],
    )


def test_folders_of_o_lora_and_that_no_cache_keeps_what_was_read_of_faulty_ones(tmp_path: Path) -> None:
    olora(tmp_path)
    sound = verified("standard-cl", tmp_path)
    assert all("no rows of the class" in line for line in sound), "two of more classes have rows"
    whole = {path: path.read_bytes() for path in tmp_path.rglob("*.json")}
    dump(tmp_path / "TC/agnews/train.json", [{"label": "World"}, {"label": "Wrld", "sentence": "y"}])
    dump(tmp_path / "TC/agnews/test.json", [{"label": "sports", "sentence": "x"}, {"label": "Sports"}])
    dump(tmp_path / "TC/dbpedia/labels.json", ["Company", "company", "Company "])
    dump(tmp_path / "SC/amazon/test.json", [])
    (tmp_path / "SC/amazon/train.json").unlink()
    (tmp_path / "TC/yahoo/test.json").write_text("[1", encoding="utf-8")
    for _ in range(2):
        lines = verified("standard-cl", tmp_path)
        assert_reported(
            [line for line in lines if "no rows of the class" not in line],
            "TC/agnews/train.json, row 1: sentence: Field required",
            "TC/agnews/train.json, row 2: the label 'Wrld' is not one of: World",
            "TC/agnews/test.json, row 1: the label 'sports' differs from 'Sports' only by case",
            "TC/agnews/test.json, row 2: sentence: Field required",
            "TC/dbpedia/labels.json: the label 'company' differs from 'Company' only by case",
            "TC/dbpedia/labels.json: the label 'Company' is there twice",
            "TC/dbpedia/train.json, row 2: the label 'Educational Institution' is not one of: Company",
            "TC/dbpedia/dev.json, row 2: the label 'Educational Institution' is not one of: Company",
            "TC/dbpedia/test.json, row 2: the label 'Educational Institution' is not one of: Company",
            "SC/amazon/test.json holds no rows",
            "cannot read SC/amazon/train.json: FileNotFoundError",
            "TC/yahoo/test.json is not JSON",
            "yahoo, test: no test rows",
            "agnews, train: no train rows",
            "agnews, test: no test rows",
            "amazon, train: no train rows",
            "amazon, test: no test rows",
        )
    for path, content in whole.items():
        path.write_bytes(content)
    assert verified("standard-cl", tmp_path) == sound


def test_superni(tmp_path: Path) -> None:
    first, second, third, fourth = list(natural_instructions.CATEGORIES)[:4]
    facts = {name: {"definition": "Do.", "category": "c"} for name in natural_instructions.CATEGORIES}
    for name in facts:
        rows = [
            {"id": f"{split}-{n}", "split": split, "input": f"{split} {n}", "outputs": ["a"]}
            for split in ("train", "test")
            for n in range(3)
        ]
        if name == first:
            rows[0] |= {"outputs": [""]}  # an empty answer is one
            rows[1] |= {"outputs": []}
            rows[2] |= {"id": "train-0", "outputs": "a"}
        if name == second:
            rows[1] |= {"id": "train-0", "outputs": []}
        if name == third:
            rows[4]["input"] = "train 2"
            del rows[3]["id"]
        write_rows(tmp_path / "superni" / f"{name}.jsonl.gz", rows)
    path = tmp_path / "superni" / f"{fourth}.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-12])
    del facts[list(facts)[-1]]
    (tmp_path / "superni" / "tasks.json").write_text(json.dumps({"tasks": facts}), encoding="utf-8")
    assert_reported(
        verified("superni", tmp_path),
        f"superni/{first}.jsonl.gz, row 2: outputs: no reference",
        f"superni/{first}.jsonl.gz, row 3: outputs: Input should be a valid list",
        f"superni/{second}.jsonl.gz, row 2: outputs: no reference",
        f"superni/{second}.jsonl.gz, row 2: the id 'train-0' is already that of",
        f"superni/{third}.jsonl.gz, row 4: id: Field required",
        f"superni/{fourth}.jsonl.gz, after row ",
        f"superni/tasks.json has no entry for the task '{list(natural_instructions.CATEGORIES)[-1]}'",
        f"{third}, train: 1 row also in test",
    )


def test_superni_in_the_folders_of_sapt(tmp_path: Path) -> None:
    first, second = list(natural_instructions.CATEGORIES)[:2]
    superni_folders(tmp_path)
    rows = [{"id": "i", "input": "a", "output": ["b"]}] * 2 + [{"id": "j", "input": "c", "output": []}]
    dump(tmp_path / first / "train.json", {"Instances": [*rows, {"id": "k"}], "Definition": "x"})
    dump(tmp_path / first / "test.json", {"Instances": [], "Definition": "x"})
    (tmp_path / second / "train.json").unlink()
    assert_reported(
        verified("superni", tmp_path),
        f"{first}/train.json, row 2: the id 'i' is already that of",
        f"{first}/train.json, row 3: output: no reference",
        f"{first}/train.json, row 4: input: Field required",
        f"{first}/train.json, row 4: output: Field required",
        f"{first}/test.json holds no rows",
        f"{first}, test: no test rows",
        f"cannot read {second}/train.json",
        f"{second}, train: no train rows",
    )


@pytest.mark.parametrize("published", [True, False])
def test_trace(tmp_path: Path, published: bool) -> None:
    trace_folders(tmp_path)
    bad = {"prompt": "What?", "answer": "no"}
    content = {
        name: {s: json.loads((tmp_path / name / f"{s}.json").read_text()) for s in ("train", "test")}
        for name in ("FOMC", "Py150", "ScienceQA")
    }
    content["FOMC"]["train"][1] = bad
    content["Py150"]["test"][2] = {"prompt": 3}
    content["ScienceQA"]["test"] = []
    if published:
        for name, splits in content.items():
            for split, rows in splits.items():
                dump(tmp_path / name / f"{split}.json", rows)
        (tmp_path / "NumGLUE-cm" / "train.json").unlink()
        fomc, py150 = "FOMC/train.json, row 2", "Py150/test.json, row 3"
        more = ["ScienceQA/test.json holds no rows", "cannot read NumGLUE-cm/train.json"]
        more.append("NumGLUE-cm, train: no train rows")
    else:
        for folder in [path for path in tmp_path.iterdir() if path.is_dir()]:
            rows = []
            for split in ("train", "test"):
                listed = content.get(folder.name, {}).get(split)
                if listed is None:
                    listed = json.loads((folder / f"{split}.json").read_text())
                rows += [{"id": f"{split}-{n}", "split": split, **row} for n, row in enumerate(listed)]
            write_rows(tmp_path / "trace" / f"{folder.name}.jsonl.gz", rows)
        (tmp_path / "trace" / "NumGLUE-cm.jsonl.gz").unlink()
        fomc, py150 = "trace/FOMC.jsonl.gz, row 2", "trace/Py150.jsonl.gz, row 7"
        more = ["trace/NumGLUE-cm.jsonl.gz does not exist"]
    assert_reported(
        verified("trace", tmp_path),
        f"{fomc}: prompt: does not begin with 'What is the monetary",
        f"{fomc}: answer: 'no' begins with none of ABC",
        f"{py150}: prompt: Input should be a valid string",
        f"{py150}: answer: Field required",
        "ScienceQA, test: no test rows",
        *more,
    )


SPLIT_TASK = """
[[tasks]]
name = "{0}"
source = {{ train = "{0}-train.csv", test = "{0}-test.{1}" }}
columns = {{ text = "text", label = "label", id = "id" }}
"""


def table(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_stream_of_tables(tmp_path: Path) -> None:
    kinds = {"one": "csv", "two": "csv", "three": "jsonl", "four": "csv"}
    text = HEAD + "".join(SPLIT_TASK.format(name, kind) for name, kind in kinds.items()) + SMOKE
    path = write(tmp_path, text)
    header = "text,label,id"
    table(tmp_path / "one-train.csv", header, "a,x,1", ",x,2", "b,y,1", "c", "same,X,4")
    table(tmp_path / "one-test.csv", header, "same,x,5", "d,z,6")
    # A column missing in one file hides nothing of the other.
    table(tmp_path / "two-train.csv", header, "a,x,1", "b,,2", "c,X,3")
    table(tmp_path / "two-test.csv", "txt,lable,id", "a,x,1")
    table(tmp_path / "three-train.csv", header, "a,x,1", "c,x,1", "b,y,2")
    rows = [{"text": "d", "label": "x", "id": "8"}, {"text": 3, "label": "w", "id": "9"}]
    table(tmp_path / "three-test.jsonl", *map(json.dumps, rows), "{")
    table(tmp_path / "four-train.csv", header, "a,x,1", "a,x,1")
    assert_reported(
        verified(path, None),
        "one-train.csv, row 2: no text in the column 'text'",
        "one-train.csv, row 3: the id '1' is that of one-train.csv, row 1",
        "one-train.csv, row 4: 1 fields under a header of 3",
        "one-train.csv, row 5: the label 'X' differs only by case from 'x' (one-train.csv, row 1)",
        "one-test.csv, row 2: the label 'z' is that of no training row",
        "one, test: one-train.csv, one-test.csv: no test rows of the class 'X'",
        "one, test: one-train.csv, one-test.csv: no test rows of the class 'y'",
        "one, train: 1 row also in test",
        "two-train.csv, row 2: nothing in the column 'label'",
        "two-train.csv, row 3: the label 'X' differs only by case from 'x'",
        "two-test.csv has no column 'text', did you mean 'txt'? it has: txt, lable, id",
        "two-test.csv has no column 'label', did you mean 'lable'?",
        "three-train.csv, row 2: the id '1' is that of three-train.csv, row 1",
        "three-test.jsonl, row 2: no text in the column 'text'",
        "three-test.jsonl, row 3 is not JSON",
        "three, test: three-train.csv, three-test.jsonl: no test rows of the class 'y'",
        "four-train.csv, row 2: the id '1' is that of four-train.csv, row 1",
        "four-test.csv does not exist",
    )
