"""Sets of encoded images of any size: what a source found, checked, then decoded once into arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from benchmark.errors import UserError
from benchmark.stream import Examples, LoadedStream, Task
from tasks.sources import images

# The published test transform: the shorter side to 256 pixels, the central 224 of them.
CENTRE = 256 / 224
# What the protocols of image sets set beside the budget, see `Stream.published`. Only InfLoRA tests some sets
# on whole images; `quick` keeps images at twice the side of its backbone.
PUBLISHED: Mapping[str, Mapping[str, object]] = {
    "quick": {"size": 32},
    "pilot": {"test_view": "centre"},
    "sdlora": {"test_view": "centre"},
    "inflora": {"test_view": "centre"},
    "litelora": {"test_view": "centre"},
}


class ImageSettings(BaseModel):
    """How images are kept; the settings that all streams of encoded images share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(224, ge=8, le=1024, description="side in pixels of the squares that are kept")
    test_view: Literal["whole", "centre"] = Field(
        "whole",
        description="test images: as large a central square as there is, or the middle 7/8 of it as PILOT "
        "tests on; training images are always whole, random crops are cut from them",
    )


class SlicedImageSettings(ImageSettings, images.SlicedClasses):
    """Settings of class-incremental streams of encoded images."""


@dataclass(frozen=True)
class EncodedSplit:
    """Images of one split, not decoded yet.

    Attributes:
        images: files, or encoded bytes; can be gone through more than once.
        labels: one a row, indices into the set's names.
        ids: one a row, unique: the path within the set, or the split and the row.
        source: where bytes come from, for messages.
        identity: differs where the images do.
        domains: one a row where the set has domains, indices into its `domains`.
    """

    images: Iterable[bytes | Path]
    labels: list[int]
    ids: list[str]
    source: str
    identity: str
    domains: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class ImageSet:
    """What a source found.

    Attributes:
        names: of the classes, as the source numbers them.
        origin: one line for people: the folder's part or the hub.
        revisions: hub id to commit.
        domains: names of domains, where rows have one.
    """

    train: EncodedSplit
    test: EncodedSplit
    names: tuple[str, ...]
    origin: str
    revisions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()


def check(found: ImageSet, where: str) -> None:
    """Check what every set of images must deliver.

    Raises:
        UserError: a split is empty, two class names are equal but for case, or a class has images in one
            split only; the message names the set and the class.
    """
    folded = Counter(name.lower() for name in found.names)
    alike = [name for name in found.names if folded[name.lower()] > 1]
    if alike:
        raise UserError(f"{where}: the class names {' and '.join(alike[:2])} differ in nothing but case")
    for split, rows in (("train", found.train), ("test", found.test)):
        if not rows.labels:
            raise UserError(f"{where}: the {split} split holds no images")
    in_train, in_test = set(found.train.labels), set(found.test.labels)
    for number, name in enumerate(found.names):
        if number not in in_test:
            raise UserError(f"{where}: the class {name} has no test images")
        if number not in in_train:
            raise UserError(f"{where}: the class {name} is in test and has no training images")


def decode(found: ImageSet, settings: ImageSettings) -> images.LabelledImages:
    """Decode and resize every image once: what is in the cache is mapped from there.

    Raises:
        UserError: an image cannot be read; the message names the file and the row.
    """
    side = settings.size
    resize = round(side * CENTRE) if settings.test_view == "centre" else side
    return images.LabelledImages(
        _decode(found.train, side, side), _decode(found.test, side, resize), found.names
    )


def _decode(split: EncodedSplit, side: int, resize: int) -> Examples:
    import numpy as np
    import PIL

    from benchmark.data import image_decoding
    from benchmark.data.mapped_rows import map_images
    from benchmark.data.row_cache import code_of

    pixels = map_images(
        [split.identity, str(resize), PIL.__version__, code_of(image_decoding)],
        (len(split.labels), side, side, 3),
        lambda array: image_decoding.fill(array, split.images, resize, split.source),
    )
    return Examples(pixels, np.asarray(split.labels, np.int64), None, split.ids)


def class_incremental(found: ImageSet, settings: ImageSettings, seed: int | None, tasks: int) -> LoadedStream:
    """Return a stream over consecutive slices of the set's classes, permuted by a seed.

    Raises:
        UserError: there are too few classes for so many tasks, or an image cannot be read.
    """
    # Before anything is decoded, which may take long.
    images.slices(list(range(len(found.names))), tasks)
    pictures = decode(found, settings)
    return images.class_incremental(pictures, seed, tasks, found.origin, found.revisions, found.notes)


def domain_incremental(found: ImageSet, settings: ImageSettings, order: tuple[str, ...]) -> LoadedStream:
    """Return a stream of one task a domain, all with the same classes.

    Each task is tested on the test rows of its domain, or on all where test rows have no domain.

    Args:
        found: a set whose training rows have domains.
        settings: how images are kept.
        order: the domains by name.

    Raises:
        UserError: a domain has no images in a split, or an image cannot be read.
    """
    import numpy as np

    rows: list[tuple[np.ndarray, ...]] = []
    for name in order:
        number = found.domains.index(name)
        splits = [split for split in (found.train, found.test) if split.domains]
        rows.append(tuple(np.flatnonzero(np.asarray(split.domains) == number) for split in splits))
        if not all(len(part) for part in rows[-1]):
            raise UserError(f"{found.origin}: the domain {name} lacks training or test images")
    pictures = decode(found, settings)
    tasks = [
        Task(
            name,
            pictures.train.take(chosen[0]),
            pictures.test.take(chosen[1]) if len(chosen) > 1 else pictures.test,
            classes=found.names,
        )
        for name, chosen in zip(order, rows, strict=True)
    ]
    return LoadedStream(tasks, found.origin, None, found.revisions, found.notes)
