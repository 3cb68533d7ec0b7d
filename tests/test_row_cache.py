"""pytest tests/test_row_cache.py"""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.data import row_cache
from benchmark.data.mapped_rows import MappedImages, RaggedWriter, TextLists, Texts, TokenLists, map_images
from benchmark.data.parsed_rows import ParsedRow, contents, splits
from benchmark.data.row_cache import map_cached
from benchmark.errors import UserError

KEY = ["a key"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Builder:
    """Makes 0..9 in two blocks, and counts how often it is asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, arrays):
        self.calls += 1
        arrays.append("numbers", np.arange(4))
        arrays.append("numbers", np.arange(4, 10))
        arrays.append("none", np.zeros((0, 3), np.float32))


def opened(build, key=KEY):
    found = map_cached("things", key, build)
    assert found["numbers"].tolist() == list(range(10)) and found["none"].shape == (0, 3)
    return found


def entry(folder):
    (path,) = [path for path in (folder / "things").iterdir() if path.is_dir()]
    return path


def test_an_entry_is_built_once_and_then_mapped(folder):
    build = Builder()
    opened(build)
    again = opened(build)
    assert build.calls == 1
    owner = again["numbers"]
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert type(owner).__name__ == "mmap"
    opened(build, ["another key"])
    assert build.calls == 2
    row_cache.release(again["numbers"])
    assert again["numbers"].tolist() == list(range(10))
    # Files that anybody can read: numpy's own, and none that would need pickle.
    assert sorted(path.name for path in entry_files(folder)) == ["entry.json", "none.npy", "numbers.npy"]
    assert np.load(entry_files(folder)[-1], allow_pickle=False).tolist() == list(range(10))


def entry_files(folder):
    return sorted(sorted((folder / "things").glob("*/"), key=lambda path: path.name)[0].iterdir())


def cut(path):
    os.truncate(path / "numbers.npy", (path / "numbers.npy").stat().st_size - 1)


def flip(path):
    content = bytearray((path / "numbers.npy").read_bytes())
    content[-8] ^= 1
    (path / "numbers.npy").write_bytes(content)


def lose(path):
    (path / "none.npy").unlink()


def age(path):
    change(path, "version", 0)


def rename(path):
    change(path, "key", ["1", "a different key"])


def escape(path):
    facts = json.loads((path / "entry.json").read_text())["arrays"]
    (path.parent / "numbers.npy").write_bytes((path / "numbers.npy").read_bytes())
    change(path, "arrays", {"../numbers": facts["numbers"], "none": facts["none"]})


def change(path, name, value):
    manifest = json.loads((path / "entry.json").read_text())
    (path / "entry.json").write_text(json.dumps({**manifest, name: value}))


def garble(path):
    (path / "entry.json").write_text("{")


@pytest.mark.parametrize("damage", [cut, flip, lose, age, rename, escape, garble])
@pytest.mark.parametrize("always_hashed", [2**26, 0])
def test_what_is_damaged_is_built_again(folder, damage, always_hashed, monkeypatch):
    monkeypatch.setattr(row_cache, "ALWAYS_HASHED", always_hashed)
    build = Builder()
    opened(build)
    damage(entry(folder))
    opened(build)
    assert build.calls == 2
    opened(build)
    assert build.calls == 2


def test_a_copied_cache_is_as_good(folder):
    build = Builder()
    opened(build)
    for path in entry(folder).iterdir():
        os.utime(path, (1, 1))
    opened(build)
    assert build.calls == 1


def test_without_a_cache_arrays_are_made_in_memory(tmp_path, monkeypatch, caplog):
    build = Builder()
    monkeypatch.setenv("BENCH_CACHE", "off")
    assert row_cache.place() is None
    opened(build)
    opened(build)
    assert build.calls == 2
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "file" / "below"))
    with caplog.at_level("DEBUG", logger="benchmark.data.row_cache"):
        opened(build)
    assert build.calls == 3 and "made in memory" in caplog.text
    assert all(record.levelname == "DEBUG" for record in caplog.records)


def test_the_place_is_the_users_own_unless_named(monkeypatch, tmp_path):
    monkeypatch.delenv("BENCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert row_cache.place() == tmp_path / "continual-peft-bench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert row_cache.place() == tmp_path / ".cache" / "continual-peft-bench"


def test_an_error_while_building_leaves_nothing(folder):
    def fail(arrays):
        arrays.append("numbers", np.arange(3))
        raise ValueError("no more rows")

    with pytest.raises(ValueError, match="no more rows"):
        map_cached("things", KEY, fail)
    assert [path.suffix for path in (folder / "things").iterdir()] == [".lock"]
    opened(Builder())


def test_blocks_of_another_type_are_refused(folder, monkeypatch):
    def mix(arrays):
        arrays.append("numbers", np.arange(3))
        arrays.append("numbers", np.arange(3, dtype=np.int32))

    for place in (str(folder), "off"):
        monkeypatch.setenv("BENCH_CACHE", place)
        with pytest.raises(ValueError, match="holds rows of int64"):
            map_cached("things", KEY, mix)


SCRIPT = """
import os, sys, time
import numpy as np
from benchmark.data.row_cache import map_cached

def build(arrays):
    with open(sys.argv[1], "a") as log:
        log.write(f"{os.getpid()}\\n")
    arrays.append("numbers", np.arange(4))
    print("building", flush=True)
    time.sleep(float(sys.argv[2]))
    arrays.append("numbers", np.arange(4, 10))
    arrays.append("none", np.zeros((0, 3), np.float32))

print(int(map_cached("things", ["a key"], build)["numbers"].sum()), flush=True)
"""


def process(log, seconds):
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(log), str(seconds)], stdout=subprocess.PIPE)


@pytest.mark.slow
def test_two_processes_at_once_build_one_entry(folder, tmp_path):
    first = process(tmp_path / "log", 2)
    assert first.stdout.readline() == b"building\n"
    second = process(tmp_path / "log", 2)
    # 0 + 1 + ... + 9 = 45, from the one who built and from the one who waited.
    assert [one.communicate()[0].splitlines()[-1] for one in (first, second)] == [b"45", b"45"]
    assert len((tmp_path / "log").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_killed_builder_leaves_no_entry_and_the_next_one_builds_it(folder, tmp_path):
    killed = process(tmp_path / "log", 60)
    assert killed.stdout.readline() == b"building\n"
    waiting = process(tmp_path / "log", 0)
    time.sleep(0.2)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert waiting.communicate()[0].splitlines()[-1] == b"45"
    assert len((tmp_path / "log").read_text().splitlines()) == 2
    assert not list((folder / "things").glob(".*")), "what the killed one began is cleared away"
    build = Builder()
    opened(build)
    assert build.calls == 0


def made(rows, kind, writer):
    def build(arrays):
        out = RaggedWriter(arrays, "rows")
        for start in range(0, max(1, len(rows)), 3):
            writer(out)(rows[start : start + 3])

    found = map_cached("rows", [kind, json.dumps(rows)], build)
    return found["rows"], found["rows_offsets"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=9), st.data())
def test_mapped_texts_are_the_texts(rows, data):
    texts = Texts(*made(rows, "texts", lambda out: out.texts))
    assert texts == rows and rows == texts and list(texts) == rows and len(texts) == len(rows)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)) if rows else []
    picked = texts[np.array(chosen, np.int64)]
    assert list(picked) == [rows[row] for row in chosen]
    again = list(reversed(range(len(chosen))))
    assert list(picked[np.array(again, np.int64)]) == [rows[chosen[row]] for row in again]
    assert texts[1:-1] == rows[1:-1]
    assert (texts == [*rows, "one more"]) is False


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=4), max_size=9))
def test_mapped_tokens_are_the_tokens(rows):
    tokens = TokenLists(*made(rows, "tokens", lambda out: out.tokens))
    assert list(tokens) == rows and [tokens[row] for row in range(-len(rows), 0)] == rows
    with pytest.raises(IndexError):
        tokens[len(rows)]


def test_images_are_decoded_once_and_known_by_their_pixels(folder):
    calls = []

    def fill(array):
        calls.append(array.shape)
        array[:] = np.arange(3)[:, None, None]

    for _ in range(2):
        found = map_images(["three"], (3, 2, 2), fill)
    assert calls == [(3, 2, 2)] and found.shape == (3, 2, 2) and found.dtype == np.uint8
    assert found[np.array([2, 0])][:].tolist() == [[[2, 2], [2, 2]], [[0, 0], [0, 0]]]
    assert found[1].tolist() == [[1, 1], [1, 1]]
    picked = found[np.array([2, 0])][np.array([1])]
    assert isinstance(picked, MappedImages) and picked.digests.tolist() == found.digests[:1].tolist()
    assert len({image.tobytes() for image in found.digests}) == 3


def test_parsed_rows_come_back_by_split(folder, tmp_path):
    calls = []

    def rows():
        calls.append(1)
        for row in range(5):
            split = "test" if row % 2 else "train"
            yield ParsedRow(split, f"id {row}", f"text {row}", row, [f"a{row}", "ü"][: row % 3])

    for _ in range(2):
        found = splits(["train", "dev", "test"], ["five"], rows)
    assert len(calls) == 1 and list(found) == ["train", "dev", "test"]
    train, test = found["train"], found["test"]
    assert train.ids == ["id 0", "id 2", "id 4"] and test.inputs == ["text 1", "text 3"]
    assert train.labels.tolist() == [0, 2, 4] and isinstance(train.references, TextLists)
    assert train.references == [[], ["a2", "ü"], ["a4"]] and test.references == [["a1"], []]
    taken = train.take([2, 1])
    assert (taken.ids, taken.inputs) == (["id 4", "id 2"], ["text 4", "text 2"])
    assert taken.references == [["a4"], ["a2", "ü"]] and taken.labels.tolist() == [4, 2]
    assert train.texts == train.inputs and len(found["dev"]) == 0 and not found["dev"].ids

    path = tmp_path / "rows"
    path.write_text("one")
    before = contents(path)
    path.write_text("two")
    assert contents(path) != before
    with pytest.raises(UserError, match="missing does not exist"):
        contents(tmp_path / "missing")
