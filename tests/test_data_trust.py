"""Data are what they seem to be: nothing is lost, joined or scored without a word."""

from __future__ import annotations

import csv
import gzip
import io
import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from benchmark.data import files, toml_file
from benchmark.data.image_decoding import open_upright
from benchmark.data.names import in_order
from benchmark.errors import UserError
from benchmark.running.catalogue import load_stream
from benchmark.stream import Examples, Request, Task
from tests.image_files import save
from tests.test_stream_files import HEAD, PICTURES, SMOKE, TABLE, faults, loaded, photos, rows, write

NFC, NFD = "caf\u00e9", "cafe\u0301"


def png(image: PIL.Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


# --- images


def test_sixteen_bits_keep_their_higher_eight() -> None:
    # 0x1234 = 18 * 256 + 52 and 0xFFFF = 255 * 256 + 255; Pillow's own conversion makes 255 of both.
    grey = PIL.Image.fromarray(np.array([[0x1234, 0xFFFF]], np.uint16))
    assert np.asarray(open_upright(png(grey))).tolist() == [[[18] * 3, [255] * 3]]


def test_sixteen_bits_of_which_nothing_would_be_left_are_refused() -> None:
    # 3 and 200 are both 0 in the higher eight bits.
    with pytest.raises(UserError, match="of one colour once 8 of its 16 bits is all that is kept"):
        open_upright(png(PIL.Image.fromarray(np.array([[3, 200]], np.uint16))))


def test_transparency_is_laid_on_white() -> None:
    # A black stroke on transparent black: without its transparency the image is black throughout.
    drawing = np.zeros((1, 2, 4), np.uint8)
    drawing[0, 0, 3] = 255
    assert np.asarray(open_upright(png(PIL.Image.fromarray(drawing)))).tolist() == [[[0] * 3, [255] * 3]]
    drawing[..., :3] = 255  # a white stroke, of which nothing is left on white
    with pytest.raises(UserError, match="what lies on white is all that is kept"):
        open_upright(png(PIL.Image.fromarray(drawing)))


def test_cameras_rotation_marks_are_followed() -> None:
    # Orientation 6: the row that was saved first is the right column of what was seen.
    mark = PIL.Image.Exif()
    mark[0x0112] = 6
    image = PIL.Image.fromarray(np.array([[[1] * 3, [2] * 3], [[3] * 3, [4] * 3]], np.uint8))
    assert np.asarray(open_upright(png(image, exif=mark)))[..., 0].tolist() == [[3, 1], [4, 2]]


def test_what_lies_among_images_and_is_not_read_is_named(tmp_path: Path) -> None:
    photos(tmp_path, 2)
    path = write(tmp_path, PICTURES + SMOKE)
    assert loaded(path).notes == ()
    (tmp_path / "photos/train/c0/list.txt").write_text("0.png")
    (tmp_path / "photos/train/c0/.DS_Store").write_text("")
    assert loaded(path).notes == (
        f"{tmp_path}/photos/train/c0: 1 file ending in .txt not read; "
        "read are: .png, .jpg, .jpeg, .bmp, .webp",
    )
    # Now that the images are in the cache, pictures that are not read are as much a fault as before.
    for name in ("c0/1.tif", "c0/2.tif", "c1/3.GIF"):
        save(tmp_path / "photos/train" / name, 9)
    save(tmp_path / "photos/test/4.png", 9)
    for _ in range(2):
        reported = [line.removeprefix(f"{tmp_path}/photos/").partition("; ")[0] for line in faults(path)]
        assert reported == [
            "test: 1 file ending in .png not read",
            "train/c0: 2 files ending in .tif not read",
            "train/c1: 1 file ending in .gif not read",
        ]


# --- names


def test_numbers_are_in_the_order_of_their_values(tmp_path: Path) -> None:
    assert in_order(["10", "9", "-1", "2.5"]) == ["-1", "2.5", "9", "10"]
    assert in_order(["10", "9", "x"]) == ["10", "9", "x"] and in_order(["10", "nan"]) == ["10", "nan"]
    lines = [f"a,{split},text {split} {n},{n},{split}{n}" for split in ("train", "test") for n in (10, 9, 1)]
    rows(tmp_path, "task,split,text,label,id", *lines)
    assert loaded(write(tmp_path, HEAD + TABLE + SMOKE)).tasks[0].classes == ("1", "9", "10")


def labelled(folder: Path, label: object, first: object = "x") -> Path:
    """A stream of JSON Lines of which row 2 has a label."""
    values = [first, label, first]
    lines = [
        json.dumps({"task": "a", "split": split, "text": f"t {n}", "label": values[n], "id": str(n)})
        for n, split in enumerate(("train", "train", "test"))
    ]
    rows(folder, *lines, name="tickets.jsonl")
    return write(folder, HEAD + TABLE.replace(".csv", ".jsonl") + SMOKE)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (["red", "urgent"], "the column 'label' holds ['red', 'urgent'] where one name belongs"),
        (["red"], "the column 'label' holds a list where one name belongs; write 'red' instead of ['red']"),
        (
            {"id": 1, "name": "red"},
            "the column 'label' holds {'id': 1, 'name': 'red'} where one name belongs",
        ),
        (float("nan"), "nothing in the column 'label'"),
        (None, "nothing in the column 'label'"),
    ],
)
def test_a_label_is_one_name(label: object, words: str, tmp_path: Path) -> None:
    assert f"{tmp_path}/tickets.jsonl, row 2: {words}" in faults(labelled(tmp_path, label))


@pytest.mark.parametrize("name", ["NA", "null", "None", "nan", "0"])
def test_text_is_text(name: str, tmp_path: Path) -> None:
    lines = [
        f"a,{split},{name},{label},{n}" for n, split in enumerate(("train", "test")) for label in (name, "x")
    ]
    rows(tmp_path, "task,split,text,label,id", *[f"{line}{k}" for k, line in enumerate(lines)])
    (task,) = loaded(write(tmp_path, HEAD + TABLE + SMOKE)).tasks
    assert set(task.classes) == {name, "x"} and list(task.train.inputs) == [name, name]


def test_labels_that_only_unicode_tells_apart_are_explained(tmp_path: Path) -> None:
    assert NFC != NFD and unicodedata.normalize("NFC", NFD) == NFC
    (line, *_) = faults(labelled(tmp_path, NFD, NFC))
    reported = (
        f"row 2: the label '{NFD}' differs only by how Unicode writes it (NFC makes both equal) from '{NFC}'"
    )
    assert reported in line
    path = labelled(tmp_path, NFD, NFC)
    path.write_text(path.read_text(encoding="utf-8").replace("[protocol", f'classes = ["{NFC}"]\n[protocol'))
    assert any(reported in line for line in faults(path))


def test_a_class_that_is_no_text_is_refused_by_the_check() -> None:
    from benchmark.data.checks import validation_errors

    part = Examples(["a"], np.array([0]), None, ["1"])
    (error,) = validation_errors([Task("t", part, part, classes=(float("nan"),))])  # type: ignore[arg-type]
    assert error.line == "t: the class nan is no text; read labels as text"


def test_the_stream_of_the_readme_reads_the_labels_NA_and_None(tmp_path: Path) -> None:
    from tests.command import ROOT
    from tests.printed import code

    text = "task,split,text,label\n" + "".join(
        f"a,{split},{label} is null,{label}\n" for split in ("train", "test") for label in ("NA", "None")
    )
    (tmp_path / "tickets.csv").write_text(text)
    namespace: dict[str, Any] = {}
    exec(code(ROOT / "docs/how-to/own-text.md", "tickets"), namespace)
    stream = namespace["STREAM"]
    (task,) = stream.load(Request("file", 0, stream.protocols["smoke"], tmp_path)).tasks
    assert task.classes == ("NA", "None") and task.train.inputs == ["NA is null", "None is null"]


# --- tables


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    rows(tmp_path, "task,split,text,text,label,id", "a,train,1,2,x,3")
    assert faults(write(tmp_path, HEAD + TABLE + SMOKE)) == [
        f"{tmp_path}/tickets.csv: 2 columns are called 'text'"
    ]
    path = labelled(tmp_path, "x")
    table = tmp_path / "tickets.jsonl"
    table.write_text(table.read_text().replace('"id": "1"', '"id": "1", "text": "again"'))
    (line,) = faults(path)
    assert line.endswith("tickets.jsonl, row 2 is not JSON: ValueError: the key 'text' is there twice")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"task;split;text;label;id\n", "it seems to be separated by ';'; save it as .csv with commas"),
        ("task,split,text,label,id\na,train,caf\u00e9,x,1".encode("latin1"), "save it as UTF-8"),
        ("task,split,text,label,id\n".encode("utf-16"), "save it as UTF-8"),
    ],
)
def test_another_separator_or_encoding_is_reported_with_what_to_do(
    content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / "tickets.csv").write_bytes(content)
    (line,) = faults(write(tmp_path, HEAD + TABLE + SMOKE))
    assert words in line


def test_a_name_that_no_file_can_have_is_reported_with_its_row(tmp_path: Path) -> None:
    save(tmp_path / "1.png", 1)
    lines = ["a,train,1.png,x", "a,test,1\0.png,x"]
    rows(tmp_path, "task,split,image,label", *lines)
    columns = 'columns = { task = "task", split = "split", image = "image", label = "label" }'
    part = f'[table]\nsource = {{ path = "tickets.csv" }}\n{columns}\n'
    reported = faults(write(tmp_path, HEAD.replace("text-classification", "image") + part + SMOKE))
    assert f"{tmp_path}/tickets.csv, row 2: '1\\x00.png' names no file" in reported


# --- limits


def test_a_row_is_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LONGEST_ROW", 100)
    path = labelled(tmp_path, "y" * 200)
    reported = "after row 1: a line of more than 100 characters; rows that long are not read"
    assert any(reported in line for line in faults(path))
    rows(tmp_path, "task,split,text,label,id", f"a,train,{'y' * 200},x,1")
    assert any(
        "a line of more than 100 characters" in line for line in faults(write(tmp_path, HEAD + TABLE + SMOKE))
    )


def test_a_quote_that_is_never_closed_ends_at_the_limit(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    try:
        csv.field_size_limit(10)
        with pytest.raises(csv.Error, match="field larger"):
            list(csv.reader(['"abcdef\n'] * 5))
    finally:
        csv.field_size_limit(before)
    rows(tmp_path, "task,split,text,label,id", 'a,train,"open,x,1')
    (line,) = faults(write(tmp_path, HEAD + TABLE + SMOKE))
    assert "cannot be read as text in columns" in line


def test_unpacking_stops_at_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_UNPACKED", 1000)
    monkeypatch.setattr(files, "MOST_TIMES", 5)
    line = json.dumps({"task": "a", "split": "train", "text": "t", "label": "x", "id": "1"}) + "\n"
    (tmp_path / "tickets.jsonl.gz").write_bytes(gzip.compress(line.encode() * 1000))
    path = write(tmp_path, HEAD + TABLE.replace(".csv", ".jsonl.gz") + SMOKE)
    # 1000 rows of 70 characters are far more than 5 times what they are packed in, and than 1000.
    assert any("it unpacks to more than" in line and "5 times its size" in line for line in faults(path))


def test_arrays_larger_than_the_memory_are_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    np.savez_compressed(tmp_path / "a.npz", zeros=np.zeros(10_000))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 1000}))
    with pytest.raises(UserError, match=r"it unpacks to 80,\d+ bytes, and the memory has 1,000"):
        files.read_arrays(tmp_path / "a.npz", {"zeros": ("f", 1)})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = " + "[" * 100_000, "its values are nested too deeply"),
        ("x = " + "9" * 5000, "is not TOML: Exceeds the limit (4300 digits)"),
        ("x = '" + "y" * toml_file.LONGEST + "'", "holds more than 1,048,576 characters, and is not read"),
    ],
)
def test_a_file_of_toml_is_limited(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        load_stream(str(write(tmp_path, text)))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_label_of_many_digits_is_no_number_of_a_class(tmp_path: Path) -> None:
    import datasets

    folder = tmp_path / "hub" / "o" / "n" / "default"
    folder.mkdir(parents=True)
    features = datasets.Features({"t": datasets.Value("string"), "l": datasets.ClassLabel(names=["x", "y"])})
    for split in ("train", "test"):
        data = datasets.Dataset.from_dict({"t": ["a"], "l": [0]}, features)
        data.to_parquet(str(folder / f"{split}.parquet"))
    part = '[[tasks]]\nname = "n"\nsource = { hub = "o/n" }\ncolumns = { text = "t", label = "l" }\n'
    (task,) = loaded(write(tmp_path, HEAD + part + SMOKE), data_dir=tmp_path).tasks
    assert task.classes == ("x",)
