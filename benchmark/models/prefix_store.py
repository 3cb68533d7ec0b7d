"""Where the outputs of frozen prefixes lie on the disk: how much of it they may take, and what goes first.

`BENCH_PREFIX_GB` is the limit in gigabytes, 20 where it is not set; with 0 nothing is stored. When a new
entry does not fit, entries go in the order of their last use, but none that was used within the last hour: a
sweep larger than the limit would else throw out what its next run reads. What then still does not fit is not
stored, and its states are computed for every batch anew.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data import row_cache
from benchmark.data.row_cache import Arrays, Build
from benchmark.errors import UserError

KIND = "prefix"
VARIABLE = "BENCH_PREFIX_GB"
DEFAULT_LIMIT = 20.0
KEPT_SECONDS = 3600

log = logging.getLogger(__name__)


class Writer:
    """Puts the states of rows one after another into an entry."""

    def __init__(self, arrays: Arrays) -> None:
        """Start without rows."""
        self.arrays = arrays
        self.lengths = [0]

    def write(self, states: Sequence[Tensor]) -> None:
        """Append rows' states, each `(length, width)`."""
        block = torch.cat(list(states)).cpu()
        self.arrays.append("states", _as_numpy(block))
        self.lengths += [len(state) for state in states]

    def close(self) -> None:
        """Write where each row begins."""
        self.arrays.append("offsets", np.cumsum(self.lengths))


class Ragged:
    """The stored states of a split's rows."""

    def __init__(self, states: np.ndarray, offsets: np.ndarray, dtype: torch.dtype) -> None:
        """Take the mapped arrays `(tokens, width)` and `(rows + 1,)`."""
        self.states, self.offsets, self.dtype = states, offsets, dtype

    def rows(self, chosen: Sequence[int]) -> list[Tensor]:
        """Return copies of the states of some rows, each `(length, width)`."""
        found = []
        for row in chosen:
            block = np.array(self.states[self.offsets[row] : self.offsets[row + 1]])
            found.append(torch.from_numpy(block).view(self.dtype))
        return found


def _as_numpy(block: Tensor) -> np.ndarray:
    """Return states as an array; numpy has no bfloat16, whose bits are kept as whole numbers."""
    return (block.view(torch.int16) if block.dtype == torch.bfloat16 else block).numpy()


def find_or_store(key: list[str], size: Callable[[], int], build: Build, dtype: torch.dtype) -> Ragged | None:
    """Return the entry of a key, made where it is missing; None where it cannot or may not be stored.

    Args:
        size: returns the bytes that it will take; asked only where it is missing.
    """
    root = row_cache.place()
    if root is None or limit() == 0:
        return None
    try:
        found = row_cache.map_stored(KIND, key, build, lambda: _make_room(root / KIND, size()))
    except (OSError, NotImplementedError) as error:
        log.warning("the frozen prefix is not stored but computed for every batch: %s", error)
        return None
    return Ragged(found["states"], found["offsets"], dtype)


def limit() -> float:
    """Return the bytes that all entries together may take.

    Raises:
        UserError: the variable is no number of gigabytes.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        value = float(text) if text else DEFAULT_LIMIT
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(
            f"{VARIABLE}={text}: expected gigabytes, 0 for no cache, or nothing for {DEFAULT_LIMIT:g}"
        )
    return value * 1e9


def _make_room(folder: Path, size: int) -> None:
    """Delete the entries longest unused until another of a size fits under the limit.

    Raises:
        OSError: it fits neither then nor on the disk.
    """
    entries = row_cache.entries(folder)
    held, most = sum(entry.size for entry in entries), limit()
    for entry in sorted(entries, key=lambda entry: entry.used):
        if held + size <= most or time.time() - entry.used < KEPT_SECONDS:
            break
        row_cache.remove(entry)
        held -= entry.size
    if held + size > most:
        raise OSError(
            f"{size / 1e9:.2f} GB more than the {held / 1e9:.2f} GB in use would exceed "
            f"{VARIABLE}={most / 1e9:g}"
        )
    free = shutil.disk_usage(folder).free
    if size > free:
        raise OSError(f"{size / 1e9:.2f} GB are needed in {folder} and {free / 1e9:.2f} GB are free")
