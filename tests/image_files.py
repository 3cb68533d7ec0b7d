"""Small image folders and tables in exactly the formats that people have on disk; an image has one colour."""

from __future__ import annotations

import io
from pathlib import Path

import datasets
import numpy as np
import PIL.Image


def image(colour: int, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> PIL.Image.Image:
    """An image of `size` (width, height) whose red channel, or grey, is `colour`."""
    value = colour if mode == "L" else (colour, 50, 200)
    return PIL.Image.new(mode, size, value)


def encoded(colour: int, size: tuple[int, int] = (8, 6), mode: str = "RGB") -> bytes:
    """The image as PNG, which keeps every pixel."""
    stream = io.BytesIO()
    image(colour, size, mode).save(stream, "PNG")
    return stream.getvalue()


def save(path: Path, colour: int, size: tuple[int, int] = (8, 6)) -> Path:
    """Write the image under a name that decides the format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image(colour, size).save(path)
    return path


def split_folders(root: Path, classes: list[str], train: int = 2, test: int = 1) -> Path:
    """`<root>/{train,test}/<class>/<n>.png`; class k has the colour 10 k in train and 10 k + 1 in test."""
    for split, count, mark in (("train", train, 0), ("test", test, 1)):
        for k, name in enumerate(classes):
            for n in range(count):
                save(root / split / name / f"{n}.png", 10 * k + mark)
    return root


def parquet(path: Path, columns: dict[str, list], names: dict[str, list[str]]) -> Path:
    """A parquet file as the hub's: images as structs of bytes and path, labels with their names."""
    features = {}
    for column, values in columns.items():
        if column in names:
            features[column] = datasets.ClassLabel(names=names[column])
        elif isinstance(values[0], bytes):
            features[column] = datasets.Image()
        else:
            features[column] = datasets.Value("int64")
    runs = {
        column: [{"bytes": value, "path": f"{row}.png"} for row, value in enumerate(values)]
        if isinstance(values[0], bytes)
        else values
        for column, values in columns.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_dict(runs, features=datasets.Features(features)).to_parquet(path)
    return path


def labelled_parquet(
    folder: Path,
    names: list[str],
    picture: str = "image",
    label: str = "label",
    splits: tuple[str, str] = ("train", "test"),
    copies: int = 2,
) -> None:
    """Both splits of a hub set: `copies` images a class in train, one in test, coloured as in folders."""
    for split, count, mark in zip(splits, (copies, 1), (0, 1), strict=True):
        labels = [k for k in range(len(names)) for _ in range(count)]
        pictures = [encoded(10 * k + mark) for k in labels]
        parquet(folder / f"{split}.parquet", {picture: pictures, label: labels}, {label: names})


def colours(images: np.ndarray) -> list[int]:
    """The red value of each image, which must be one throughout."""
    for picture in images:
        assert (picture == picture[0, 0]).all()
    return [int(picture[0, 0, 0]) for picture in images]
