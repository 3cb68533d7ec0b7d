"""Names of classes and tasks: which ones people and scorers would take for one, and the order of many."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation


def fold_name(name: str) -> str:
    """Return what is equal for names that differ only by case or by how Unicode writes their letters."""
    return unicodedata.normalize("NFC", name).casefold()


def difference(name: str, other: str) -> str:
    """Return in what alone two names differ whose `fold_name` is the same."""
    same = unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other)
    return "how Unicode writes it (NFC makes both equal)" if same else "case"


def in_order(names: Iterable[str]) -> list[str]:
    """Return names sorted: by value where all are numbers, so that 10 comes after 9, else as text."""
    listed = sorted(names)
    try:
        values = [Decimal(name) for name in listed]
    except InvalidOperation:
        return listed
    if not all(value.is_finite() for value in values):
        return listed
    return [name for _, name in sorted(zip(values, listed, strict=True))]
