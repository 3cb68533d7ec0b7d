"""Files of TOML that a user writes: read, checked, and every mistake told with its line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from benchmark.data.toml_mistakes import in_lines, mistakes_of
from benchmark.errors import UserError

Model = TypeVar("Model", bound=BaseModel)


def text_of(path: Path, what: str) -> str:
    """Return a file's text.

    Args:
        path: of the file.
        what: it is, for the message: "stream file".

    Raises:
        UserError: there is no such file, or it cannot be read as UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no {what} {path}") from None
    except OSError as error:
        raise UserError(f"cannot read the {what} {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read the {what} {path}: {error}") from None


def content_of(text: str, path: Path) -> dict[str, Any]:
    """Return what a text of TOML says.

    Raises:
        UserError: it is no TOML; the message tells the line.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not TOML: {error}") from None


def checked(path: Path, what: str, model: type[Model], command: str = "") -> Model:
    """Return a file's content as its model.

    Args:
        path: of the file.
        what: it is, for messages: "sweep file".
        model: of the whole file; models that refuse unknown keys have them told with the nearest valid one.
        command: that tells more, for messages.

    Raises:
        UserError: the file cannot be read, or one line with all that is wrong in it.
    """
    text = text_of(path, what)
    try:
        return model.model_validate(content_of(text, path))
    except ValidationError as error:
        findings = in_lines(list(mistakes_of(error, model)), text, path)
    more = f" (see: {command})" if command else ""
    raise UserError("; ".join(finding.line for finding in findings) + more)
