"""Sets of encoded images of any size: what a source found, checked, then decoded once into arrays."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from benchmark.data.data_errors import DataError, collect_into, raise_any, raise_or_collect
from benchmark.data.names import difference, fold_name
from benchmark.stream import Examples, LoadedStream, Task
from tasks.sources import images

Value = TypeVar("Value")
# The published test transform: the shorter side to 256 pixels, the central 224 of them.
CENTRE = 256 / 224
# What the protocols of image sets set beside the budget, see `Stream.published`. Only InfLoRA tests some sets
# on whole images; `smoke` keeps images at twice the side of its backbone.
PUBLISHED: Mapping[str, Mapping[str, object]] = {
    "smoke": {"size": 32},
    "pilot": {"test_view": "centre"},
    "sdlora": {"test_view": "centre"},
    "inflora": {"test_view": "centre"},
    "litelora": {"test_view": "centre"},
    "cllora": {"test_view": "centre"},
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
        UserError: a split is empty, class names are equal but for case, or a class has images in one split
            only; the message names the set and the class.
    """
    raise_or_collect([DataError(f"{where}: {error}") for error in _errors(found)])


def _errors(found: ImageSet) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for name in found.names:
        alike.setdefault(fold_name(name), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            yield f"the class names {' and '.join(names)} differ in nothing but {difference(*names[:2])}"
    in_train, in_test = set(found.train.labels), set(found.test.labels)
    for split, present in (("train", in_train), ("test", in_test)):
        if not present:
            yield f"the {split} split holds no images"
    # Of a split without images, every class lacks some.
    if not in_train or not in_test:
        return
    for number, name in enumerate(found.names):
        if number not in in_test:
            yield f"the class {name} has no test images"
        elif number not in in_train:
            yield f"the class {name} is in test and has no training images"


def decode(found: ImageSet, settings: ImageSettings) -> images.LabelledImages:
    """Decode and resize every image once: what is in the cache is mapped from there."""
    side = settings.size
    resize = round(side * CENTRE) if settings.test_view == "centre" else side
    errors: list[DataError] = []
    splits = []
    for split, shorter in ((found.train, side), (found.test, resize)):
        with collect_into(errors):
            splits.append(_decode(split, side, shorter))
    raise_any(errors)
    return images.LabelledImages(*splits, found.names)


def _decode(split: EncodedSplit, side: int, resize: int) -> Examples:
    from benchmark.data.image_decoding import Unreadable

    try:
        return _decode_split(split, side, resize)
    except Unreadable as error:
        raise_or_collect(error.errors)
        return _decode_split(_without(split, error.rows), side, resize)


def _without(split: EncodedSplit, rows: Collection[int]) -> EncodedSplit:
    """Return a split without some rows, which are told apart by its identity."""
    kept = [row for row in range(len(split.labels)) if row not in rows]

    def chosen(values: list[Value]) -> list[Value]:
        return [values[row] for row in kept] if values else []

    return replace(
        split,
        images=_Kept(split.images, frozenset(rows)),
        labels=chosen(split.labels),
        ids=chosen(split.ids),
        identity=f"{split.identity} without {sorted(rows)}",
        domains=chosen(split.domains),
    )


@dataclass(frozen=True)
class _Kept:
    """Images but those of some rows; can be gone through more than once."""

    images: Iterable[bytes | Path]
    left_out: frozenset[int]

    def __iter__(self) -> Iterator[bytes | Path]:
        return (image for row, image in enumerate(self.images) if row not in self.left_out)


def _decode_split(split: EncodedSplit, side: int, resize: int) -> Examples:
    import numpy as np
    import PIL

    from benchmark.data import image_decoding
    from benchmark.data.mapped_rows import map_images
    from benchmark.data.row_cache import code_of

    if not split.labels:  # an error that has been reported, and nothing that a file could be mapped of
        return Examples(np.zeros((0, side, side, 3), np.uint8), np.zeros(0, np.int64))
    pixels = map_images(
        [split.identity, str(resize), PIL.__version__, code_of(image_decoding)],
        (len(split.labels), side, side, 3),
        lambda array: image_decoding.fill(array, split.images, resize, split.source),
    )
    return Examples(pixels, np.asarray(split.labels, np.int64), None, split.ids)


def class_incremental(found: ImageSet, settings: SlicedImageSettings, seed: int | None) -> LoadedStream:
    """Return a stream over consecutive slices of the set's classes, permuted by a seed."""
    # Before anything is decoded, which may take long.
    settings.cut(list(range(len(found.names))))
    pictures = decode(found, settings)
    made = images.class_incremental(pictures, seed, settings, found.origin, found.revisions, found.notes)
    return replace(made, checked=True)


def domain_incremental(found: ImageSet, settings: ImageSettings, order: tuple[str, ...]) -> LoadedStream:
    """Return a stream of one task a domain, all with the same classes.

    Each task is tested on the test rows of its domain, or on all where test rows have no domain.

    Raises:
        UserError: a domain has no images in a split, or an image cannot be read.
    """
    splits = [split for split in (found.train, found.test) if split.domains]
    lacking = [
        name for name in order if not all(found.domains.index(name) in set(split.domains) for split in splits)
    ]
    raise_or_collect(
        [DataError(f"{found.origin}: the domain {name} lacks training or test images") for name in lacking]
    )
    pictures = decode(found, settings)
    tasks = []
    for name in order:
        number = found.domains.index(name)
        train = _of_domain(found.train, pictures.train, number)
        test = _of_domain(found.test, pictures.test, number) if found.test.domains else pictures.test
        tasks.append(Task(name, train, test, classes=found.names))
    return LoadedStream(tasks, found.origin, None, found.revisions, found.notes)


def _of_domain(split: EncodedSplit, pictures: Examples, number: int) -> Examples:
    """Return the images of a domain among those of its split that could be read."""
    members = {row for row, domain in zip(split.ids, split.domains, strict=True) if domain == number}
    return pictures.take([place for place, row in enumerate(pictures.ids) if row in members])
