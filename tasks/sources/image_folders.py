"""Reads image sets from folders in the layouts that people already have; no pickle is ever opened."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from benchmark.data.data_errors import DataError, collect_into, raise_any, raise_or_collect
from benchmark.data.files import describe_error
from benchmark.data.image_files import class_folders, list_unread
from benchmark.errors import UserError, first_of
from tasks.sources.image_sets import EncodedSplit, ImageSet, check

Row = tuple[Path, int]


class FileList(BaseModel):
    """A published list of files and classes, as CODA-Prompt and InfLoRA ship it."""

    model_config = ConfigDict(strict=True)
    data: list[str]
    targets: list[int]


def by_split(root: Path, splits: tuple[str, str] = ("train", "test")) -> ImageSet | None:
    """Read `<root>/train/<class>/*` and `<root>/test/<class>/*`, PILOT's layout; None where neither is there.

    Classes are numbered by the sorted names of their folders. The split is that of the folders.

    Raises:
        UserError: one of the two folders is missing, pictures are of a format that is not read, or the set
            fails `check`.
    """
    folders = [root / split for split in splits]
    present = [folder for folder in folders if folder.is_dir()]
    if not present:
        return None
    gone = [folder for folder in folders if folder not in present]
    raise_or_collect([DataError(f"{folder} does not exist, though {present[0]} does") for folder in gone])
    found = [class_folders(folder) if folder in present else {} for folder in folders]
    names = sorted({name for classes in found for name in classes})
    rows = [
        [(path, number) for number, name in enumerate(names) for path in classes.get(name, ())]
        for classes in found
    ]
    unread = list_unread(present)
    raise_or_collect([one for one in unread if one.fatal])
    notes = tuple(one.message for one in unread if not one.fatal)
    return replace(image_set(root, *rows, tuple(names)), notes=notes)


def by_file_lists(root: Path, train: str, test: str) -> ImageSet | None:
    """Read `<root>/<class>/*` as an unpacked tar holds it, split by two published lists; None without it.

    The lists lie in the folder or beside it. Of their paths the last two parts count, class and file.

    Raises:
        UserError: a list is missing or malformed, gives a class two numbers, or the set fails `check`.
    """
    if not root.is_dir() or not any(path.is_dir() and path.name[0] != "." for path in root.iterdir()):
        return None
    rows: list[list[Row]] = []
    numbers: dict[str, int] = {}
    errors: list[DataError] = []
    for name in (train, test):
        path = next((folder / name for folder in (root, root.parent) if (folder / name).is_file()), None)
        with collect_into(errors):
            if path is None:
                raise UserError(
                    f"{root} holds images but no published split: {name} is neither in it nor beside it "
                    f"(a new random split would not be comparable); or lay the images out as "
                    f"{root}/train/<class>/ and {root}/test/<class>/"
                )
            rows.append(_list_rows(root, path, numbers))
    raise_any(errors)
    names = sorted(numbers, key=lambda name: numbers[name])
    if [numbers[name] for name in names] != list(range(len(names))):
        raise UserError(f"the lists {train} and {test} do not number the classes 0 to {len(names) - 1}")
    return image_set(root, *rows, tuple(names))


def image_set(
    root: Path,
    train: Iterable[Row],
    test: Iterable[Row],
    names: tuple[str, ...],
    domains: tuple[str, ...] = (),
    row_domains: tuple[list[int], list[int]] = ([], []),
) -> ImageSet:
    """Return files and labels as a checked set whose rows are named by their path in `root`."""
    from benchmark.data.row_cache import identity_of

    splits = []
    for rows, numbers in zip((list(train), list(test)), row_domains, strict=True):
        paths = [path for path, _ in rows]
        ids = [path.relative_to(root).as_posix() for path in paths]
        labels = [label for _, label in rows]
        splits.append(EncodedSplit(paths, labels, ids, str(root), identity_of(paths), numbers))
    found = ImageSet(*splits, names, f"the data folder's {root.name}/", domains=domains)
    check(found, str(root))
    return found


def lines(path: Path, columns: int) -> list[tuple[int, list[str]]]:
    """Return each line of a text file, from 1, with its `columns` fields; the last one may hold blanks.

    Raises:
        UserError: the file is missing, empty or not text, or lines are short; with their rows.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {describe_error(error)}") from error
    rows = [line.split(maxsplit=columns - 1) for line in text.split("\n") if line.strip()]
    if not rows:
        raise UserError(f"{path} holds no rows")
    short = [(number, len(row)) for number, row in enumerate(rows, 1) if len(row) != columns]
    raise_or_collect(
        [DataError(f"{path}, row {number}: {fields} fields, not {columns}") for number, fields in short]
    )
    return [(number, row) for number, row in enumerate(rows, 1) if len(row) == columns]


def whole_number(text: str, where: str) -> int:
    """Return a text as a number from 0.

    Raises:
        UserError: it is none; `where` names the file and the row.
    """
    if not (text.isascii() and text.isdecimal()):
        raise UserError(f"{where}: {text!r} is not a whole number")
    return int(text)


def _list_rows(root: Path, path: Path, numbers: dict[str, int]) -> list[Row]:
    """Return the rows of a file list, and enter the classes' numbers."""
    import yaml
    from pydantic import ValidationError

    try:
        # The same safe reading in C where it is there: a list has 24000 entries.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        listed = FileList.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=loader))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {describe_error(error)}") from error
    except ValidationError as error:
        raise UserError(f"{path}: {first_of(error, '')}") from error
    if len(listed.data) != len(listed.targets):
        raise UserError(f"{path} lists {len(listed.data)} files and {len(listed.targets)} targets")
    rows, errors = [], []
    for row, (name, number) in enumerate(zip(listed.data, listed.targets, strict=True)):
        parts = Path(name).parts[-2:]
        if len(parts) < 2 or ".." in parts:
            errors.append(DataError(f"{path}, row {row}: {name!r} is not of the form <class>/<file>"))
        elif numbers.setdefault(parts[0], number) != number:
            both = f"class {number} and {numbers[parts[0]]}"
            errors.append(DataError(f"{path}, row {row}: {parts[0]} is {both}"))
        else:
            rows.append((root.joinpath(*parts), number))
    raise_or_collect(errors)
    return rows
