"""What the inputs of `scripts.fuzz` stand on: sound files to damage, and what an input is."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.mutations import toml_file

SMALL = ("stream.tasks=2", "stream.train_rows=8", "stream.test_rows=4", "epochs=1")
HEAD = {"name": "tickets", "title": "Tickets", "kind": "text-classification", "licence": "none"}
COLUMNS = {"task": "task", "split": "split", "text": "text", "label": "label", "id": "id"}
ROWS = [
    {"task": task, "split": split, "text": f"{label} {split} {n}", "label": label, "id": f"{label}{split}{n}"}
    for task, labels in (("a", ("red", "green")), ("b", ("black", "round")))
    for label in labels
    for split, count in (("train", 3), ("test", 1))
    for n in range(count)
]

SHORT_RUN = (
    *("run", "--method", "frozen", "--stream", "stream.toml"),
    *("--set", "source_length=32", "--set", "validation=0"),
)


@dataclass(frozen=True)
class Input:
    """One command; `wrong` where it is certain that it must not end with 0."""

    command: list[str]
    wrong: bool = False
    note: str = ""


class Ground:
    """Sound files to damage, made once."""

    def __init__(self, folder: Path) -> None:
        """Make them: a result with adapters, and tiny backbones."""
        from benchmark.running.driver import run
        from benchmark.running.plan import plan
        from tests import tiny

        cells = plan("inc-lora", "toy", None, "0", settings=list(SMALL))
        (outcome,) = run(cells, folder / "runs", None, 1, "cpu", False, lambda event: None)
        assert outcome.path is not None, outcome.error
        self.result = outcome.path
        self.content: dict[str, Any] = json.loads(outcome.path.read_bytes())
        self.encoder, self.vit = tiny.folder("encoder"), tiny.folder("image")

    def place(self, folder: Path, content: bytes | None = None) -> Path:
        """Put a copy of the result and its adapters into a folder, with other content if it is given."""
        path = folder / self.result.name
        path.write_bytes(self.result.read_bytes() if content is None else content)
        shutil.copy(self.result.with_suffix(".safetensors"), folder)
        return path


def stream_of(kind: str = "csv", backbone: str = "minilm", **more: Any) -> dict[str, Any]:
    """Return the content of a sound stream file over a table."""
    table = {"source": {"path": f"rows.{kind}"}, "columns": COLUMNS}
    return {**HEAD, "table": table, "protocol": {"smoke": {"backbone": backbone, "epochs": 1}}, **more}


def write_rows(folder: Path, rows: list[dict[str, Any]], kind: str) -> Path:
    """Write a table of rows as `rows.<kind>`."""
    path = folder / f"rows.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif kind == "parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        import csv

        with open(path, "w", encoding="utf-8", newline="", errors="surrogatepass") as file:
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
    return path


def sound_inputs(ground: Ground, work: Path) -> list[Input]:
    """Return commands on what is not damaged, which must all end with 0, or the rest would say nothing."""
    write_rows(work, ROWS, "csv")
    content = stream_of(backbone=str(ground.encoder), orders={"1": ["a", "b"]})
    (work / "stream.toml").write_text(toml_file(content), encoding="utf-8")
    block = {"method": ["seq-lora"], "stream": "toy", "seed": "0-2", "set": {"epochs": 2}}
    (work / "sweep.toml").write_text(toml_file({"run": [block]}), encoding="utf-8")
    (work / "boards" / "results" / "toy" / "smoke").mkdir(parents=True)
    ground.place(work / "boards" / "results" / "toy" / "smoke")
    path = str(ground.place(work))
    commands: list[list[str]] = [
        *([*verb, path] for verb in (["show"], ["score"], ["analyse", "metrics"])),
        *(["data", verb, "stream.toml"] for verb in ("verify", "describe")),
        *(["export", path, "out"], ["leaderboard", "--root", "boards", "--out", "tables"]),
        *(["sweep", "--dry-run", "sweep.toml"], list(SHORT_RUN)),
    ]
    return [Input(command) for command in commands]
