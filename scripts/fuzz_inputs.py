"""The damaged inputs of `scripts.fuzz`, by area: what a command is handed, and whether it must refuse it."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmark.publishing.marks import digest
from benchmark.publishing.side_files import RAN, RESCORED
from benchmark.results import Result, read
from benchmark.running.run import Run
from scripts.fuzz_ground import COLUMNS, HEAD, ROWS, SHORT_RUN, SMALL, Ground, Input, stream_of, write_rows
from scripts.mutations import (
    CONTROL,
    HOSTILE,
    as_bytes,
    changed,
    damage_bytes,
    damage_json,
    damage_tensors,
    odd_value,
    toml_file,
    with_control,
    without,
)


def damage_arguments(rng: random.Random, ground: Ground, work: Path) -> Input:
    """Return a command with odd words among its arguments."""
    word = lambda: rng.choice((*HOSTILE, "toy", "seq-lora", "digits", "epochs=2", str(ground.result)))  # noqa: E731
    dry = ["run", "--dry-run", "--method", "seq-lora", "--stream", "toy"]
    flags = (
        *("--method", "--stream", "--order", "--seed", "--backbone", "--protocol", "--set", "--data-dir"),
        *("--out", "--workers", "--timeout", "--cpus", "--gpus", "--memory", "--log", "--device", "--tuned"),
    )
    commands: list[list[str]] = [
        [*dry, *(part for _ in range(rng.choice((1, 1, 2))) for part in (rng.choice(flags), word()))],
        [*dry, "--set", f"{rng.choice((*SMALL, 'rank', 'protocol.head')).partition('=')[0]}={word()}"],
        ["list", rng.choice(("--method", "--stream", "--backbone", "orders", word())), word()],
        [
            rng.choice(("show", "score", "export", "submit")),
            word(),
            *([word()] if rng.random() < 0.3 else []),
        ],
        ["analyse", rng.choice(("metrics", "redundancy", "report")), word()],
        ["data", rng.choice(("list", "describe", "verify")), word()],
        ["leaderboard", "--check", "--root", word(), "--out", word()],
        ["sweep", "--dry-run", word()],
        ["tune", "--stream", "toy", "--method", word(), "--trials", rng.choice(("0", "-1", "x"))],
        [word(), word(), word()],
    ]
    command = rng.choice(commands)
    wrong = command[0] == "tune"
    return Input(command, wrong, "arguments")


def damage_streams(rng: random.Random, ground: Ground, work: Path) -> Input:
    """Return a command on a damaged stream file."""
    content, wrong, kind = stream_of(orders={"1": ["a", "b"]}), False, rng.randrange(6)
    write_rows(work, ROWS, "csv")
    key = rng.choice(("name", "title", "kind", "licence", "protocol"))
    data = None
    if kind == 0:
        content, wrong = without(content, (key,)), True
    elif kind == 1:
        content, wrong = changed(content, (key,), rng.choice(([], [[]], 3, -1e300))), True
    elif kind == 2:
        content, wrong = changed(content, ("title",), f"a{rng.choice(CONTROL)}b"), True
    elif kind == 3:
        content, wrong = content | {rng.choice(HOSTILE): 1}, True
    elif kind == 4:
        data = damage_bytes(toml_file(content).encode(), rng)
    else:
        content = damage_json(content, rng)
    path = work / "stream.toml"
    path.write_bytes(toml_file(content).encode("utf-8", "surrogatepass") if data is None else data)
    dry = ["run", "--dry-run", "--method", "seq-lora", "--stream"]
    verbs = (["data", "verify"], dry) if wrong else (["data", "verify"], ["list", "--stream"], dry)
    return Input([*rng.choice(verbs), str(path)], wrong, f"stream {kind}")


def damage_sweeps(rng: random.Random, ground: Ground, work: Path) -> Input:
    """Return a dry run of a damaged sweep file."""
    block: dict[str, Any] = {"method": ["seq-lora"], "stream": "toy", "seed": "0-2", "set": {"epochs": 2}}
    kind, wrong, data = rng.randrange(6), False, None
    if kind == 0:
        block, wrong = without(block, (rng.choice(("method", "stream")),)), True
    elif kind == 1:
        block, wrong = block | {rng.choice(HOSTILE) + "x": 1}, True
    elif kind == 2:
        block, wrong = (
            block | {rng.choice(("method", "stream", "seed")): rng.choice(({}, True, 1.5, [[]]))},
            True,
        )
    elif kind == 3:
        block = changed(block, ("set", rng.choice(HOSTILE)), odd_value(rng))
    elif kind == 4:
        data = damage_bytes(toml_file({"run": [block]}).encode(), rng)
    else:
        block = damage_json(block, rng)
    path = work / "sweep.toml"
    text = toml_file({"run": [block]})
    path.write_bytes(text.encode("utf-8", "surrogatepass") if data is None else data)
    return Input(["sweep", "--dry-run", str(path)], wrong, f"sweep {kind}")


def damage_results(rng: random.Random, ground: Ground, work: Path) -> Input:
    """Return a command on a damaged result."""
    content, kind, wrong = ground.content, rng.randrange(6), True
    if kind == 0:
        data = ground.result.read_bytes()
        data = data[: rng.randrange(len(data.rstrip()) - 1)]
    elif kind == 1:
        # Where a field has a default, leaving it out is no mistake.
        required = [name for name, field in Result.model_fields.items() if field.is_required()]
        data = as_bytes(without(content, (rng.choice(required),)), random.Random(0))
    elif kind == 2:
        known = [key for key in content if key not in ("untrained", "headline", "config")]
        data = json.dumps(changed(content, (rng.choice(known),), [[[]]])).encode()
    elif kind == 3:
        data = as_bytes(with_control(content, rng), random.Random(0))
    elif kind == 4:
        data, wrong = damage_bytes(ground.result.read_bytes(), rng), False
    else:
        data, wrong = as_bytes(damage_json(content, rng), rng), False
    if rng.random() < 0.2:
        folder = work / "boards" / "results" / "toy" / "smoke"
        folder.mkdir(parents=True)
        ground.place(folder, data)
        return Input(["leaderboard", "--root", "boards", "--out", "tables"], wrong, f"board {kind}")
    path = str(ground.place(work, data))
    verbs = (
        ["show"],
        ["analyse", "metrics"],
        ["submit", "--check"],
        ["score"],
        ["export"],
        ["analyse", "report"],
    )
    verb = rng.choice(verbs)
    # A page of a folder leaves out what is no result, and says so.
    return Input([*verb, path, *(["out"] if verb == ["export"] else [])], wrong, f"result {kind}")


def damage_rows(rng: random.Random, ground: Ground, work: Path) -> Input:
    """Return a check of damaged tables."""
    kind, wrong, form = rng.randrange(8), True, rng.choice(("csv", "jsonl", "parquet", "tsv"))
    rows, at = [dict(row) for row in ROWS], rng.randrange(len(ROWS))
    form = {"tsv": "csv"}.get(form, form)
    if kind == 0:
        rows[at]["label"] = ""
    elif kind == 1:
        rows[at]["id"] = rows[at - 1]["id"]
        rows[at]["task"] = rows[at - 1]["task"]
    elif kind == 2:
        rows[at]["split"] = "t" + rng.choice(HOSTILE)
    elif kind == 3:
        rows[-1]["label"] = "never seen"
    elif kind == 4:
        rows[at][rng.choice(("label", "task"))] = f"x{rng.choice(CONTROL)}y"
    elif kind == 5:
        rows[at][rng.choice(list(COLUMNS))] = rng.choice(HOSTILE)
        wrong = False
    path = write_rows(work, rows, form)
    if kind == 6:
        path.write_bytes(damage_bytes(path.read_bytes(), rng))
        wrong = False
    elif kind == 7:
        lines = path.read_bytes().split(b"\n")
        if form == "parquet":
            path.write_bytes(path.read_bytes()[: -rng.randrange(1, 200)])
        elif form == "csv":
            lines[1 + at] += b",one more"
            path.write_bytes(b"\n".join(lines))
        else:
            lines[at] = as_bytes(json.loads(lines[at]) | {"text": rng.choice((3, None, ["a"], {}))}, rng)
            path.write_bytes(b"\n".join(lines))
    (work / "stream.toml").write_text(toml_file(stream_of(form)), encoding="utf-8")
    return Input(["data", "verify", "stream.toml"], wrong, f"rows {kind} {form}")


def damage_images(rng: random.Random, ground: Ground, work: Path) -> Input:
    """Return a check of a folder of images one of which is damaged."""
    from PIL import Image

    kind, wrong = rng.randrange(5), False
    table = {"source": {"folder": "photos"}, "size": 4}
    content = HEAD | {"kind": "image", "table": table, "cut": {"classes_per_task": 2}}
    content |= {"orders": {"1": 3}, "protocol": {"smoke": {"backbone": "vit-nano"}}}
    (work / "stream.toml").write_text(toml_file(content), encoding="utf-8")
    for n, name in enumerate(("cat", "dog")):
        for split in ("train", "test"):
            folder = work / "photos" / split / name
            folder.mkdir(parents=True)
            Image.new("RGB", (8, 6), (40 * n + 5 * (split == "test"), 50, 99)).save(folder / f"{n}.png")
    path = rng.choice(sorted((work / "photos").rglob("*.png")))
    if kind == 0:
        path.write_bytes(path.read_bytes()[: rng.randrange(40)])
        wrong = True
    elif kind == 1:
        path.write_bytes(rng.randbytes(rng.choice((0, 1, 200))))
        wrong = True
    elif kind == 2:
        stream = io.BytesIO()
        mode = rng.choice(("L", "P", "1", "RGBA", "I;16", "CMYK", "LA"))
        Image.new(mode, (rng.choice((1, 9)), rng.choice((1, 3000)))).save(
            stream, rng.choice(("PNG", "WEBP", "BMP", "JPEG", "GIF")) if mode in ("L", "RGB") else "TIFF"
        )
        path.write_bytes(damage_bytes(stream.getvalue(), rng) if rng.random() < 0.5 else stream.getvalue())
    elif kind == 3:
        path.write_bytes(damage_bytes(path.read_bytes(), rng))
    else:
        names = [name for name in HOSTILE if "/" not in name and "\x00" not in name and len(name) < 200]
        name = rng.choice([name for name in names if name not in ("", "..", ".", "a/b")])
        path.parent.rename(path.parent.parent / name)
        wrong = name in CONTROL
    return Input(["data", "verify", "stream.toml"], wrong, f"images {kind}")


def damage_adapters(rng: random.Random, ground: Ground, work: Path) -> Input:
    """Return a command on a sound result whose adapters are damaged."""
    path = ground.place(work)
    wrong = damage_tensors(path.with_suffix(".safetensors"), rng)
    if rng.random() < 0.1:
        path.with_suffix(".safetensors").unlink()
        wrong = True
    return Input(["score", str(path)], wrong, "adapters")


def damage_backbones(rng: random.Random, ground: Ground, work: Path) -> Input:
    """Return a short run on a damaged backbone."""
    folder = work / "model"
    shutil.copytree(ground.encoder, folder)
    write_rows(work, ROWS, "csv")
    (work / "stream.toml").write_text(toml_file(stream_of(backbone=str(folder))), encoding="utf-8")
    kind = rng.randrange(4)
    wrong = False
    if kind == 0:
        path = folder / "model.safetensors"
        # The head that a checkpoint was trained with may lie beside the tensors that are read.
        wrong = damage_tensors(path, rng) and b'"extra' not in path.read_bytes()
    elif kind == 1:
        path = rng.choice(sorted(folder.glob("*.json")))
        path.write_bytes(damage_bytes(path.read_bytes(), rng))
    elif kind == 2:
        path = folder / "config.json"
        path.write_bytes(as_bytes(damage_json(json.loads(path.read_bytes()), rng), rng))
    else:
        path = rng.choice([folder / "config.json", folder / "tokenizer.json", folder / "model.safetensors"])
        wrong = True
        path.unlink()
    return Input(list(SHORT_RUN), wrong, f"backbone {kind}")


def damage_names(rng: random.Random, ground: Ground, work: Path) -> Input:
    """Return a command in which names of classes, tasks, files and fields are hostile."""
    name, kind = rng.choice(HOSTILE), rng.randrange(5)
    hostile = name in CONTROL
    if kind == 0:
        rows = [dict(row, label=f"x{name}y") if row["label"] == "red" else row for row in ROWS]
    elif kind == 1:
        rows = [dict(row, task=f"x{name}y") if row["task"] == "a" else row for row in ROWS]
    elif kind == 2:
        task = changed(ground.content, ("tasks", 0, rng.choice(("name", "metric"))), f"x{name}")
        ground.place(work, json.dumps(task).encode())
        folder = work / "boards" / "results" / "toy" / "smoke"
        folder.mkdir(parents=True)
        ground.place(folder, json.dumps(task).encode())
        verbs = (["show", ground.result.name], ["leaderboard", "--root", "boards", "--out", "tables"])
        return Input(list(rng.choice(verbs)), hostile, "names of a result")
    elif kind == 3:
        usable = (
            "/" not in name and "\x00" not in name and len(name) < 200 and name not in ("", "..", "-", "--")
        )
        path = work / (f"{name}.json" if usable else "x.json")
        path.write_bytes(ground.result.read_bytes()[: rng.choice((10, None))])
        return Input(["show", str(path)], False, "names of files")
    else:
        key = rng.choice(("name", "title", "citation", "homepage", "licence"))
        write_rows(work, ROWS, "csv")
        (work / "stream.toml").write_bytes(toml_file(stream_of() | {key: f"x{name}"}).encode())
        return Input(["list", "--stream", "stream.toml"], hostile, f"names: {key}")
    form = rng.choice(("csv", "jsonl"))
    write_rows(work, rows, form)
    (work / "stream.toml").write_text(toml_file(stream_of(form)), encoding="utf-8")
    return Input(["data", rng.choice(("verify", "describe")), "stream.toml"], hostile, f"names {kind}")


def damage_side_files(rng: random.Random, ground: Ground, work: Path) -> Input:
    """Return a command on boards where a mark of re-scoring, or the line on what a sweep ran, is damaged."""
    folder = work / "boards" / "results" / "toy"
    (folder / "smoke").mkdir(parents=True)
    result = read(ground.place(folder / "smoke"))
    mark = {
        "mark_version": 1,
        "key": result.key,
        "result_sha256": digest(result),
        "scores": result.matrix[-1],
    }
    mark |= {"adapters_sha256": result.adapters_sha256}
    mark |= {"data_fingerprint": result.provenance.data_fingerprint}
    ran = {"ran_version": 1, "method": result.method, "row": Run.of(result).row, "runs": [["1", 0]]}
    for ending, line in ((RESCORED, mark), (RAN, ran)):
        (folder / f"smoke{ending}").write_text(json.dumps(line) + "\n", encoding="utf-8")
    path = folder / f"smoke{rng.choice((RESCORED, RAN))}"
    line = mark if path.suffix == RESCORED else ran
    if rng.random() < 0.5:
        path.write_bytes(damage_bytes(path.read_bytes(), rng))
        wrong = False
    else:
        odd = damage_json(line, rng)
        path.write_bytes(as_bytes(odd, rng))
        wrong = odd != line and path.suffix == RESCORED
    check = ["--check"] if path.suffix == RAN or rng.random() < 0.3 else []
    return Input(["leaderboard", "--root", "boards", "--out", "tables", *check], wrong, path.suffix)


AREAS: Mapping[str, Callable[[random.Random, Ground, Path], Input]] = {
    "arguments": damage_arguments,
    "streams": damage_streams,
    "sweeps": damage_sweeps,
    "results": damage_results,
    "rows": damage_rows,
    "images": damage_images,
    "adapters": damage_adapters,
    "backbones": damage_backbones,
    "names": damage_names,
    "side files": damage_side_files,
}
