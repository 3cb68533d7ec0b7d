"""Files of TOML that a user writes: read, checked, and every error reported with its line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from benchmark.data.toml_errors import errors_of, in_lines
from benchmark.errors import UserError

Model = TypeVar("Model", bound=BaseModel)
LONGEST = 2**20
"""Most bytes of a file that a person writes; more is not parsed."""


def text_of(path: Path, what: str) -> str:
    """Return a file's text.

    Args:
        what: it is, for the message: "stream file".

    Raises:
        UserError: there is no such file, it cannot be read as UTF-8, or it is too large.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(LONGEST + 1)
        if len(text) > LONGEST:
            raise UserError(f"the {what} {path} holds more than {LONGEST:,} characters, and is not read")
        return text
    except FileNotFoundError:
        raise UserError(f"there is no {what} {path}") from None
    except OSError as error:
        raise UserError(f"cannot read the {what} {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read the {what} {path}: {error}") from None


def content_of(text: str, path: Path) -> dict[str, Any]:
    """Return what a text of TOML says.

    Raises:
        UserError: it is no TOML; the message names the line.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise UserError(f"{path} is not read: its values are nested too deeply") from None
    except ValueError as error:  # also a whole number of more digits than Python reads
        raise UserError(f"{path} is not TOML: {str(error).split(';')[0]}") from None


def read_checked(path: Path, what: str, model: type[Model], command: str = "") -> Model:
    """Return a file's content as its model.

    Args:
        what: it is, for messages: "sweep file".
        model: of the whole file; for unknown keys the nearest valid one is named.
        command: that says more, for messages.

    Raises:
        UserError: the file cannot be read, or one line with all that is wrong in it.
    """
    text = text_of(path, what)
    try:
        return model.model_validate(content_of(text, path))
    except ValidationError as error:
        errors = in_lines(list(errors_of(error, model)), text, path)
    more = f" (see: {command})" if command else ""
    raise UserError("; ".join(one.line for one in errors) + more)
