"""The places where a set of images may lie, tried in one order: folders, local parquet, the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.data.files import VARIABLE
from benchmark.data.layouts import Layout
from benchmark.errors import UserError
from benchmark.stream import LoadedStream, Request, Sources
from tasks.sources import image_folders, image_sets, image_tables, images
from tasks.sources.image_sets import ImageSet
from tasks.sources.image_tables import HubImages


@dataclass(frozen=True)
class Reading:
    """A layout of a data folder and what reads it.

    Attributes:
        layout: how it is recognised.
        described: what the folder would hold, for messages.
        read: takes the data folder; returns None where the layout is not there.
    """

    layout: Layout
    described: str
    read: Callable[[Path], ImageSet | None]


@dataclass(frozen=True)
class ImageSource:
    """Where a set of images is looked for.

    Attributes:
        name: of the set, for messages.
        readings: of folders, in the order tried.
        hub: the set on the hub, or None.
        without_hub: why there is none.
        pickles: files and folders of the set's own distribution that would have to be unpickled.
        rows: training and test images as published; a note says where a copy has another number.
    """

    name: str
    readings: tuple[Reading, ...]
    hub: HubImages | None = None
    without_hub: str = ""
    pickles: tuple[str, ...] = ()
    rows: tuple[int, int] | None = None

    @property
    def alternatives(self) -> str:
        """Everything that a data folder may hold, for messages."""
        parts = [reading.described for reading in self.readings]
        return "; or ".join([*parts, self.hub.folder] if self.hub else parts)

    @property
    def stated(self) -> Sources:
        """What a stream says of where it looks."""
        hub = (self.hub.hub,) if self.hub else ()
        return Sources(layouts=tuple(reading.layout for reading in self.readings), hub=hub)

    def find(self, root: Path | None) -> ImageSet:
        """Return the set from the first place that has it.

        Args:
            root: the data folder; None where there is none.

        Raises:
            UserError: no place has it, or the one that has it is faulty.
        """
        found = self._in_folders(root) or self._as_tables(root)
        counts = len(found.train.labels), len(found.test.labels)
        if self.rows in (None, counts):
            return found
        counted = "{} train and {} test images"
        note = f"{self.name}: {counted.format(*counts)}; published are {counted.format(*self.rows)}"
        return replace(found, notes=(*found.notes, note))

    def load_sliced(self, request: Request) -> LoadedStream:
        """Return the set's classes, permuted by the order asked for and cut into tasks."""
        settings = request.parameters or image_sets.SlicedImageSettings()
        found = self.find(request.data_dir)
        return image_sets.class_incremental(found, settings, images.ORDERS[request.order])

    def _in_folders(self, root: Path | None) -> ImageSet | None:
        if root is None:
            return None
        return next((found for reading in self.readings if (found := reading.read(root))), None)

    def _as_tables(self, root: Path | None) -> ImageSet:
        if root is not None and not (self.hub and (root / self.hub.folder).parent.is_dir()):
            self._refuse_pickles(root)
        if self.hub is not None:
            return image_tables.read(self.hub, root, self.alternatives)
        where = f"the data folder {root} does not hold it" if root else "no data folder is known"
        raise UserError(
            f"{self.name} is read from files ({self.without_hub}) and {where}; pass --data-dir FOLDER or set "
            f"{VARIABLE}=FOLDER to a folder that holds {self.alternatives}"
        )

    def _refuse_pickles(self, root: Path) -> None:
        for name in self.pickles:
            if (root / name).exists():
                raise UserError(
                    f"{root / name} is made of Python pickles, which are never opened because they can run "
                    f"code; {self.name} can be read from {self.alternatives} in {root}"
                )


def join_sources(sources: Iterable[ImageSource]) -> Sources:
    """Return all that several sets state."""
    stated = [source.stated for source in sources]
    return Sources(
        layouts=tuple(layout for one in stated for layout in one.layouts),
        hub=tuple(hub for one in stated for hub in one.hub),
    )


def folder_layout(name: str, *marks: str) -> Layout:
    """Return the layout of a folder of the data folder that one of some entries marks."""
    return Layout(f"the data folder's {name}/", (name,), marks)


def split_folders(name: str, splits: tuple[str, str] = ("train", "test")) -> Reading:
    """Return the layout of PILOT's downloads: one folder a split, in it one folder a class."""
    train, test = splits
    return Reading(
        folder_layout(name, train),
        f"{name}/{train}/<class>/ and {name}/{test}/<class>/ with image files",
        lambda root: image_folders.by_split(root / name, splits),
    )


def listed_folders(name: str) -> Reading:
    """Return the layout of an unpacked tar, `<name>/<class>/`, with published lists of its two splits."""
    train, test = f"{name}_train.yaml", f"{name}_test.yaml"
    return Reading(
        folder_layout(name, train, f"../{train}"),
        f"{name}/<class>/ with {train} and {test}",
        lambda root: image_folders.by_file_lists(root / name, train, test),
    )
