"""Tiny ImageNet: 100 classes at 32x32 in 10 tasks of 10, or all 200 (`classes=200`), in 10 or 20 tasks.

The 100 classes are a sample that stands in for Split CIFAR-100, read from `vision/` in the data folder. All
200 come from the unpacked archive `tiny-imagenet-200/` or from the hub; the hub id is recalled, not read from
the hub's own page. The published validation part is the test split.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from benchmark.data.hub import HubSet
from benchmark.data.image_files import images_below
from benchmark.data.layouts import Layout
from benchmark.errors import UserError
from benchmark.stream import LoadedStream, Request, Sources, Stream, protocols
from tasks.sources import image_folders, image_protocols, image_sets, images
from tasks.sources.image_sources import ImageSource, Reading, folder_layout
from tasks.sources.image_tables import HubImages
from tasks.sources.rows import sound

ARRAYS, TABLE = "vision/tinyimagenet100_32.npz", "vision/tinyimagenet100_32.json"
ARCHIVE = "tiny-imagenet-200"


class Parameters(image_sets.SlicedImageSettings):
    """Settings of the stream."""

    size: int = Field(32, ge=8, le=1024, description="side in pixels of the squares that are kept")
    classes: Literal[100, 200] = Field(100, description="a sample of 100 classes at 32x32, or all")

    @model_validator(mode="after")
    def _sample_is_kept_as_it_is(self) -> Parameters:
        if self.classes == 100 and (self.size != 32 or self.test_view != "whole"):
            raise ValueError("the sample of 100 classes has whole images of 32 pixels; add --set classes=200")
        return self


def read_archive(root: Path) -> image_sets.ImageSet | None:
    """Read `tiny-imagenet-200/` as its archive unpacks; None where it is not there."""
    folder = root / ARCHIVE
    if not folder.is_dir():
        return None
    names = tuple(row[0] for _, row in image_folders.lines(folder / "wnids.txt", 1))
    train = [
        (path, number)
        for number, name in enumerate(names)
        for path in images_below(folder / "train" / name / "images")
    ]
    annotations = folder / "val" / "val_annotations.txt"

    def annotated(line: tuple[int, list[str]]) -> Iterator[image_folders.Row]:
        row, (name, wnid, _) = line
        if wnid not in names:
            raise UserError(f"{annotations}, row {row}: {wnid} is not in wnids.txt")
        yield folder / "val" / "images" / name, names.index(wnid)

    test = list(sound(image_folders.lines(annotations, 3), annotated))
    return image_folders.image_set(folder, train, test, names)


SOURCE = ImageSource(
    "Tiny ImageNet",
    (Reading(folder_layout(ARCHIVE, "wnids.txt"), f"{ARCHIVE}/ as its archive unpacks", read_archive),),
    HubImages(HubSet("zh-plus/tiny-imagenet", recalled=True), test="valid"),
    rows=(100000, 10000),
)


def load(request: Request) -> LoadedStream:
    """Return tasks over a permutation of the classes."""
    from benchmark.data.files import find_required

    settings = request.parameters or Parameters()
    if settings.classes == 200:
        return SOURCE.load_sliced(request)
    arrays, table = find_required(request.data_dir, (ARRAYS, TABLE), "the stream 'tiny-imagenet'")
    pictures = images.read_images(arrays, table, dimensions=4)
    seed = images.ORDERS[request.order]
    return images.class_incremental(pictures, seed, settings, "the data folder's vision/")


SMOKE = image_protocols.smoke()

STREAM = Stream(
    name="tiny-imagenet",
    title="Tiny ImageNet, 10 tasks of 10 classes, or of 20",
    kind="image",
    licence="ImageNet terms: non-commercial research and teaching",
    citation="Le and Yang, Tiny ImageNet Visual Recognition Challenge, 2015",
    homepage="https://www.image-net.org",
    orders=images.ORDERS,
    protocols=protocols(SMOKE, image_protocols.litelora("Split CIFAR-100")),
    load=load,
    parameters=Parameters,
    sources=Sources(
        layouts=(Layout("the data folder's vision/", ("",), (ARRAYS,)), *SOURCE.stated.layouts),
        hub=SOURCE.stated.hub,
    ),
)
