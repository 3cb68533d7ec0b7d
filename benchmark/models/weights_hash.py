"""What weights are, by their content: a hash of the files, so that a path or a name never stands for them."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.data.cache_place import place
from benchmark.errors import UserError
from benchmark.results import atomic_write

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


class _Known(BaseModel):
    """What lies in the cache for one file: its hash, and the size and time for which it holds."""

    model_config = ConfigDict(strict=True, extra="forbid")
    size: int
    modified: int
    sha256: str


def hash_files(paths: Sequence[Path]) -> str:
    """Return the sha256 of a file's content, or of the listing of names and sha256 of several files.

    A file is read once; until its size or its time changes the hash is read from the cache.

    Raises:
        UserError: a file cannot be read.
    """
    hashes = [_hash_file(path) for path in paths]
    if len(hashes) == 1:
        return hashes[0]
    listing = "".join(
        f"{found}  {path.name}\n" for path, found in sorted(zip(paths, hashes, strict=True), key=_by_name)
    )
    return hashlib.sha256(listing.encode()).hexdigest()


def hash_folder(folder: Path) -> str:
    """Return the hash of the weight files of a model's folder.

    Raises:
        UserError: the folder holds no weights as safetensors, or they cannot be read.
    """
    return hash_files(weight_files(folder))


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a model's folder that transformers would load.

    Raises:
        UserError: there are none, or the index of the parts cannot be read.
    """
    whole, index = folder / WEIGHTS, folder / INDEX
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise UserError(f"the folder {folder} holds no {WEIGHTS}: weights are only read from safetensors")
    try:
        parts = sorted(
            {str(part) for part in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
        )
    except (ValueError, KeyError, AttributeError, OSError) as error:
        raise UserError(f"{index} does not list the parts of the weights: {error}") from None
    if outside := [part for part in parts if Path(part).name != part]:
        raise UserError(f"{index} names a file outside its folder: {outside[0]}")
    return [folder / part for part in parts]


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of names, types, shapes and values, for weights that are made and not read."""
    from safetensors.torch import save

    held = {name: tensor.detach().contiguous().cpu().clone() for name, tensor in tensors.items()}
    return hashlib.sha256(save(held)).hexdigest()


def _by_name(pair: tuple[Path, str]) -> str:
    return pair[0].name


def _hash_file(path: Path) -> str:
    try:
        found = path.stat()
        return _hash_of(str(path.resolve()), found.st_size, found.st_mtime_ns)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


@functools.cache
def _hash_of(path: str, size: int, modified: int) -> str:
    root = place()
    note = None if root is None else root / "weights" / f"{hashlib.sha256(path.encode()).hexdigest()}.json"
    if note is not None:
        try:
            known = _Known.model_validate_json(note.read_bytes())
            if (known.size, known.modified) == (size, modified):
                return known.sha256
        except (OSError, ValidationError):
            pass  # not there yet, or cut short: it is written anew
    with open(path, "rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
        # A file that is written to while it is read has no hash yet.
        after = os.fstat(handle.fileno())
    if note is not None and (after.st_size, after.st_mtime_ns) == (size, modified):
        with contextlib.suppress(UserError):  # a cache that cannot be written costs time, and nothing else
            atomic_write(note, _Known(size=size, modified=modified, sha256=digest).model_dump_json().encode())
    return digest
