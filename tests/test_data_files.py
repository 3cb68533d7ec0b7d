"""pytest tests/test_data_files.py"""

import gzip
import json

import numpy as np
import pytest
from pydantic import BaseModel, ConfigDict

from benchmark.data import files as data_files
from benchmark.data.load import load
from benchmark.errors import UserError
from benchmark.stream import Request
from tasks import omniglot
from tasks.sources.images import read_images


class Line(BaseModel):
    model_config = ConfigDict(strict=True)
    id: str
    text: str
    outputs: list[str] = []


GOOD = {"id": "a", "text": "one\u2028line"}


def write(path, *lines: str):
    path.write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode()))
    return path


def fails(call, *parts: str) -> str:
    """Return the message of a UserError that is one line and names all parts."""
    with pytest.raises(UserError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message, message
    return message


def read(path):
    return list(data_files.read_rows(path, Line))


def test_rows_come_with_their_line_numbers_and_keep_unicode_line_breaks(tmp_path):
    path = write(tmp_path / "a.gz", json.dumps(GOOD, ensure_ascii=False), json.dumps({**GOOD, "id": "b"}))
    assert [(number, row.id, row.text) for number, row in read(path)] == [
        (1, "a", "one\u2028line"),
        (2, "b", "one\u2028line"),
    ]


@pytest.mark.parametrize(
    ("second", "part"),
    [
        ("{not json", "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("1" * 5000, "not JSON"),
        (r'{"id": "\ud800", "text": "x"}', "surrogates"),
        (json.dumps({"id": "b"}), "text: Field required"),
        (json.dumps({"id": 5, "text": "x"}), "id: Input should be a valid string"),
        (json.dumps({"id": "b", "text": "x", "outputs": ["y", None]}), "outputs.1"),
        (json.dumps(["id", "text"]), "row 2"),
        ("null", "row 2"),
    ],
)
def test_a_bad_row_is_named(tmp_path, second, part):
    path = write(tmp_path / "rows.jsonl.gz", json.dumps(GOOD), second)
    fails(lambda: read(path), "rows.jsonl.gz, row 2", part)


def test_missing_empty_truncated_and_plain_files_are_named(tmp_path):
    fails(lambda: read(tmp_path / "gone.gz"), "gone.gz", "does not exist")
    fails(lambda: read(write(tmp_path / "empty.gz")), "empty.gz", "no rows")
    blank = tmp_path / "blank.gz"
    blank.write_bytes(b"")
    fails(lambda: read(blank), "blank.gz", "no rows")
    whole = gzip.compress((json.dumps(GOOD) + "\n").encode() * 2000)
    cut = tmp_path / "cut.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    fails(lambda: read(cut), "cut.gz", "cut off")
    plain = tmp_path / "plain.gz"
    plain.write_text(json.dumps(GOOD))
    fails(lambda: read(plain), "plain.gz", "not gzip'd")
    flipped = bytearray(whole)
    flipped[40] ^= 255
    broken = tmp_path / "broken.gz"
    broken.write_bytes(bytes(flipped))
    fails(lambda: read(broken), "broken.gz")
    latin = tmp_path / "latin.gz"
    latin.write_bytes(gzip.compress(b'{"id": "\xe9", "text": "x"}\n'))
    fails(lambda: read(latin), "latin.gz")


def test_json_errors_are_named(tmp_path):
    path = tmp_path / "t.json"
    fails(lambda: data_files.read_json(path, Line), "t.json")
    path.write_text("{")
    fails(lambda: data_files.read_json(path, Line), "t.json is not JSON")
    path.write_text('{"id": "a"}')
    fails(lambda: data_files.read_json(path, Line), "t.json", "text")


def test_arrays_are_read_without_pickle_and_checked(tmp_path):
    path = tmp_path / "a.npz"
    wanted = {"x": ("iu", 1)}
    fails(lambda: data_files.read_arrays(path, wanted), "a.npz does not exist")
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    fails(lambda: data_files.read_arrays(path, wanted), "a.npz", "pickle")
    np.savez(path, y=np.arange(3))
    fails(lambda: data_files.read_arrays(path, wanted), "no array 'x'")
    np.savez(path, x=np.zeros(3))
    fails(lambda: data_files.read_arrays(path, wanted), "'x' is float64")
    np.savez(path, x=np.arange(6).reshape(2, 3))
    fails(lambda: data_files.read_arrays(path, wanted), "2 dimensions")
    np.savez(path, x=np.arange(3))
    assert data_files.read_arrays(path, wanted)["x"].tolist() == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:100])
    fails(lambda: data_files.read_arrays(path, wanted), "a.npz")
    path.write_bytes(b"")
    fails(lambda: data_files.read_arrays(path, wanted), "a.npz")
    with path.open("wb") as file:
        np.save(file, np.arange(3))
    fails(lambda: data_files.read_arrays(path, wanted), "a.npz")


def pictures(folder, **changed):
    arrays = {
        "train_images": np.zeros((4, 2, 2), np.uint8),
        "train_labels": np.array([0, 1, 0, 1]),
        "test_images": np.zeros((2, 2, 2), np.uint8),
        "test_labels": np.array([0, 1]),
    }
    np.savez(folder / "p.npz", **{**arrays, **changed})
    (folder / "p.json").write_text(json.dumps({"class_names": ["a", "b"]}))
    return lambda: read_images(folder / "p.npz", folder / "p.json", dimensions=3)


def test_image_and_label_errors_are_named(tmp_path):
    assert len(pictures(tmp_path)().train) == 4
    fails(pictures(tmp_path, train_labels=np.array([0, 1, 0])), "p.npz", "4 train images but 3 train labels")
    fails(pictures(tmp_path, test_labels=np.array([0, 2])), "p.npz: test row 1 has the label 2")
    fails(pictures(tmp_path, test_labels=np.array([-1, 1])), "p.npz: test row 0 has the label -1")
    fails(pictures(tmp_path, train_images=np.zeros((4, 2, 2))), "'train_images' is float64")
    fails(pictures(tmp_path, train_images=np.zeros((4, 2, 2), np.uint16)), "uint16")
    fails(pictures(tmp_path, train_images=np.zeros((4, 2, 2, 3), np.uint8)), "4 dimensions")


def test_two_image_classes_of_one_name_are_told_apart_or_refused(tmp_path):
    read_all = pictures(tmp_path)
    (tmp_path / "p.json").write_text(json.dumps({"class_names": ["crane", "crane"], "wnids": ["n1", "n2"]}))
    assert read_all().names == ("crane (n1)", "crane (n2)")
    (tmp_path / "p.json").write_text(json.dumps({"class_names": ["crane", "crane"]}))
    fails(read_all, "p.json", "alike")


def test_without_a_data_folder_the_message_says_both_ways(tmp_path, monkeypatch):
    for folder in (None, tmp_path):
        request = Request("1", 0, omniglot.SMOKE, folder)
        ways = ("--data-dir", "BENCH_DATA", "omniglot32.npz")
        fails(lambda request=request: omniglot.STREAM.load(request), *ways)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert data_files.data_dir(None) == tmp_path
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "gone"))
    fails(lambda: data_files.data_dir(None), "gone", "BENCH_DATA")
    fails(lambda: data_files.data_dir(tmp_path / "other"), "other", "--data-dir")
    monkeypatch.delenv("BENCH_DATA")
    assert data_files.data_dir(None) is None


def test_a_stream_reads_the_folder_that_the_variable_names(bench_data, monkeypatch):
    monkeypatch.setenv("BENCH_DATA", str(bench_data))
    assert len(load(omniglot.STREAM, Request("1", 0, omniglot.SMOKE, None)).tasks) == 10
