"""`bench data verify` reports all that is wrong with images at once, each error in a line with its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.image_files import save, split_folders
from tests.test_benchmark_layouts import dump
from tests.test_stream_files import IMAGE_SMOKE, PICTURES, photos, write
from tests.verified import assert_reported, refused, verified


def archive(folder: Path, arrays: dict[str, Any], names: object, stem: str) -> None:
    (folder / "vision").mkdir(exist_ok=True)
    np.savez(folder / "vision" / f"{stem}.npz", **arrays)
    dump(folder / "vision" / f"{stem}.json", names)


@pytest.mark.parametrize(("name", "colours"), [("omniglot", ()), ("tiny-imagenet", (3,))])
def test_images_in_arrays(tmp_path: Path, name: str, colours: tuple[int, ...]) -> None:
    stem = {"omniglot": "omniglot32", "tiny-imagenet": "tinyimagenet100_32"}[name]
    if name == "omniglot":
        alphabets = ("Greek", "Latin", "Tagalog", "Early_Aramaic")
        names = [f"{alphabet}/character{n}" for alphabet in alphabets for n in range(3)]
    else:
        names = [f"c{n}" for n in range(12)]
    count = len(names)
    random = np.random.RandomState(0)
    arrays: dict[str, Any] = {}
    for split, copies in (("train", 2), ("test", 1)):
        shape = (count * copies, 32, 32, *colours)
        arrays[f"{split}_images"] = random.randint(0, 256, shape).astype(np.uint8)
        arrays[f"{split}_labels"] = np.arange(count * copies) % count
    arrays["train_labels"][[3, 5]] = count, -1
    arrays["test_labels"][7] = 99
    archive(tmp_path, arrays, {"class_names": names}, stem)
    reported = f"vision/{stem}.npz: {{}} row {{}} has the label {{}}, not one of 0 to {count - 1}"
    lines = verified(name, tmp_path, "--set", "tasks=2")
    assert_reported(
        [line for line in lines if "no rows of the class" not in line],
        reported.format("train", 3, count),
        reported.format("train", 5, -1),
        reported.format("test", 7, 99),
    )
    (line,) = [line for line in lines if "no rows of the class" in line]
    assert line.endswith(f"test: no rows of the class '{names[7]}'")
    del arrays["train_labels"]
    arrays["test_images"] = arrays["test_images"].astype(np.float32)
    archive(tmp_path, arrays, {"class_nams": names}, stem)
    assert_reported(
        verified(name, tmp_path),
        f"vision/{stem}.json: class_names: Field required",
        f"vision/{stem}.npz has no array 'train_labels'",
        f"vision/{stem}.npz: 'test_images' is float32",
    )


def test_image_folders(tmp_path: Path) -> None:
    small = ("--set", "tasks=2", "--set", "size=8")
    root = split_folders(tmp_path / "imagenet-a", ["ant", "bee", "cat", "dog", "eel", "fox"])
    (root / "train/ant/1.png").write_bytes(b"GIF89a")
    (root / "test/bee/0.png").write_bytes(b"")
    (root / "test/cat/0.png").unlink()
    save(root / "test/gnu/0.png", 1)
    (root / "train/dog").rename(root / "train/Eel")
    assert_reported(
        verified("imagenet-a", tmp_path, *small),
        "imagenet-a: the class names Eel and eel differ in nothing but case",
        "imagenet-a: the class Eel has no test images",
        "imagenet-a: the class cat has no test images",
        "imagenet-a: the class dog is in test and has no training images",
        "imagenet-a: the class gnu is in test and has no training images",
        "imagenet-a/train/ant/1.png, row 3: not a readable image",
        "imagenet-a/test/bee/0.png, row 1: not a readable image",
    )
    said = refused("imagenet-a", tmp_path, tasks=2, size=8)
    assert said.startswith(f"{root}: the class names Eel and eel")
    for path in (root / "test").rglob("*.png"):
        path.unlink()
    assert_reported(
        [line for line in verified("imagenet-a", tmp_path, *small) if "differ" not in line],
        "imagenet-a: the test split holds no images",
        "imagenet-a/train/ant/1.png, row 3: not a readable image",
    )


def test_the_archive_of_tiny_imagenet(tmp_path: Path) -> None:
    root = tmp_path / "tiny-imagenet-200"
    wnids = [f"n{n:08}" for n in range(4)]
    for n, wnid in enumerate(wnids):
        save(root / "train" / wnid / "images" / "0.JPEG", 10 * n)
        save(root / "val" / "images" / f"{n}.JPEG", 10 * n + 100)
    (root / "wnids.txt").write_text("\n".join(wnids), encoding="utf-8")
    lines = [f"{n}.JPEG\t{wnid}\t0 0 1 1" for n, wnid in enumerate(wnids)]
    lines[1] = lines[1].replace("n0", "m0")
    lines[2] = "2.JPEG"
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines), encoding="utf-8")
    (root / "train" / wnids[0] / "images" / "0.JPEG").write_bytes(b"no picture")
    (root / "val" / "images" / "3.JPEG").unlink()
    assert_reported(
        verified("tiny-imagenet", tmp_path, "--set", "classes=200", "--set", "tasks=2", "--set", "size=8"),
        "tiny-imagenet-200/val/val_annotations.txt, row 2: m00000001 is not in wnids.txt",
        "tiny-imagenet-200/val/val_annotations.txt, row 3: 1 fields, not 3",
        "tiny-imagenet-200: the class n00000001 has no test images",
        "tiny-imagenet-200: the class n00000002 has no test images",
        "tiny-imagenet-200/train/n00000000/images/0.JPEG, row 0: not a readable image",
        "tiny-imagenet-200/val/images/3.JPEG, row 1: the image does not exist",
    )


def test_a_stream_of_image_folders(tmp_path: Path) -> None:
    photos(tmp_path)
    (tmp_path / "photos/train/c1/broken.jpg").write_bytes(b"no picture")
    (tmp_path / "photos/test/c3/0.png").write_bytes(b"")
    (tmp_path / "photos/test/c4/0.png").unlink()
    (tmp_path / "photos/train/c5").mkdir()
    (tmp_path / "photos/train/.thumbnails").mkdir()
    save(tmp_path / "photos/train/.thumbnails/0.png", 1)
    save(tmp_path / "photos/test/C0/0.png", 1)
    save(tmp_path / "photos/test/c9/0.png", 2)
    path = write(tmp_path, PICTURES + IMAGE_SMOKE)
    lines = verified(path, None)
    # Each of these images is one colour throughout, the same in train and in test.
    assert_reported(
        [line for line in lines if "also in test" not in line],
        "photos/train/c1/broken.jpg: not a readable image",
        "photos/test/c3/0.png: not a readable image",
        "photos: the class 'c5' has no images",
        "photos/test/C0/0.png: the label 'C0' is that of no training row",
        "photos/test/c9/0.png: the label 'c9' is that of no training row",
        "photos/test/C0/0.png: the label 'C0' differs only by case from 'c0'",
        "Photos, test: photos: no test rows of the class 'c3'",
        "Photos, test: photos: no test rows of the class 'c4'",
    )
    assert len(lines) > 8
    (tmp_path / "photos/test").rename(tmp_path / "photos/tset")
    assert_reported(
        verified(path, None),
        "photos/train/c1/broken.jpg: not a readable image",
        "photos has no folder 'test'; it has: train, tset",
        "photos: the class 'c5' has no images",
    )
