"""Where the rows of one part of a stream's file lie: tables, image files or a set of the hub."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data import image_decoding
from benchmark.data.data_errors import DataError, collect_into, raise_any, strict
from benchmark.data.hub import Hub
from benchmark.data.image_files import class_folders, list_unread, location
from benchmark.data.stream_schema import RowsTable
from benchmark.data.table_files import SUFFIXES, Table, from_hub, read_table
from benchmark.errors import UserError

if TYPE_CHECKING:
    from benchmark.data.row_cache import Arrays

SPLITS = ("train", "validation", "test")
# What sources call their validation rows, where the file does not say.
OTHER_NAMES = {"dev": "validation", "val": "validation", "valid": "validation"}


class PartSource:
    """The tables or the image files of one part."""

    def __init__(self, part: RowsTable, folder: Path, hub: Hub) -> None:
        """Say what is read; nothing is opened."""
        self.part, self.folder, self.hub = part, folder, hub
        self.split_of: dict[str, str] = {name: split for split, name in part.splits.items()}
        if not part.splits:
            self.split_of = {name: name for name in SPLITS} | OTHER_NAMES

    @functools.cached_property
    def commit(self) -> str | None:
        """The commit that a set of the hub is read at; None where it is not known, or for other sources."""
        hub_set = self.part.source.hub_set
        return None if hub_set is None else self.hub.commit(hub_set)

    @property
    def revisions(self) -> dict[str, str]:
        """The hub's set with its commit, where that is known."""
        return {self.part.source.hub: self.commit} if self.part.source.hub and self.commit else {}

    def tables(self, wanted: Sequence[str], errors: list[DataError]) -> Iterator[tuple[str, Table]]:
        """Yield each table with the split of its rows, or "" where a column names it.

        Args:
            wanted: names of columns.
            errors: rows that cannot be read are added here.

        Raises:
            UserError: a source is missing or damaged, lacks a column, or does not say what its splits are;
                where each split has a file of its own, raised after the files that are there.
        """
        part = self.part
        divided = part.columns.split is not None
        if part.source.path is not None:
            if not divided and part.test_share is None:
                raise UserError(
                    f"{part.source.path}: which rows are for test? name a column with columns.split, give "
                    "files for train and test, or a test_share"
                )
            table = read_table(self.folder / part.source.path, wanted, errors)
            yield "" if divided else "train", table
        gone: list[DataError] = []
        for split, name in part.source.files.items():
            with collect_into(gone):
                yield split, read_table(self.folder / name, wanted, errors)
        hub_set = part.source.hub_set
        if hub_set is None:
            raise_any(gone)
            return
        for name, rows in self.hub.tables_at(self.commit, hub_set, self._hub_splits).items():
            known = "" if divided else "train" if part.test_share else self.split_of.get(name)
            if known is not None:
                with collect_into(gone):
                    yield known, from_hub(rows, wanted, origin=f"{hub_set.identifier}, {name}")
        raise_any(gone)

    def images(self, errors: list[DataError]) -> Iterator[tuple[str, str, Path]]:
        """Yield split, class and file of the images of a folder.

        Args:
            errors: classes without images are added here, and pictures that are not read.

        Raises:
            UserError: the folder is missing or holds no images, or a folder of a split is missing; raised
                after those that are there.
        """
        gone: list[DataError] = []
        folders = self._find_split_folders(gone)
        errors += (one for one in list_unread(folders.values()) if one.fatal)
        found = {split: class_folders(path) for split, path in folders.items()}
        filled = {label for classes in found.values() for label, paths in classes.items() if paths}
        if not filled and not gone:
            wanted = f"<class>/<image> with an ending of: {', '.join(image_decoding.SUFFIXES)}"
            gone.append(DataError(f"{self.image_folder} holds no {wanted}"))
        elif filled:
            every = dict.fromkeys(name for classes in found.values() for name in classes)
            message = f"{self.image_folder}: the class '{{}}' has no images"
            errors += (DataError(message.format(name)) for name in every if name not in filled)
        for split, classes in found.items():
            for label, paths in classes.items():
                for path in paths:
                    yield split, label, path
        raise_any(gone)

    @property
    def notes(self) -> list[str]:
        """What lies among images and is not read, where that is no error."""
        with strict():
            try:
                folders = self._find_split_folders([])
            except UserError:
                return []
        return [one.message for one in list_unread(folders.values()) if not one.fatal]

    @property
    def image_folder(self) -> Path | None:
        """The folder of images, if that is the source."""
        return None if self.part.source.folder is None else self.folder / self.part.source.folder

    def identity(self) -> list[str] | None:
        """Return what differs where the rows do; None where that is not known without reading them.

        It is the content of tables, and names, sizes and times of image files, also of those that tables
        name; of a set of the hub the commit.
        """
        from benchmark.data.row_cache import identity_of

        commit = self.commit
        try:
            with strict():
                if self.image_folder is not None:
                    errors: list[DataError] = []
                    identity = identity_of(path for _, _, path in self.images(errors))
                    return None if errors else [identity]
                known = self._table_identity(commit)
                if known is None or self.part.columns.image is None:
                    return known
                return [*known, identity_of(self._find_named_images(known))]
        except UserError:
            # An error of the source, reported with all others by whoever reads it.
            return None

    @property
    def _hub_splits(self) -> tuple[str, ...] | None:
        """The splits of the hub's set that are read; None for all there are."""
        named = tuple(self.part.splits.values())
        return None if self.part.columns.split is not None else named or None

    def _table_identity(self, commit: str | None) -> list[str] | None:
        from benchmark.data.parsed_rows import contents
        from benchmark.data.row_cache import identity_of

        source, hub_set = self.part.source, self.part.source.hub_set
        names = (source.path,) if source.path is not None else tuple(source.files.values())
        files = {name: self.folder / name for name in names}
        if hub_set is not None:
            files = self.hub.files(hub_set, self._hub_splits) or {}
        if files:
            if not all(path.name.lower().endswith(SUFFIXES) for path in files.values()):
                return None
            return [*files, contents(*files.values())]
        if hub_set is None:
            return None
        described = [repr(hub_set), *(self._hub_splits or ())]
        if commit is not None:
            return [*described, commit]
        # Offline, `datasets` gives what it has; those files tell one state from another.
        tables = self.hub.tables_at(None, hub_set, self._hub_splits)
        stored = [table.files for table in tables.values()]
        return [*described, identity_of(chain(*stored))] if all(stored) else None

    def _find_named_images(self, identity: Sequence[str]) -> Iterator[Path]:
        """Yield the image files that tables name; the tables are read for that once only."""
        from benchmark.data import hub_tables, table_files
        from benchmark.data.mapped_rows import RaggedWriter, Texts
        from benchmark.data.row_cache import code_of, map_cached

        column = self.part.columns.image or ""

        def build(arrays: Arrays) -> None:
            writer = RaggedWriter(arrays, "paths")
            writer.texts([])
            for _, table in self.tables([column], []):
                for _, values in table.rows:
                    place = location(values[0], table.folder)
                    if isinstance(place, Path):
                        writer.texts([str(place)])

        code = code_of(PartSource, location, table_files, hub_tables)
        key = ["image paths", str(self.folder.absolute()), column, *identity, code]
        found = map_cached("rows", key, build)
        return map(Path, Texts(found["paths"], found["paths_offsets"]))

    def _find_split_folders(self, errors: list[DataError]) -> dict[str, Path]:
        folder = self.image_folder
        if folder is None:
            return {}
        if not folder.is_dir():
            raise UserError(f"the image folder {folder} does not exist")
        if self.part.test_share is not None:
            return {"train": folder}
        there = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()}
        found = {self.split_of[name]: path for name, path in there.items() if name in self.split_of}
        for split in ("train", "test"):
            if split not in found:
                names = [name for name, meant in self.split_of.items() if meant == split] or [split]
                has = ", ".join(there) or "none"
                errors.append(DataError(f"{folder} has no folder '{names[0]}'; it has: {has}"))
        return found
