"""Measures a whole run of SD-LoRA against the authors' own training loop at the same work.

    git clone https://github.com/WuYichen-97/SD-Lora-CL FOLDER
    python -m scripts.authors_loop FOLDER
    python -m scripts.authors_loop FOLDER --train 60 --epochs 6 --rounds 3

Their program is read from the folder and not changed; it imports timm, einops and scipy, which must be found.
Both sides learn the same rows of CIFAR-100 in as many tasks, epochs and batches, and score all tasks seen
after each. Theirs gets a transformer of our backbone's size with sampled weights, and rows as ready
tensors; it does without a GPU, without processes that load data, and without the scores that it prints
while a task is learned, which we have not (`--their-scores` keeps them). It adapts all blocks; beside that it
is measured with the last ones alone, by its adapter's argument `lora_layer`, which it never sets.

Runs take turns, each a process of one thread. The processor's seconds of all of it count, imports included;
images are decoded before. Of our runs with the last blocks the first stores the prefix, the second reads it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from benchmark.data.cache_place import VARIABLE as CACHE
from benchmark.errors import UserError
from benchmark.models import backbone
from benchmark.models.backbone_store import VARIABLE as BACKBONES
from benchmark.models.backbone_store import store
from benchmark.models.blocks import choose_blocks
from scripts.authors_program import RATE, SEED, STREAM, Rows, Work

FILES = ("trainer.py", "models/sdlora.py", "backbone/lora.py", "utils/inc_net.py")
IMPORTED = ("timm", "einops", "scipy", "tqdm")
DEFAULTS = {"tasks": 20, "train": 20, "test": 10, "epochs": 3, "batch": 50}


def our_command(work: Work, model: str, blocks: str, out: str) -> list[str]:
    """Return the module and arguments of our run."""
    chosen = {f"protocol.{key}": value for key, value in work.protocol().items()}
    chosen |= {"protocol.blocks": blocks, "tasks": work.tasks, "size": work.side, "learning_rate": RATE}
    command = ["benchmark", "run", "--method", "sd-lora", "--stream", STREAM, "--protocol", "standard"]
    command += ["--order", "1", "--seed", str(SEED), "--backbone", model, "--out", out]
    return command + [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]


def processor_seconds(module: list[str], printed: Path) -> float:
    """Run a module and return the seconds that its process computed; what it prints goes to a file.

    Raises:
        RuntimeError: it failed; the message ends with what it printed.
    """
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": ""}
    with open(printed, "w", encoding="utf-8") as file:
        command = [sys.executable, "-m", *module]
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(module[:2])} failed:\n{printed.read_text(encoding='utf-8')[-2000:]}")
    return used.ru_utime + used.ru_stime


def measure(chosen: argparse.Namespace, work: Work, root: Path) -> Iterator[tuple[str, float]]:
    """Yield what ran and its seconds, each side once; `root` holds the cache that all share."""
    printed, some = root / "printed.txt", chosen.blocks
    for blocks in ("all", some):
        given = {"blocks": choose_blocks(blocks, work.depth), "scored": chosen.their_scores}
        command = ["scripts.authors_program", str(chosen.folder), json.dumps({"work": asdict(work), **given})]
        yield f"theirs, {blocks}", processor_seconds(command, printed)
    shutil.rmtree(root / "prefix", ignore_errors=True)
    for name, blocks in (("all", "all"), (f"{some}, first run", some), (f"{some}, second run", some)):
        with tempfile.TemporaryDirectory() as out:
            yield f"ours, {name}", processor_seconds(our_command(work, chosen.backbone, blocks, out), printed)


def read(arguments: list[str]) -> tuple[argparse.Namespace, Work]:
    """Return what was asked for, and the work; ends with a line where it cannot be done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="holds their program")
    parser.add_argument("--backbone", default="dinov2-small-saliency", help="a vision transformer")
    parser.add_argument("--blocks", default="last:4", help="adapted by both sides in the second comparison")
    parser.add_argument("--rounds", type=int, default=2)
    for name, default in DEFAULTS.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--their-scores", action="store_true", help="theirs scores while it learns, too")
    chosen = parser.parse_args(arguments)
    if missing := [name for name in FILES if not (chosen.folder / name).is_file()]:
        parser.error(f"{chosen.folder} does not hold their program: there is no {missing[0]}")
    if chosen.tasks not in (1, 2, 4, 5, 10, 20):
        parser.error(f"--tasks {chosen.tasks}: expected 1, 2, 4, 5, 10 or 20; theirs holds 20 adapters")
    if low := [name for name in ("rounds", *DEFAULTS) if getattr(chosen, name) < 1]:
        parser.error(f"--{low[0]} {getattr(chosen, low[0])}: expected 1 or more")
    if missing := [name for name in IMPORTED if importlib.util.find_spec(name) is None]:
        parser.error(f"their program imports {', '.join(missing)}, not installed here")
    try:
        sizes = backbone.load(chosen.backbone).module.config
        choose_blocks(chosen.blocks, sizes.num_hidden_layers)
    except (UserError, ValueError) as error:
        parser.error(str(error))
    amounts = {name: getattr(chosen, name) for name in DEFAULTS}
    shape = {"width": sizes.hidden_size, "depth": sizes.num_hidden_layers, "heads": sizes.num_attention_heads}
    shape |= {"hidden": int(sizes.hidden_size * sizes.mlp_ratio)}
    return chosen, Work(**amounts, **shape, patch=sizes.patch_size, side=sizes.image_size)


def main(arguments: list[str]) -> None:
    """Print the seconds of every run, and the ratio of each of ours to each of theirs."""
    chosen, work = read(arguments)
    seconds: dict[str, list[float]] = {}
    os.environ[BACKBONES] = str(store())
    with tempfile.TemporaryDirectory() as root:
        os.environ[CACHE] = root
        Rows(work)  # decodes the images, for both sides
        for _ in range(chosen.rounds):
            for name, used in measure(chosen, work, Path(root)):
                seconds.setdefault(name, []).append(used)
                print(f"{name}: {used:.1f} s", flush=True)
    for ours in seconds:
        for theirs in seconds:
            if ours.startswith("ours") and theirs.startswith("theirs"):
                rounds = [a / b for a, b in zip(seconds[ours], seconds[theirs], strict=True)]
                spread = f"{min(rounds):.3f} to {max(rounds):.3f}"
                print(f"{ours} / {theirs}: {statistics.median(rounds):.3f} ({spread})")


if __name__ == "__main__":
    main(sys.argv[1:])
