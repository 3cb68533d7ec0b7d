"""Control characters: names that hold one are refused where they are read, and messages show its number.

They move a terminal's cursor, change its colours or its title, and break or turn a line of a page.
"""

from __future__ import annotations

import re
from typing import Any

# C0 and C1 of ASCII and Latin-1, the line and paragraph separators, and what turns the writing direction.
# Joiners of letters are none of them: Persian, Indic scripts and emoji are written with those.
_CONTROL = "\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
_ANY = re.compile(f"[{_CONTROL}]")
_NO_SPACE = re.compile(f"(?![\n\t])[{_CONTROL}]")


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


def printable(text: str) -> str:
    """Return a message with its control characters, but line breaks and tabs, written as `<U+001B>`."""
    return _NO_SPACE.sub(lambda found: f"<U+{ord(found.group()):04X}>", text)
