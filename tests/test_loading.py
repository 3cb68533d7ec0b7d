"""pytest tests/test_loading.py: what is cached changes no byte, and memory does not grow with the data."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data import image_decoding, prompts
from benchmark.data.batches import ImageRows, TokenRows
from benchmark.data.encoding import NOT_IN_TOKENS, resize_images, token_key, tokenizer_identity
from benchmark.data.fingerprint import fingerprint
from benchmark.data.images import ImageSettings, resize
from benchmark.data.load import load
from benchmark.data.mapped_rows import map_images
from benchmark.models.make import make_task_model
from benchmark.protocol import Protocol
from benchmark.registry import STREAMS
from benchmark.results import to_json
from benchmark.running.driver import run
from benchmark.running.plan import plan
from benchmark.stream import Examples, Request
from tests import tiny
from tests.image_files import save, split_folders
from tests.image_streams import by_class, loaded

ROOT = Path(__file__).resolve().parents[1]
SMALL = ["epochs=1", "train_limit=16", "test_limit=8"]
# For 250,000 rows more, mapped files counted: labels, row numbers and what sorts them; texts and tokens of
# these rows are 32 MB on the disk.
MOST_MEGABYTES_MORE = 20


def test_the_digits_of_committed_results_are_what_is_loaded():
    packed = ROOT / "leaderboards/results/digits/smoke.jsonl"
    runs = [json.loads(line) for line in packed.read_text().splitlines()] if packed.is_file() else []
    if not runs:
        pytest.skip("no results on digits are published yet")
    found = {run["provenance"]["data_fingerprint"] for run in runs if (run["order"], run["seed"]) == ("1", 0)}
    stream = STREAMS.load("digits")
    loaded = load(stream, Request("1", 0, stream.protocols["smoke"], None))
    assert found == {fingerprint(loaded.tasks)}


def results(stream: str, out: Path, backbone: str | None) -> dict[str, bytes]:
    """Run a small run and return all it wrote, less the times."""
    settings = [*SMALL, *(["source_length=24"] if backbone else [])]
    (outcome,) = run(
        plan("seq-lora", stream, backbone=backbone, settings=settings), out, None, 1, "cpu", False, print
    )
    assert outcome.error is None
    found = {}
    for path in sorted((out / stream).rglob("*.*")):
        data = path.read_bytes()
        if path.suffix == ".json":
            data = to_json({name: part for name, part in json.loads(data).items() if name != "timing"})
        found[str(path.relative_to(out))] = data
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stream", "kind"), [("digits", ""), ("standard-cl", "encoder"), ("superni", "seq2seq")]
)
def test_results_are_the_same_bytes_without_a_cache_with_a_cold_and_with_a_warm_one(
    stream, kind, tmp_path, monkeypatch, bench_data
):
    monkeypatch.setenv("BENCH_DATA", str(bench_data))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "no-repository"))
    backbone = str(tiny.folder(kind)) if kind else None
    found = []
    for number, place in enumerate(["off", str(tmp_path / "cache"), str(tmp_path / "cache")]):
        monkeypatch.setenv("BENCH_CACHE", place)
        if number == 2:
            # What is in the cache is not made again.
            monkeypatch.setattr(prompts, "encode_all", None)
        found.append(results(stream, tmp_path / f"out {number}", backbone))
    assert len(found[0]) == 2 and found[0] == found[1] == found[2]


@pytest.mark.parametrize("kind", ["encoder", "seq2seq", "causal"])
def test_tokens_are_made_before_the_loop_and_are_those_of_the_prompts(kind):
    protocol = tiny.protocol(kind)
    task_model = make_task_model(tiny.backbone(kind), tiny.tasks(kind), protocol)
    task = task_model.tasks[0]
    rows = task_model.encode(task, task.train)
    assert isinstance(rows, TokenRows)
    expected = prompts.encode_all(
        task_model.backbone.tokenizer, task, list(task.train.texts), protocol, open_ended=kind == "causal"
    )
    assert rows.prompts == expected and isinstance(rows.prompts[0], list)
    task_model.backbone.tokenizer = None
    batch = rows.batch([0, 3], training=True)
    assert len(batch) == 2


def test_a_token_key_changes_with_whatever_changes_tokens():
    task, other = tiny.tasks("seq2seq")[:2]
    base = tiny.protocol("seq2seq")
    identity = tokenizer_identity(tiny.backbone("seq2seq").tokenizer)

    def key(**changes):
        used = {"tokenizer": identity, "task": task, "examples": task.train, "protocol": base} | changes
        return token_key(**used)

    assert key() == key(protocol=base.model_copy(update={"epochs": 9, "rank": 7}))
    others = [
        key(tokenizer=tokenizer_identity(tiny.backbone("causal").tokenizer)),
        key(task=other),
        key(examples=task.test),
        key(protocol=base.model_copy(update={"prompt": "olora"})),
        key(protocol=base.model_copy(update={"source_length": 9})),
        key(protocol=base.model_copy(update={"target_length": 9})),
    ]
    assert len({tuple(found) for found in [*others, key()]}) == len(others) + 1
    assert set(Protocol.model_fields) >= NOT_IN_TOKENS


@pytest.mark.parametrize("shape", [(300, 8, 8), (300, 8, 8, 3), (300, 20, 20, 3)])
def test_images_are_resized_once_to_what_they_would_be_one_by_one(shape):
    images = np.random.RandomState(0).randint(0, 256, shape).astype(np.uint8)
    mapped = map_images([str(shape)], shape, lambda array: np.copyto(array, images))
    settings = ImageSettings(16)
    whole = resize(images, 16)
    for source in (images, mapped):
        rows = ImageRows(resize_images(source, 16), torch.zeros(len(images)), settings)
        batch = rows.batch([299, 0, 131])
        expected = (whole[[299, 0, 131]].float() / 255 - 0.5) / 0.5
        assert torch.equal(batch.inputs["pixel_values"], expected)
    assert resize_images(images, shape[1]) is images, "the right size is not copied"


def test_a_fingerprint_of_mapped_images_sees_pixels_and_order():
    images = np.arange(4 * 4, dtype=np.uint8).reshape(4, 2, 2)
    mapped = map_images(["four"], (4, 2, 2), lambda array: np.copyto(array, images))
    changed = map_images(["other"], (4, 2, 2), lambda array: np.copyto(array, images ^ 1))

    def printed(inputs):
        split = Examples(inputs, np.zeros(len(inputs), np.int64))
        return fingerprint([tiny.Task("t", split, split, classes=("a",))])

    order = np.array([1, 0, 2, 3])
    found = {printed(mapped), printed(changed), printed(mapped[order]), printed(mapped[order[:2]])}
    assert len(found) == 4
    assert printed(mapped) == printed(mapped[order][order])


def test_image_files_are_decoded_again_only_if_they_change(tmp_path, monkeypatch):
    root = split_folders(tmp_path / "cifar100", ["ant", "bee"]).parent
    fill, filled = image_decoding.fill, []

    def counted(array, *rest):
        filled.append(len(array))
        fill(array, *rest)

    monkeypatch.setattr(image_decoding, "fill", counted)
    prints = [fingerprint(loaded("cifar100", root, tasks=2).tasks) for _ in range(2)]
    # Two training and one test image of each of two classes.
    assert filled == [4, 2] and prints[0] == prints[1]
    save(root / "cifar100" / "train" / "bee" / "1.png", 77)
    changed = loaded("cifar100", root, tasks=2)
    assert filled == [4, 2, 4] and fingerprint(changed.tasks) != prints[0]
    assert by_class(changed) == {"ant": ([0, 0], [1]), "bee": ([10, 77], [11])}
    monkeypatch.setenv("BENCH_CACHE", "off")
    assert fingerprint(loaded("cifar100", root, tasks=2).tasks) == fingerprint(changed.tasks)


LOADER = """
import resource, sys
from pathlib import Path
from pydantic import BaseModel
from benchmark import stream
from benchmark.data import checks, splits
from benchmark.data.files import read_rows
from benchmark.data.fingerprint import fingerprint
from benchmark.models.make import make_task_model
from benchmark.data.parsed_rows import ParsedRow, contents, splits as by_split
from tests import tiny

class Line(BaseModel):
    id: str
    text: str
    label: int

path = Path(sys.argv[1])
backbone = tiny.backbone("encoder")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def rows():
    for number, line in read_rows(path, Line):
        yield ParsedRow("test" if number % 100 == 0 else "train", line.id, line.text, line.label)

found = by_split(["train", "test"], [contents(path)], rows)
task = stream.Task("many", found["train"], found["test"], classes=("a", "b"))
checks.check("many", [task])
task = splits.prepare(task, tiny.protocol("encoder", validation=0.1), 0)
printed = fingerprint([task])
task_model = make_task_model(backbone, [task], tiny.protocol("encoder", source_length=32))
encoded = task_model.encode(task, task.train)
batch = encoded.batch([0, len(encoded) - 1])
print(len(encoded), printed, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def rows_file(path: Path, count: int) -> Path:
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as lines:
        for row in range(count):
            text = f"the thing is very {tiny.SHAPES[row % 6]} and not {tiny.SHAPES[row % 5]} {row}"
            lines.write(json.dumps({"id": f"row-{row}", "text": text, "label": row % 2}) + "\n")
    return path


def peak(path: Path) -> tuple[str, int]:
    """Load, check, split and tokenise in a process of its own; return what it saw and its bytes more."""
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    count, printed, kilobytes = done.stdout.split()
    return f"{count} {printed}", int(kilobytes) * 1024


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_memory_does_not_grow_with_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    few, many = 50_000, 300_000
    _, small = peak(rows_file(tmp_path / "few.gz", few))
    path = rows_file(tmp_path / "many.gz", many)
    (cold, large), (warm, again) = peak(path), peak(path)
    assert cold == warm
    assert (max(large, again) - small) / 2**20 < MOST_MEGABYTES_MORE, (small, large, again)
