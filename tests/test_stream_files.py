"""Streams described by TOML files: what they mean, and one line for each mistake in them or their rows."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data.class_orders import chunks
from benchmark.data.data_errors import InvalidData
from benchmark.data.load import load
from benchmark.data.stream_schema import order_error
from benchmark.errors import UserError
from benchmark.running.catalogue import load_stream
from benchmark.running.plan import find_streams, plan
from benchmark.stream import LoadedStream, Request

HEAD = """
name = "tickets"
title = "Support tickets"
kind = "text-classification"
licence = "internal"
"""
SMOKE = """
[protocol.smoke]
backbone = "minilm"
validation = 0.0
"""
IMAGE_SMOKE = SMOKE.replace("minilm", "vit-nano")
TABLE = """
[table]
source = { path = "tickets.csv" }
columns = { task = "task", split = "split", text = "text", label = "label", id = "id" }
"""
GOOD = [
    "task,split,text,label,id",
    'billing,train,"pay\nme",refund,1',
    "billing,train,NA,invoice,2",
    "technical,train,it broke,crash,1",
    "billing,dev,pay,refund,3",
    "billing,test,pay again,refund,4",
    "billing,test,bill,invoice,5",
    "technical,test,it broke again,crash,2",
]


def write(folder: Path, text: str, name: str = "my-stream.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def rows(folder: Path, *lines: str, name: str = "tickets.csv") -> None:
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def loaded(path: Path, order: str | None = None, data_dir: Path | None = None) -> LoadedStream:
    stream = load_stream(str(path))
    protocol = stream.protocols[stream.default_protocol]
    return load(stream, Request(order or stream.default_order, 0, protocol, data_dir))


def faults(path: Path) -> list[str]:
    """Return every fault of a file or of its rows."""
    with pytest.raises(UserError) as caught:
        loaded(path)
    error = caught.value
    found = [one.line for one in error.errors] if isinstance(error, InvalidData) else [str(error)]
    assert all("\n" not in line for line in found)
    return found


def test_one_table_becomes_a_task_for_each_name_in_its_column(tmp_path: Path) -> None:
    rows(tmp_path, *GOOD)
    orders = '[orders]\nlisted = "natural"\nreversed = ["technical", "billing"]\n'
    path = write(tmp_path, HEAD + TABLE + orders + SMOKE)
    stream = loaded(path)
    billing, technical = stream.tasks
    assert (billing.name, technical.name) == ("billing", "technical")
    assert billing.classes == ("invoice", "refund") and technical.classes == ("crash",)
    # Line breaks within quotes and the letters NA are text like any other.
    assert billing.train.inputs == ["pay\nme", "NA"]
    assert billing.train.labels is not None and billing.train.labels.tolist() == [1, 0]
    assert billing.train.ids == ["1", "2"] and billing.test.ids == ["4", "5"]
    assert billing.validation is not None and billing.validation.inputs == ["pay"]
    assert technical.validation is None
    assert stream.origin == "my-stream.toml: tickets.csv"
    assert [task.name for task in loaded(path, "reversed").tasks] == ["technical", "billing"]
    facts = load_stream(str(path))
    assert facts.protocols["smoke"].backbone == "minilm" and facts.protocols["smoke"].source == path.name


def test_tasks_of_their_own_from_json_lines_and_parquet_with_answers(tmp_path: Path) -> None:
    lines = [
        {"q": f"q{n}", "a": ["x", "y"] if n else "x", "s": "train" if n < 2 else "test"} for n in range(3)
    ]
    with gzip.open(tmp_path / "one.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    for split in ("train", "test"):
        table = pyarrow.table({"question": [f"{split} q"], "answer": ["z"]})
        pyarrow.parquet.write_table(table, tmp_path / f"{split}.parquet")
    text = """
    name = "answers"
    title = "Answers"
    kind = "text-to-text"
    licence = "none"
    [[tasks]]
    name = "one"
    source = { path = "one.jsonl.gz" }
    columns = { text = "q", target = "a", split = "s" }
    definition = "Answer."
    [[tasks]]
    name = "two"
    source = { train = "train.parquet", test = "test.parquet" }
    columns = { text = "question", target = "answer" }
    metric = "exact-match"
    """
    one, two = loaded(write(tmp_path, text + SMOKE)).tasks
    assert one.train.references == [["x"], ["x", "y"]] and one.test.inputs == ["q2"]
    assert one.wording.definition == "Answer." and one.wording.dataset == "one"
    assert (two.train.inputs, two.test.references, two.metric) == (["train q"], [["z"]], "exact-match")


def test_labels_are_renamed_and_numbers_of_the_hub_named(tmp_path: Path) -> None:
    import datasets

    folder = tmp_path / "hub" / "owner" / "news" / "default"
    folder.mkdir(parents=True)
    features = datasets.Features(
        {"t": datasets.Value("string"), "l": datasets.ClassLabel(names=["World", "Sport"])}
    )
    for split in ("train", "validation"):
        data = datasets.Dataset.from_dict({"t": [f"{split} a", f"{split} b"], "l": [0, 1]}, features)
        data.to_parquet(str(folder / f"{split}.parquet"))
    part = """
    [[tasks]]
    name = "news"
    source = { hub = "owner/news" }
    columns = { text = "t", label = "l" }
    splits = { train = "train", test = "validation" }
    """
    (task,) = loaded(write(tmp_path, HEAD + part + SMOKE), data_dir=tmp_path).tasks
    assert task.classes == ("Sport", "World")
    assert task.test.inputs == ["validation a", "validation b"]
    named = '    labels = { "0" = "globe", "1" = "games" }\n    classes = ["globe", "games"]\n'
    (task,) = loaded(write(tmp_path, HEAD + part + named + SMOKE), data_dir=tmp_path).tasks
    assert task.classes == ("globe", "games")
    assert task.train.labels is not None and task.train.labels.tolist() == [0, 1]


def picture(path: Path, value: int, side: tuple[int, int] = (6, 6)) -> None:
    image = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(np.full((*side, 3), value, np.uint8)).save(path)


PICTURES = """
name = "photos"
title = "Photos"
kind = "image"
licence = "none"
[table]
source = { folder = "photos" }
size = 4
[cut]
classes_per_task = 2
[orders]
"1" = 1993
natural = "natural"
"""


def photos(folder: Path, classes: int = 5) -> None:
    for number in range(classes):
        for split, count in (("train", 2), ("test", 1)):
            for place in range(count):
                picture(folder / "photos" / split / f"c{number}" / f"{place}.png", 10 * number)


def test_image_folders_are_cut_in_slices_of_a_permutation(tmp_path: Path) -> None:
    photos(tmp_path)
    path = write(tmp_path, PICTURES + IMAGE_SMOKE)
    natural = loaded(path, "natural")
    assert [task.classes for task in natural.tasks] == [("c0", "c1"), ("c2", "c3"), ("c4",)]
    assert natural.tasks[0].train.inputs.shape == (4, 4, 4, 3)
    assert natural.tasks[1].test.inputs[1].max() == 30
    assert natural.tasks[0].train.ids[0] == "train/c0/0.png"
    larger = loaded(write(tmp_path, PICTURES.replace("[cut]", "[cut]\nfirst_classes = 3") + SMOKE), "natural")
    assert [task.classes for task in larger.tasks] == [("c0", "c1", "c2"), ("c3", "c4")]
    permuted = loaded(write(tmp_path, PICTURES + IMAGE_SMOKE))
    # numpy's legacy generator: RandomState(1993).permutation(5)
    assert permuted.class_order == np.random.RandomState(1993).permutation(5).tolist()
    assert permuted.tasks[0].classes == tuple(f"c{c}" for c in permuted.class_order[:2])
    for task in permuted.tasks:
        for row, label in zip(task.train.inputs, task.train.labels, strict=True):
            assert row.max() == 10 * int(task.classes[label][1:])


def test_pictures_of_other_shapes_are_scaled_by_their_shorter_side(tmp_path: Path) -> None:
    photos(tmp_path, 2)
    picture(tmp_path / "photos/train/c0/wide.png", 7, (6, 12))
    stream = loaded(write(tmp_path, PICTURES + IMAGE_SMOKE), "natural")
    assert stream.tasks[0].train.inputs.shape == (5, 4, 4, 3)
    (line,) = faults(write(tmp_path, PICTURES.replace("size = 4\n", "") + SMOKE))
    assert "wide.png: 12x6 pixels, others 6x6; set `size`" in line


def test_rows_without_a_split_are_drawn_once_by_class(tmp_path: Path) -> None:
    rows(tmp_path, "text,label", *(f"text {n},{'ab'[n % 2]}" for n in range(20)))
    part = """
    [[tasks]]
    name = "only"
    source = { path = "tickets.csv" }
    columns = { text = "text", label = "label" }
    test_share = 0.2
    """
    (task,) = loaded(write(tmp_path, HEAD + part + SMOKE)).tasks
    # 0.2 of 20 rows are 4, two of each class; the other 16 are for training.
    assert (len(task.train), len(task.test)) == (16, 4)
    assert task.test.labels is not None and sorted(task.test.labels.tolist()) == [0, 0, 1, 1]
    without = part.replace("test_share = 0.2", "")
    (line,) = faults(write(tmp_path, HEAD + without + SMOKE))
    assert "which rows are for test?" in line and "test_share" in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("billing,trian,x,invoice,2", "tickets.csv, row 2: unknown split 'trian', did you mean 'train'?"),
        ("Billing,train,x,invoice,2", "tickets.csv: the task 'Billing' differs only by case from 'billing'"),
        ("payment,train,x,invoice,2", "payment, test: tickets.csv: no test rows"),
    ],
)
def test_a_bad_row_is_one_line_with_file_and_row(text: str, words: str, tmp_path: Path) -> None:
    rows(tmp_path, *GOOD[:2], text, *GOOD[3:])
    reported = [line.replace(f"{tmp_path}/", "") for line in faults(write(tmp_path, HEAD + TABLE + SMOKE))]
    assert any(line.startswith(words) for line in reported), reported


def test_a_missing_column_names_the_nearest(tmp_path: Path) -> None:
    rows(tmp_path, *[GOOD[0].replace("label", "lable"), *GOOD[1:]])
    (line,) = faults(write(tmp_path, HEAD + TABLE + SMOKE))
    assert (
        "tickets.csv has no column 'label', did you mean 'lable'? it has: task, split, text, lable, id"
        in line
    )


def test_an_unknown_label_names_the_nearest(tmp_path: Path) -> None:
    rows(tmp_path, *GOOD[:3], *GOOD[4:7])
    listed = TABLE + 'classes = ["refund", "invoices"]\n'
    lines = faults(write(tmp_path, HEAD + listed + SMOKE))
    assert any("row 2: unknown label 'invoice', did you mean 'invoices'?" in line for line in lines)


def test_pickles_and_missing_files_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "tickets.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    (line,) = faults(write(tmp_path, HEAD + TABLE.replace(".csv", ".pkl") + SMOKE))
    assert "tickets.pkl is of no kind that is read: .csv, .tsv, .jsonl, .jsonl.gz, .parquet" in line
    (line,) = faults(write(tmp_path, HEAD + TABLE + SMOKE))
    assert "tickets.csv does not exist" in line
    with pytest.raises(UserError, match="there is no stream file"):
        load_stream("nowhere.toml")


def test_the_hub_out_of_reach_is_reported_with_the_way_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    (line,) = faults(write(tmp_path, HEAD + TABLE.replace('path = "tickets.csv"', 'hub = "o/n"') + SMOKE))
    for words in (
        "cannot load o/n from the hub",
        f"tried {huggingface_hub.constants.ENDPOINT}: ConnectionError: no route",
        "--data-dir",
        "<split>.parquet",
        "bench data fetch",
    ):
        assert words in line


def test_a_file_stands_where_a_name_does_and_is_no_part_of_the_key(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + TABLE + SMOKE)
    assert find_streams(f"toy,{path}") == {"toy": "toy", "tickets": str(path)}
    (run,) = plan("frozen", str(path))
    (tmp_path / "copy").mkdir()
    (copy,) = plan("frozen", str(write(tmp_path / "copy", HEAD + TABLE + SMOKE)))
    assert run.stream == "tickets" and run.stream_file == path
    assert run == copy and run.key("data") == copy.key("data")
    with pytest.raises(UserError, match="both named 'tickets'"):
        find_streams(f"{path},{tmp_path / 'copy' / 'my-stream.toml'}")
    with pytest.raises(UserError, match=rf"unknown order of {path} '7'.*bench list orders --stream {path}"):
        plan("frozen", str(path), orders="7")


@given(st.lists(st.sampled_from("abcd"), max_size=6))
def test_only_permutations_are_orders(order: list[str]) -> None:
    assert (order_error(order, list("abcd")) == "") == (sorted(order) == list("abcd"))


@given(st.integers(0, 40), st.integers(1, 9))
def test_chunks_lose_and_repeat_nothing(count: int, size: int) -> None:
    parts = chunks(list(range(count)), size)
    assert [c for part in parts for c in part] == list(range(count))
    assert all(len(part) == size for part in parts[:-1]) and all(parts)
