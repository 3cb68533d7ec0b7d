"""Samples that published results stand on: found by content in any copy of the whole set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.errors import UserError
from tasks.cifar100 import WHOLE
from tasks.sources import image_samples

NAMES = ("apple", "bear")
IMAGES = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), np.uint8)


def write_set(root: Path, images: np.ndarray = IMAGES) -> None:
    """Write six images of either class, three a split, under names that say nothing of their order."""
    for number, picture in enumerate(images):
        split, name = ("train", "test")[number % 2], NAMES[number // 6]
        path = root / "cifar100" / split / name / f"{(7 * number) % 12:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """List a sample: of the train split 8, 0 and 2, of the test split 9 and 1, in this order."""
    rows = {"train": [8, 0, 2], "test": [9, 1]}
    lists = {
        split: np.array([image_samples.digest(IMAGES[i], NAMES[i // 6]) for i in places], np.uint64)
        for split, places in rows.items()
    }
    np.savez(tmp_path / "small.npz", **lists)
    monkeypatch.setattr(image_samples, "LISTS", tmp_path)
    return tmp_path


def test_the_rows_are_found_wherever_they_lie_and_written_in_the_order_of_the_list(chosen: Path) -> None:
    write_set(chosen)
    lines: list[str] = []
    path = image_samples.write_sample(WHOLE.find(chosen), "small", 32, chosen / "to", lines.append)
    assert lines == ["train: looking for 3 images among 6", "test: looking for 2 images among 6"]
    found = np.load(path)
    assert path == chosen / "to/vision/small.npz"
    assert np.array_equal(found["train_images"], IMAGES[[8, 0, 2]])
    assert np.array_equal(found["test_images"], IMAGES[[9, 1]])
    # Rows 0 to 5 are apples, 6 to 11 bears.
    assert found["train_labels"].tolist() == [1, 0, 0] and found["test_labels"].tolist() == [1, 0]
    assert json.loads(path.with_suffix(".json").read_text()) == {"class_names": list(NAMES)}
    assert not list(path.parent.glob("*partial*"))


def test_a_set_that_lacks_rows_of_the_sample_is_refused(chosen: Path) -> None:
    write_set(chosen, np.where(np.arange(12)[:, None, None, None] == 2, IMAGES ^ 1, IMAGES))
    with pytest.raises(UserError, match=r"1 of the 3 train images of the sample are not in"):
        image_samples.write_sample(WHOLE.find(chosen), "small", 32, chosen / "to")
    assert not (chosen / "to").exists()


def test_the_published_list_is_of_the_sample_that_results_stand_on(bench_data: Path) -> None:
    folder = bench_data / "vision"
    arrays = np.load(folder / "cifar100_32.npz")
    names = json.loads((folder / "cifar100_32.json").read_text())["class_names"]
    listed = np.load(image_samples.LISTS / "cifar100_32.npz")
    for split in ("train", "test"):
        rows = zip(arrays[f"{split}_images"], arrays[f"{split}_labels"], strict=True)
        assert [image_samples.digest(pixels, names[label]) for pixels, label in rows] == listed[
            split
        ].tolist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digits", "--to", "there"], "of the stream 'digits' no sample is published"),
        (["cifar100", "--to", "."], "is the folder of the whole set"),
        (["cifar100", "--to", "there"], "cannot load uoft-cs/cifar100"),
    ],
)
def test_what_cannot_be_sampled_gets_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = CliRunner().invoke(app, ["data", "sample", *words, "--data-dir", str(tmp_path)])
    assert done.exit_code != 0 and message in done.stderr and done.stderr.count("\n") == 1
