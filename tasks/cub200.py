"""CUB-200-2011: 200 kinds of birds in 10 tasks of 20 (or 20 of 10), in either of its two splits.

`split=official` is the authors' own: 5994 training and 5794 test images, from their unpacked archive or from
`bentrevett/caltech-ucsd-birds-200-2011` on the hub. `split=pilot` is that of PILOT's prepared folders, 9430
and 2358, which most class-incremental papers report; numbers of the two are not comparable.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from benchmark.data.data_errors import DataError, collect_into, raise_any, raise_or_collect
from benchmark.data.hub import HubSet
from benchmark.errors import UserError
from benchmark.stream import LoadedStream, Request, Stream, protocols
from tasks.sources import image_folders, image_protocols, image_sets, images
from tasks.sources.image_sources import ImageSource, Reading, folder_layout, join_sources, split_folders
from tasks.sources.image_tables import HubImages
from tasks.sources.rows import sound

ARCHIVE = "CUB_200_2011"


class Parameters(image_sets.SlicedImageSettings):
    """Settings of the stream."""

    split: Literal["official", "pilot"] = Field("official", description="whose training and test images")


def read_archive(root: Path) -> image_sets.ImageSet | None:
    """Read the unpacked archive by its own tables of images, classes and split; None without it."""
    folder = root / ARCHIVE
    if not folder.is_dir():
        return None
    errors: list[DataError] = []
    paths: dict[str, str] = {}
    with collect_into(errors):
        paths = {image: path for _, image, path in _table(folder / "images.txt")}
    tables = []
    for name in ("image_class_labels.txt", "train_test_split.txt"):
        with collect_into(errors):
            tables.append(_numbers(folder / name))
            if paths and tables[-1].keys() != paths.keys():
                raise UserError(f"{folder / name} does not list the same images as images.txt")
    raise_any(errors)
    labels, trained = tables
    # A class is numbered from 1 and called by its folder, such as 001.Black_footed_Albatross.
    names: dict[int, str] = {}
    rows: tuple[list, list] = ([], [])
    for image, path in paths.items():
        number, name = labels[image] - 1, Path(path).parent.name
        if names.setdefault(number, name) != name:
            raise UserError(f"{folder}: class {number + 1} is called {names[number]} and {name}")
        rows[0 if trained[image] else 1].append((folder / "images" / path, number))
    if sorted(names) != list(range(len(names))):
        raise UserError(f"{folder}: the classes are not numbered 1 to {len(names)}")
    return image_folders.image_set(folder, *rows, tuple(names[number] for number in range(len(names))))


def _table(path: Path) -> list[tuple[int, str, str]]:
    """Return the rows of a table: where each stands, from 1, the image and what is said of it."""
    rows = [(number, *row) for number, row in image_folders.lines(path, 2)]
    seen: set[str] = set()
    errors = []
    for number, image, _ in rows:
        if image in seen:
            errors.append(DataError(f"{path} lists an image twice: row {number}, {image}"))
        seen.add(image)
    raise_or_collect(errors)
    return [(number, image, said) for number, image, said in rows]


def _numbers(path: Path) -> dict[str, int]:
    def checked(row: tuple[int, str, str]) -> Iterator[tuple[str, int]]:
        number, image, text = row
        yield image, image_folders.whole_number(text, f"{path}, row {number}")

    return dict(sound(_table(path), checked))


SOURCES = {
    "official": ImageSource(
        "CUB-200-2011 in its official split",
        (
            Reading(
                folder_layout(ARCHIVE, "images.txt"),
                f"{ARCHIVE}/ with images.txt, as its archive unpacks",
                read_archive,
            ),
        ),
        HubImages(HubSet("bentrevett/caltech-ucsd-birds-200-2011")),
        rows=(5994, 5794),
    ),
    "pilot": ImageSource(
        "CUB-200-2011 in PILOT's split",
        (split_folders("cub"),),
        without_hub="only PILOT's download has this split; --set split=official can come from the hub",
        rows=(9430, 2358),
    ),
}


def load(request: Request) -> LoadedStream:
    """Return tasks over a permutation of the classes, in the split asked for."""
    return SOURCES[(request.parameters or Parameters()).split].load_sliced(request)


STREAM = Stream(
    name="cub200",
    title="CUB-200-2011, 10 tasks of 20 classes",
    kind="image",
    licence="non-commercial research",
    citation="Wah et al., The Caltech-UCSD Birds-200-2011 Dataset, 2011",
    homepage="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    orders=images.ORDERS,
    protocols=protocols(
        image_protocols.smoke(train_limit=400, test_limit=200),
        image_protocols.litelora("CUB-200"),
        image_protocols.sdlora("the paper's text for CUB-200 (Adam)", epochs=20),
    ),
    load=load,
    sources=join_sources(SOURCES.values()),
    parameters=Parameters,
    # The data loaders of SD-LoRA and LiteLoRA are PILOT's.
    published={
        **image_sets.PUBLISHED,
        "litelora": {"test_view": "centre", "split": "pilot"},
        "sdlora": {"test_view": "centre", "split": "pilot"},
    },
)
