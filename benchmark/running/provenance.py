"""Where a result comes from: versions, revisions, commit, machine settings, memory."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmark.models.backbone import LoadedBackbone
from benchmark.results import Provenance, Tuned
from benchmark.running.data_index import find_versions

if TYPE_CHECKING:
    from benchmark.stream import LoadedStream

PACKAGES = (
    *("torch", "transformers", "datasets", "peft", "evaluate", "numpy", "scikit-learn", "rouge_score"),
    *("bitsandbytes", "flash_attn"),
)
"""What can change a number, beside Python itself."""


def describe(
    loaded: LoadedStream,
    fingerprint: str,
    backbone: LoadedBackbone,
    device: torch.device,
    source: tuple[str | None, bool | None],
    tuned: Tuned | None = None,
    gpus: int = 1,
    method_sha256: str | None = None,
) -> Provenance:
    """Return everything a reader needs to run the run again.

    Args:
        source: `git_state` as it was when the code was loaded.
        tuned: the search that chose the hyper-parameters.
        gpus: that the run computed on.
        method_sha256: see `benchmark.running.method_code`.
    """
    commit, dirty = source
    return Provenance(
        versions={"python": platform.python_version()} | find_versions(PACKAGES),
        commit=commit,
        dirty=dirty,
        data_origin=loaded.origin,
        data_fingerprint=fingerprint,
        data_revisions=dict(loaded.revisions),
        backbone_origin=backbone.origin,
        backbone_revision=backbone.revision,
        device=("" if gpus == 1 else f"{gpus} x ") + device_name(device),
        threads=torch.get_num_threads(),
        dtype=str(next(backbone.module.parameters()).dtype).removeprefix("torch."),
        class_order=loaded.class_order,
        task_order=[task.name for task in loaded.tasks],
        method_sha256=method_sha256,
        tuned=tuned,
    )


def device_name(device: torch.device) -> str:
    """Return the name that a GPU's maker gives it, or the type of another device."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def git_state() -> tuple[str | None, bool | None]:
    """Return the suite's commit and whether its source files differ from it; None outside a checkout."""
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return None, None
        commit = git("rev-parse", "HEAD")
        return commit, bool(git("status", "--porcelain", "--", "benchmark", "methods", "tasks"))
    except (OSError, subprocess.CalledProcessError):
        return None, None


def finish_time() -> str:
    """Return the time now, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def peak_memory(device: torch.device, gpus: int = 1) -> int:
    """Return the most bytes in use: of the device, the fullest of several, or the process on a CPU."""
    if device.type == "cuda" and gpus > 1:
        return max(torch.cuda.max_memory_allocated(number) for number in range(gpus))
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
