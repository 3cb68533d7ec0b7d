"""pytest tests/test_part_rows.py: streams of files are read once, mapped from then on, and change no byte."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.data import hub_tables, row_cache, stream_records, table_files
from benchmark.data.data_errors import InvalidData
from benchmark.data.fingerprint import fingerprint
from benchmark.data.hub import Hub
from benchmark.data.part_rows import PartRows, tasks_of
from benchmark.data.stream_records import Record
from benchmark.data.stream_schema import Columns, RowSource, RowsTable
from benchmark.errors import UserError
from benchmark.stream import Examples, LoadedStream
from tests.image_files import save, split_folders
from tests.test_stream_files import HEAD, SMOKE, loaded, rows, write

TOPICS = "abc"


def texts(folder: Path) -> Path:
    """Two tasks of one CSV file, their rows in turns."""
    lines = [
        f"{'one' if n % 2 else 'two'},{'test' if n < 6 else 'train'},text {n},{TOPICS[n % 3]},{n}"
        for n in range(24)
    ]
    rows(folder, "task,split,text,label,id", *lines)
    columns = 'task = "task", split = "split", text = "text", label = "label", id = "id"'
    part = f'[table]\nsource = {{ path = "tickets.csv" }}\ncolumns = {{ {columns} }}\n'
    return write(folder, HEAD + part + SMOKE)


def answers(folder: Path) -> Path:
    for split in ("train", "test"):
        lines = [json.dumps({"q": f"{split} {n}", "a": ["x", "ü"][: n % 2 + 1]}) for n in range(5)]
        rows(folder, *lines, name=f"{split}.jsonl")
    part = '[[tasks]]\nname = "one"\nsource = { train = "train.jsonl", test = "test.jsonl" }\n'
    columns = 'columns = { text = "q", target = "a" }\n'
    return write(folder, HEAD.replace("text-classification", "text-to-text") + part + columns + SMOKE)


IMAGES = HEAD.replace("text-classification", "image")


def folders(folder: Path) -> Path:
    split_folders(folder / "photos", list(TOPICS))
    part = '[table]\nsize = 4\nsource = { folder = "photos" }\n[cut]\ntasks = 2\n[orders]\n"1" = 1993\n'
    return write(folder, IMAGES + part + SMOKE)


def image_table(folder: Path) -> Path:
    """Two tasks in one file whose images have two sizes, each kept as it is."""
    lines = []
    for n in range(12):
        save(folder / "photos" / f"{n}.png", n, (8, 6) if n % 2 else (5, 5))
        split, label = "test" if n < 4 else "train", TOPICS[n // 2 % 2]
        lines.append(f"photos/{n}.png,{label},{split},{'one' if n % 2 else 'two'}")
    rows(folder, "image,label,split,task", *lines)
    columns = 'image = "image", label = "label", split = "split", task = "task"'
    part = f'[table]\nsource = {{ path = "tickets.csv" }}\ncolumns = {{ {columns} }}\n'
    return write(folder, IMAGES + part + SMOKE)


KINDS = {"texts": texts, "answers": answers, "image folders": folders, "image table": image_table}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def content(stream: LoadedStream) -> list[Any]:
    """Everything of a stream that a run can see, as plain values."""
    found: list[Any] = [fingerprint(stream.tasks), stream.origin, stream.class_order, dict(stream.revisions)]
    for task in stream.tasks:
        found += [task.name, task.classes, task.wording, task.metric]
        for part in (task.train, task.validation, task.test):
            if part is not None:
                inputs = [row if isinstance(row, str) else row.tolist() for row in part.inputs]
                labels = None if part.labels is None else part.labels.tolist()
                found += [list(part.ids), inputs, labels, part.references and list(part.references)]
    return found


def sources_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be parsed or decoded any more; files may be hashed, folders be listed."""

    def closed(*_: Any) -> None:
        raise AssertionError("a source was opened")

    monkeypatch.setattr(table_files, "_read_separated", closed)
    monkeypatch.setattr(table_files, "_json_lines", closed)
    monkeypatch.setattr(hub_tables, "from_parquet", closed)
    monkeypatch.setattr(stream_records, "decode", closed)


def mapped(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        array = array.base
    return type(array).__name__ == "mmap"


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_the_same_cold_warm_and_without_a_cache(
    kind: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = KINDS[kind](tmp_path)
    cold = content(loaded(path))
    with monkeypatch.context() as patch:
        sources_closed(patch)
        warm = loaded(path)
        assert content(warm) == cold
    inputs: Any = warm.tasks[0].train.inputs
    assert mapped(inputs._pixels if "image" in kind else inputs.flat)
    monkeypatch.setenv("BENCH_CACHE", "off")
    alone = loaded(path)
    assert content(alone) == cold
    inputs = alone.tasks[0].train.inputs
    assert not mapped(inputs._pixels if "image" in kind else inputs.flat)


@pytest.mark.parametrize("kind", ["image folders", "image table"])
def test_the_fingerprint_of_mapped_images_is_that_of_an_array(kind: str, cache: Path, tmp_path: Path) -> None:
    def plain(part: Examples) -> Examples:
        return Examples(np.asarray(part.inputs), part.labels, None, part.ids)

    tasks = loaded(KINDS[kind](tmp_path)).tasks
    arrays = [
        type(task)(task.name, plain(task.train), plain(task.test), None, task.classes, task.wording)
        for task in tasks
    ]
    assert fingerprint(tasks) == fingerprint(arrays)


def edit(name: str, old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return change


def repaint(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        save(folder / name, 99)

    return change


STREAM = "my-stream.toml"
CHANGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a text": ("texts", edit("tickets.csv", "text 23", "text 42")),
    "an answer": ("answers", edit("test.jsonl", '"x"', '"y"')),
    "an image of a folder": ("image folders", repaint("photos/train/b/1.png")),
    "an image more": ("image folders", repaint("photos/train/b/7.png")),
    "an image that a table names": ("image table", repaint("photos/11.png")),
    "the label of an image": ("image table", edit("tickets.csv", "11.png,b", "11.png,a")),
    "labels": ("texts", edit(STREAM, "[table]", '[table]\nlabels = { a = "x", b = "y", c = "x" }')),
    "classes": ("texts", edit(STREAM, "[table]", '[table]\nclasses = ["c", "b", "a"]')),
    "the column of the text": ("texts", edit(STREAM, 'text = "text"', 'text = "id"')),
    "the size": ("image folders", edit(STREAM, "size = 4", "size = 5")),
    "one table for both": ("answers", edit(STREAM, 'test = "test.jsonl"', 'test = "train.jsonl"')),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_changed_is_noticed(
    what: str, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, change = CHANGES[what]
    path = KINDS[kind](tmp_path)
    before = content(loaded(path))
    change(tmp_path)
    after = content(loaded(path))
    assert after != before
    monkeypatch.setenv("BENCH_CACHE", "off")
    assert content(loaded(path)) == after


def test_words_around_texts_are_no_part_of_the_rows(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = texts(tmp_path)
    before = loaded(path)
    edit(STREAM, "[table]", '[table]\ninstruction = "Sort."\nmetric = "first-letter"')(tmp_path)
    sources_closed(monkeypatch)
    (task, *_) = loaded(path).tasks
    assert (task.wording.instruction, task.metric) == ("Sort.", "first-letter")
    assert task.train.inputs == before.tasks[0].train.inputs


def test_errors_are_reported_each_time_and_the_rows_beside_them_are_not_kept(
    cache: Path, tmp_path: Path
) -> None:
    path = image_table(tmp_path)
    (tmp_path / "photos" / "9.png").write_bytes(b"no picture")
    (tmp_path / "photos" / "11.png").unlink()
    reported = []
    for _ in range(2):
        with pytest.raises(InvalidData) as caught:
            loaded(path)
        reported.append([one.line for one in caught.value.errors])
        assert not list(cache.rglob("places.npy"))
    assert reported[0] == reported[1] and len(reported[0]) == 2
    assert "row 10: not a readable image" in reported[0][0]
    assert "row 12: the image does not exist" in reported[0][1]
    save(tmp_path / "photos" / "9.png", 9)
    save(tmp_path / "photos" / "11.png", 11)
    assert len(loaded(path).tasks) == 2 and list(cache.rglob("places.npy"))


def test_a_file_name_that_is_no_text_is_kept(cache: Path, tmp_path: Path) -> None:
    path = folders(tmp_path)
    name = os.fsdecode(b"\xff.png")
    (tmp_path / "photos/train/a/0.png").rename(tmp_path / "photos/train/a" / name)
    for _ in range(2):
        assert any(f"train/a/{name}" in task.train.ids for task in loaded(path).tasks)


def hub_stream(folder: Path) -> Path:
    part = '[[tasks]]\nname = "news"\nsource = { hub = "owner/news" }\n'
    return write(folder, HEAD + part + 'columns = { text = "t", label = "l" }\n' + SMOKE)


def hub_files(folder: Path, mark: str = "") -> None:
    import pyarrow
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        table = pyarrow.table({"t": [f"{split}{mark} {n}" for n in range(3)], "l": ["a", "b", "a"]})
        pyarrow.parquet.write_table(table, folder / f"{split}.parquet")


@pytest.mark.parametrize("offline", [False, True])
def test_a_set_of_the_hub_is_read_once_a_commit_or_a_state_of_its_files(
    offline: bool, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    commit, downloads, reads = ["1" * 40], [], []
    monkeypatch.setattr(Hub, "commit", lambda *_: None if offline else commit[0])

    def download(*_: Any) -> dict[str, Any]:
        downloads.append(commit[0])
        folder = tmp_path / commit[0]
        files = {split: folder / f"{split}.parquet" for split in ("train", "test")}
        if not folder.exists():
            hub_files(folder, commit[0][0])
        return {
            split: datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "datasets"))
            for split, path in files.items()
        }

    from_hub = table_files.from_hub
    monkeypatch.setattr(Hub, "_download", download)
    monkeypatch.setattr(
        "benchmark.data.part_sources.from_hub", lambda *all, **more: reads.append(1) or from_hub(*all, **more)
    )
    path = hub_stream(tmp_path)
    for number in "1122":
        commit[0] = number * 40
        stream = loaded(path)
        assert stream.tasks[0].train.inputs[0] == f"train{number} 0"
        assert stream.revisions == ({} if offline else {"owner/news": commit[0]})
    # Two splits of two commits; offline, `datasets` is asked each time for its files.
    assert len(reads) == 4 and (offline or len(downloads) == 2)


def test_a_copy_of_a_set_of_the_hub_is_known_by_its_content(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "hub" / "owner" / "news" / "default"
    hub_files(copy)
    path = hub_stream(tmp_path)
    before = content(loaded(path, data_dir=tmp_path))
    with monkeypatch.context() as patch:
        sources_closed(patch)
        patch.setattr("benchmark.data.hub.from_parquet", None)
        assert content(loaded(path, data_dir=tmp_path)) == before
    hub_files(copy, "!")
    assert content(loaded(path, data_dir=tmp_path)) != before


def test_a_hub_out_of_reach_is_asked_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(*_: Any) -> None:
        asked.append(1)
        raise UserError("no route")

    monkeypatch.setattr(Hub, "commit", refuse)
    with pytest.raises(InvalidData, match="no route"):
        loaded(hub_stream(tmp_path))
    assert asked == [1]


RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["one", "two"]),
        st.sampled_from(["train", "validation", "test"]),
        st.sampled_from(TOPICS),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    ),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(RECORDS)
def test_rows_are_put_in_order_by_task_and_split_and_lose_nothing(
    drawn: list[tuple[str, str, str, str]],
) -> None:
    # Every task has a row of every class in train and in test, so that nothing is wrong with it.
    whole = [
        (task, split, label, "?")
        for task in ("one", "two")
        for split in ("train", "test")
        for label in TOPICS
    ]
    given_rows = [*drawn, *whole]
    part = RowsTable(
        source=RowSource(path="x.csv"), columns=Columns(text="t", label="l"), classes=tuple(TOPICS)
    )

    def build(arrays: row_cache.Arrays) -> None:
        gathered = PartRows(arrays, "text-classification", part)
        for number, (task, split, label, text) in enumerate(given_rows, 1):
            gathered.add(Record("x.csv", number, split, task, text, label, None, None))
        assert not list(gathered.finish(lambda: []))

    tasks = tasks_of(row_cache.in_memory(build), part)
    assert [task.name for task in tasks] == list(dict.fromkeys(row[0] for row in given_rows))
    for task in tasks:
        splits = {"train": task.train, "validation": task.validation, "test": task.test}
        for split, found in splits.items():
            expected = [row for row in given_rows if row[:2] == (task.name, split)]
            if found is None:
                assert not expected
                continue
            assert found.inputs == [text for *_, text in expected]
            assert found.labels.tolist() == [TOPICS.index(label) for _, _, label, _ in expected]
            assert found.ids == [f"{split}-{number}" for number in range(len(expected))]
