"""Loads data sets of the Hugging Face hub, or a folder of parquet files laid out like them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from benchmark.data.files import VARIABLE, describe_error, read_json, read_parquet
from benchmark.data.hub_tables import HubTable, from_dataset, from_parquet
from benchmark.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset

# The hub's own conversion of data sets that ship as a loading script; each configuration is a folder there.
CONVERTED = "refs/convert/parquet"
TIMEOUT = 10.0
SOURCE = "source.json"


@dataclass(frozen=True)
class HubSet:
    """A data set on the hub.

    Attributes:
        identifier: `owner/name`.
        config: the configuration, or None for the only one.
        converted: True where the set itself is a loading script and the hub's parquet conversion is read.
        recalled: True where the id or its columns are recalled, not read from the hub's own page.
    """

    identifier: str
    config: str | None = None
    converted: bool = False
    recalled: bool = False


class LocalSource(BaseModel):
    """What lies beside a set in a data folder, where it was fetched from the hub: the commit."""

    model_config = ConfigDict(extra="forbid")
    identifier: str
    config: str | None
    commit: str | None


@dataclass(frozen=True)
class Hub:
    """Where hub data sets are read from.

    Attributes:
        root: a folder `hub/<owner>/<name>/<config or "default">/<split>.parquet` in the data folder; a set
            found there is never asked of the hub.
        alternative: what a data folder would have to hold instead, for messages.
    """

    root: Path | None
    alternative: str

    def load(
        self, wanted: HubSet, splits: tuple[str, ...] | None = None
    ) -> tuple[dict[str, Dataset], str | None]:
        """Return the splits by name, and the commit they were read at (None: unknown).

        Raises:
            UserError: the set is neither in the folder nor to be had from the hub, or lacks a split.
        """
        commit, files = self.commit(wanted), self.files(wanted, splits)
        if files is not None:
            return {split: read_parquet(path) for split, path in files.items()}, commit
        return self._download(wanted, splits, commit), commit

    def tables(
        self, wanted: HubSet, splits: tuple[str, ...] | None = None
    ) -> tuple[dict[str, HubTable], str | None]:
        """Return splits that are read piece by piece, and the commit they were read at, as `load` does."""
        commit = self.commit(wanted)
        return self.tables_at(commit, wanted, splits), commit

    def tables_at(
        self, commit: str | None, wanted: HubSet, splits: tuple[str, ...] | None = None
    ) -> dict[str, HubTable]:
        """Return splits as `tables` does, at a commit that is known already."""
        files = self.files(wanted, splits)
        if files is not None:
            return {split: from_parquet(path) for split, path in files.items()}
        found = self._download(wanted, splits, commit)
        return {split: from_dataset(f"{wanted.identifier}, {split}", rows) for split, rows in found.items()}

    def files(self, wanted: HubSet, splits: tuple[str, ...] | None = None) -> dict[str, Path] | None:
        """Return the files of a set in the data folder by split, there or not; None where the hub has it.

        Raises:
            UserError: all splits are wanted and there is none.
        """
        folder = self.folder(wanted)
        if folder is None:
            return None
        names = splits or sorted(path.stem for path in folder.glob("*.parquet"))
        if not names:
            raise UserError(f"{folder} holds no .parquet file")
        return {split: folder / f"{split}.parquet" for split in names}

    def commit(self, wanted: HubSet) -> str | None:
        """Return the commit a set is read at: what its copy in the data folder says, or what the hub does.

        None where the copy does not say, or where the user asked to work offline, from what is cached.

        Raises:
            UserError: the hub cannot be reached or has no such set.
        """
        folder = self.folder(wanted)
        return self._resolve_revision(wanted) if folder is None else _local_commit(folder)

    def folder(self, wanted: HubSet) -> Path | None:
        """Return where a set lies in the data folder, or None where it does not."""
        folder = None if self.root is None else local_folder(self.root, wanted)
        return folder if folder is not None and folder.is_dir() else None

    def _resolve_revision(self, wanted: HubSet) -> str | None:
        from huggingface_hub import HfApi, constants

        if constants.HF_HUB_OFFLINE:
            return None
        try:
            # Asked first because it fails at once without a network; loading would retry for long.
            revision = CONVERTED if wanted.converted else None
            return HfApi().dataset_info(wanted.identifier, revision=revision, timeout=TIMEOUT).sha
        except Exception as error:
            raise self._unavailable(wanted, error) from error

    def _download(
        self, wanted: HubSet, splits: tuple[str, ...] | None, commit: str | None
    ) -> dict[str, Dataset]:
        import datasets

        revision = commit or (CONVERTED if wanted.converted else None)
        place = {"data_dir": wanted.config} if wanted.converted else {"name": wanted.config}
        try:
            loaded = datasets.load_dataset(wanted.identifier, revision=revision, **place)
        except Exception as error:
            raise self._unavailable(wanted, error) from error
        for split in splits or ():
            if split not in loaded:
                raise UserError(f"{wanted.identifier} has no split '{split}'; it has {', '.join(loaded)}")
        return {split: loaded[split] for split in (splits or loaded)}

    def _unavailable(self, wanted: HubSet, error: Exception) -> UserError:
        from huggingface_hub import constants

        where = (
            constants.ENDPOINT if not constants.HF_HUB_OFFLINE else "the hub's cache (HF_HUB_OFFLINE is set)"
        )
        tried = f"tried {where}: {describe_error(error)[:160]}"
        if self.root is not None:
            tried = f"{local_folder(self.root, wanted)} does not exist; {tried}"
        return UserError(
            f"cannot load {wanted.identifier} from the hub ({tried}); connect to the network "
            f"(or set HF_HUB_OFFLINE=1 if it is cached), or pass --data-dir FOLDER or set {VARIABLE}=FOLDER "
            f"to a folder that holds {self.alternative}; where there is a network, `bench data fetch STREAM "
            "--data-dir FOLDER` makes such a folder"
        )


def local_folder(root: Path, wanted: HubSet) -> Path:
    """Return where a set belongs in a data folder."""
    return root / "hub" / wanted.identifier / (wanted.config or "default")


def _local_commit(folder: Path) -> str | None:
    """Return the commit that a local copy says it was read at, or None."""
    source = folder / SOURCE
    return read_json(source, LocalSource).commit if source.is_file() else None
