"""Reads JSON Lines, JSON and `.npz`; whatever is wrong with a file is one line naming it and the row.

Nothing here unpickles: arrays that would need it are refused.
"""

from __future__ import annotations

import gzip
import json
import os
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, RootModel, ValidationError

from benchmark.data.data_errors import DataError, InvalidData, collect_into, raise_any, raise_or_collect
from benchmark.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

VARIABLE = "BENCH_DATA"
# What numpy and zipfile raise on damaged, encrypted, pickled or absurdly large arrays.
_BAD_ARRAYS = (
    *(OSError, EOFError, ValueError, TypeError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error),
)
Model = TypeVar("Model", bound=BaseModel)
# The most characters of a line, which is read before anything of it is looked at.
LONGEST_ROW = 2**24
# Text gets some 20 times smaller; what unpacks to far more is made to fill a disk or a memory.
MOST_UNPACKED, MOST_TIMES = 2**26, 200


def describe_error(error: BaseException) -> str:
    """Return the kind and the first line of an error, for a message of one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def data_dir(given: Path | str | None) -> Path | None:
    """Return the data folder asked for, or the one that BENCH_DATA names, or None.

    Raises:
        UserError: the folder does not exist.
    """
    named = str(given) if given else os.environ.get(VARIABLE, "")
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise UserError(
            f"the data folder {folder} (from {'--data-dir' if given else VARIABLE}) does not exist"
        )
    return folder


def find_required(folder: Path | None, files: Collection[str], wanted_by: str) -> list[Path]:
    """Return the paths of files that can come from nowhere but a data folder.

    Raises:
        UserError: no folder is known, or a file is not in it; the message says both ways to name one.
    """
    ways = f"pass --data-dir FOLDER or set {VARIABLE}=FOLDER to a folder that holds {', '.join(files)}"
    if folder is None:
        raise UserError(f"{wanted_by} is read from files and no data folder is known; {ways}")
    for name in files:
        if not (folder / name).is_file():
            raise UserError(f"{wanted_by} needs {folder / name}, which does not exist; {ways}")
    return [folder / name for name in files]


def read_parquet(path: Path) -> Dataset:
    """Return a parquet file's rows; images stay encoded until they are asked for.

    Raises:
        UserError: the file is missing or is not parquet.
    """
    import datasets
    import pyarrow.parquet

    with parquet_errors(path):
        return datasets.Dataset(pyarrow.parquet.read_table(path))


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Within the context, raise a UserError where a parquet file is missing or cannot be read."""
    import pyarrow

    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise UserError(f"{path} cannot be read as parquet: {describe_error(error)}") from error


def read_json(path: Path, model: type[Model]) -> Model:
    """Return a JSON file's content, checked against `model`.

    Raises:
        UserError: the file is missing, not JSON, or not what the model says.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {describe_error(error)}") from error
    try:
        content = _parse_json(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {describe_error(error)}") from error
    return _check_content(content, model, str(path))


def read_list(path: Path, model: type[Model]) -> list[tuple[int, Model]]:
    """Return the entries of a JSON file that holds a list, see `check_list`.

    Raises:
        UserError: the file is missing, not JSON, not a list or empty, or entries are not what `model` says.
    """
    return check_list(read_json(path, RootModel[list[Any]]).root, model, path)


def check_list(entries: list[Any], model: type[Model], path: Path) -> list[tuple[int, Model]]:
    """Return the entries of a list read from a file, checked, each with its place, counted from 1.

    Raises:
        UserError: there are none, or some are not what `model` says; with their places.
    """
    if not entries:
        raise UserError(f"{path} holds no rows")
    errors: list[DataError] = []
    checked = []
    for number, entry in enumerate(entries, 1):
        with collect_into(errors):
            checked.append((number, _check_content(entry, model, f"{path}, row {number}")))
    raise_or_collect(errors)
    return checked


def read_rows(path: Path, model: type[Model]) -> Iterator[tuple[int, Model]]:
    """Yield the sound rows of a JSON Lines file, each with its line number, counted from 1.

    The file is gzip'd where its name ends in `.gz`, and plain text otherwise.

    Lines end at a line feed alone, since texts may hold other Unicode line breaks.

    Raises:
        UserError: the file is missing, empty, truncated or not gzip, or rows are not what `model` says;
            raised after the last row that can be read.
    """
    packed = path.suffix == ".gz"
    number = 0
    errors: list[DataError] = []
    try:
        opener = gzip.open if packed else open
        most = max(MOST_UNPACKED, MOST_TIMES * path.stat().st_size)
        with opener(path, "rt", encoding="utf-8", newline="\n") as lines:
            for number, line in enumerate(read_bounded_lines(lines, most if packed else None), 1):
                row = None
                with collect_into(errors):
                    row = _row(line, model, f"{path}, row {number}")
                if row is not None:
                    yield number, row
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (PermissionError, IsADirectoryError) as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except TooLarge as error:
        errors.append(DataError(f"{path}, after row {number}: {error}"))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        kind = "gzip'd text" if packed else "text"
        message = f"{path}, after row {number}: not {kind} or cut off ({describe_error(error)})"
        errors.append(DataError(message))
    else:
        if number == 0:
            errors.append(DataError(f"{path} holds no rows"))
    raise_or_collect(errors)


class TooLarge(ValueError):
    """Something that is not read because of its size."""


def read_bounded_lines(lines: IO[str], most: int | None = None) -> Iterator[str]:
    """Yield the lines of an open file, none of them read further than `LONGEST_ROW`.

    Args:
        most: the most characters of all lines, for what is unpacked while it is read.

    Raises:
        TooLarge: a line, or all of them, are longer.
    """
    total = 0
    while line := lines.readline(LONGEST_ROW + 1):
        if len(line) > LONGEST_ROW:
            raise TooLarge(f"a line of more than {LONGEST_ROW:,} characters; rows that long are not read")
        total += len(line)
        if most is not None and total > most:
            raise TooLarge(f"it unpacks to more than {most:,} characters, {MOST_TIMES} times its size")
        yield line


def label_index(label: str, labels: tuple[str, ...], where: str) -> int:
    """Return a label's place in its task's list.

    Raises:
        UserError: it is not in the list; `where` names the file and the row.
    """
    try:
        return labels.index(label)
    except ValueError:
        raise UserError(f"{where}: the label {label!r} is not one of: {', '.join(labels)}") from None


def read_arrays(path: Path, wanted: Mapping[str, tuple[str, int]]) -> dict[str, np.ndarray]:
    """Return the named arrays of an `.npz`, read without pickle.

    Args:
        wanted: name to (kinds, dimensions): numpy's kind letters that are accepted ("iu": any integer), and
            the number of dimensions.

    Raises:
        UserError: the file is missing or damaged, or arrays are missing, pickled or of another type.
    """
    import numpy as np
    import psutil

    found = {}
    errors: list[DataError] = []
    try:
        with np.load(path, allow_pickle=False) as arrays:
            unpacked = sum(part.file_size for part in arrays.zip.infolist())
            if unpacked > (memory := psutil.virtual_memory().total):
                raise TooLarge(f"it unpacks to {unpacked:,} bytes, and the memory has {memory:,}")
            for name, kind in wanted.items():
                with collect_into(errors):
                    found[name] = _array(arrays, name, kind, path)
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except _BAD_ARRAYS as error:
        raise UserError(f"{path} cannot be read as arrays without pickle: {describe_error(error)}") from error
    raise_any(errors)
    return found


def _array(arrays: Mapping[str, np.ndarray], name: str, kind: tuple[str, int], path: Path) -> np.ndarray:
    if name not in arrays:
        raise UserError(f"{path} has no array '{name}'")
    try:
        array = arrays[name]
    except _BAD_ARRAYS as error:
        raise UserError(f"{path}: '{name}' cannot be read without pickle: {describe_error(error)}") from error
    kinds, dimensions = kind
    if array.dtype.kind not in kinds or array.ndim != dimensions:
        raise UserError(
            f"{path}: '{name}' is {array.dtype} with {array.ndim} dimensions, "
            f"not of kind {kinds} with {dimensions}"
        )
    return array


def find_labelled_rows(
    path: Path, images: np.ndarray, labels: np.ndarray, classes: int, split: str
) -> np.ndarray:
    """Return `(n,)` which images of a split have a label from 0 to classes - 1: all of them.

    Raises:
        UserError: counts differ, a split is empty, or labels are out of range; with their rows, from 0.
    """
    if len(images) != len(labels):
        raise UserError(f"{path}: {len(images)} {split} images but {len(labels)} {split} labels")
    if len(images) == 0:
        raise UserError(f"{path}: no {split} images")
    wrong = (labels < 0) | (labels >= classes)
    raise_or_collect(
        [
            DataError(f"{path}: {split} row {row} has the label {labels[row]}, not one of 0 to {classes - 1}")
            for row in wrong.nonzero()[0].tolist()
        ]
    )
    return ~wrong


def _row(line: str, model: type[Model], where: str) -> Model:
    try:
        content = _parse_json(line)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is not JSON: {describe_error(error)}") from error
    return _check_content(content, model, where)


def _parse_json(text: str) -> Any:
    """Return the content of a JSON text.

    Raises:
        ValueError: it is not JSON, names a key twice, or holds half a surrogate pair, which no tokenizer or
            file takes.
    """
    content = json.loads(text, object_pairs_hook=_once)
    if "\\u" in text:
        json.dumps(content, ensure_ascii=False).encode()
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in content if keys.count(key) > 1)!r} is there twice")
    return content


def _check_content(content: object, model: type[Model], where: str) -> Model:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        errors = []
        for detail in error.errors():
            place = " ".join(".".join(str(part) for part in detail["loc"]).split())
            errors.append(DataError(f"{where}: {place + ': ' if place else ''}{detail['msg']}"))
        raise InvalidData(errors) from error
