"""Control characters: names that hold one are refused where they are read, and messages show its number.

They move a terminal's cursor, change its colours or its title, and break or turn a line of a page.
"""

from __future__ import annotations

import re
from typing import Any

# C0 and C1 of ASCII and Latin-1, the line and paragraph separators, and what turns the writing direction.
# Joiners of letters are none of them: Persian, Indic scripts and emoji are written with those.
_NOT_SPACE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"  # neither tab nor line break
_ANY = re.compile(f"[\t\n{_NOT_SPACE}]")
_NO_SPACE = re.compile(f"[{_NOT_SPACE}]")


def control_character(value: Any) -> str:
    """Return the first control character in a text, or in the texts of lists and tables; "" if there is none.

    It is named as Unicode does, "U+001B".
    """
    if isinstance(value, str):
        found = _ANY.search(value)
        return f"U+{ord(found.group()):04X}" if found else ""
    if isinstance(value, dict):
        return next((mark for pair in value.items() if (mark := control_character(list(pair)))), "")
    if isinstance(value, (list, tuple)):
        return next((mark for part in value if (mark := control_character(part))), "")
    return ""


def control_character_of_json(text: str, found: Any) -> str:
    """Return what `control_character` says of `found`, read from the JSON `text`.

    A text that holds neither an escape nor a control character can give no value that does. Looking at the
    text once is ten times quicker than walking the thousand numbers of a result.
    """
    return control_character(found) if "\\" in text or _NO_SPACE.search(text) else ""


def printable(text: str) -> str:
    """Return a message with its control characters, but line breaks and tabs, written as `<U+001B>`."""
    return _NO_SPACE.sub(lambda found: f"<U+{ord(found.group()):04X}>", text)
