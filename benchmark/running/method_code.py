"""Which program a result came from: a hash of a method's source files, kept with it and looked at later."""

from __future__ import annotations

import hashlib
import inspect
from functools import cache
from pathlib import Path

from benchmark.registry import METHODS
from benchmark.results import Result

OWN = "benchmark"
"""The package whose code is not the method's: a result names its commit."""


@cache
def hash_method(key: str) -> str | None:
    """Return the SHA-256 of the files that define a method's class and the classes it builds on.

    None where it has no file, as in a notebook.
    """
    files = set()
    for cls in METHODS.load(key).__mro__:
        if cls is object or cls.__module__.partition(".")[0] == OWN:
            continue
        try:
            source = inspect.getsourcefile(cls)
        except (TypeError, OSError):
            return None
        if source is None:
            return None
        files.add(source)
    try:
        contents = sorted(Path(file).read_bytes() for file in files)
    except OSError:
        return None
    return hashlib.sha256(b"".join(hashlib.sha256(each).digest() for each in contents)).hexdigest()


def describe_change(result: Result) -> str:
    """Return a line where a method's code is not that of a result any more; "" else, or if not known."""
    before, now = result.provenance.method_sha256, hash_method(result.method)
    if before is None or now is None or before == now:
        return ""
    return f"the code of the method '{result.method}' has changed since"
