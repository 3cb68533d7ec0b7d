"""The program on a model card: it runs as printed, without this package, and its scores are the result's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import transformers

from benchmark.errors import UserError
from benchmark.publishing.export import export
from benchmark.registry import METHODS
from benchmark.results import Result, read
from benchmark.running.driver import run
from benchmark.running.learner import Learner
from benchmark.running.plan import plan
from benchmark.running.run import Run
from benchmark.running.worker import load_data
from benchmark.stream import LoadedStream, Task, Wording
from tests import tiny

# Nothing of this package can be imported, and nothing is asked of the hub.
RUNNER = """
import json, os, sys
os.environ["HF_HUB_OFFLINE"] = "1"
sys.modules.update(dict.fromkeys(("benchmark", "methods", "tasks")))
names = {}
exec(compile(sys.argv[1], "README.md", "exec"), names)
rows = json.load(open("rows.json"))
if "images" in rows:
    import torch
    answers = [names["answer"](torch.tensor(each)) for each in rows["images"]]
else:
    answers = [[names["answer"](text, task) for text in texts] for task, texts in rows["texts"].items()]
print(json.dumps(answers))
"""


def learned(kind: str, path: Path, tasks: list[Task], method: str, **settings: Any) -> Result:
    """Learn tiny tasks and return the result."""
    hyperparameters = METHODS.load(method).Hyperparameters(learning_rate=0.02).model_dump()
    protocol = tiny.protocol(kind, alpha=8.0, epochs=12, **settings)
    run = Run(method, "standard-cl", "1", 0, str(tiny.folder(kind)), protocol, hyperparameters)
    Learner(run, LoadedStream(tasks, "made up"), "print", path, "cpu", lambda event: None).learn_all()
    return read(path)


def code_of(folder: Path) -> str:
    found = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


def answers(folder: Path, rows: dict[str, Any]) -> list[list[str]]:
    """Run the card's program in its folder, in a process of its own, and return its answers by task."""
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, code_of(folder)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def check_scores(result: Result, tasks: list[Task], found: list[list[str]]) -> None:
    """Compare the share of right answers with the last row of the score matrix, to 0.1 point."""
    for task, given, score in zip(tasks, found, result.matrix[-1], strict=True):
        assert task.test.labels is not None and score is not None
        right = [task.classes[label] == answer for label, answer in zip(task.test.labels, given, strict=True)]
        assert 100 * np.mean(right) == pytest.approx(100 * score, abs=0.1), task.name
    # Were all answers wrong, or one answer always given, equal scores would say little.
    assert len({answer for each in found for answer in each}) > 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "method", "settings"),
    [
        ("encoder", "litelora", {"prompt": "olora", "source_length": 12}),
        ("encoder", "inc-lora", {"head": "nearest-class-mean"}),
        ("seq2seq", "sd-lora", {}),
        ("causal", "inc-lora", {"prompt": "sapt", "decoding": "labels-sum"}),
    ],
)
def test_the_cards_program_scores_texts_as_the_run_did(
    kind: str, method: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    # The same rows twice, under other words: what forgets the first task would give one answer to all.
    (first,) = tiny.tasks(kind, count=1, classes=4, rows=8)
    tasks = [
        replace(first, name=name, wording=Wording("CL", name, definition=f"seems {name}", cut="start"))
        for name in ("thin", "wide")
    ]
    path = tmp_path / "run.json"
    result = learned(kind, path, tasks, method, **settings)
    folder = export(path, tmp_path / "adapter", with_card=True, tasks=tasks)
    rows = {"texts": {task.name: list(task.test.texts) for task in tasks}}
    check_scores(result, tasks, answers(folder, rows))


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["vit-nano", None])
def test_the_cards_program_scores_images_as_the_run_did(backbone: str | None, tmp_path: Path) -> None:
    settings = ["epochs=1", "rank=2", "protocol.train_limit=64", "protocol.test_limit=40", "alpha=8"]
    runs = plan("inc-lora", "digits", backbone=backbone or str(tiny.folder("image")), settings=settings)
    (outcome,) = run(runs, tmp_path / "runs", None, 1, "cpu", False, lambda event: None)
    assert outcome.path is not None, outcome.error
    folder = export(outcome.path, tmp_path / "adapter", with_card=True)
    tasks = load_data(runs[0], None)[0].tasks
    # Grey images of 8 x 8, each channel the same.
    images = [np.repeat(np.asarray(task.test.inputs)[:, None], 3, axis=1).tolist() for task in tasks]
    check_scores(read(outcome.path), tasks, answers(folder, {"images": images}))
    # peft finds the base model by what the configuration names.
    named = peft.PeftConfig.from_pretrained(folder).base_model_name_or_path
    assert named is not None and transformers.AutoModel.from_pretrained(named) is not None
    assert (folder / "base" / "config.json").is_file() is (backbone is not None)


@pytest.mark.slow
def test_free_text_is_written_as_the_run_decoded_it(tmp_path: Path) -> None:
    tasks = tiny.free_tasks()
    path = tmp_path / "run.json"
    result = learned("seq2seq", path, tasks, "inc-lora", decoding="greedy")
    folder = export(path, tmp_path / "adapter", with_card=True, tasks=tasks)
    found = answers(folder, {"texts": {task.name: list(task.test.texts) for task in tasks}})
    assert "GenerationConfig" in code_of(folder) and len(result.tasks) == len(found)
    assert all(isinstance(answer, str) for each in found for answer in each)


def test_a_card_whose_prompt_needs_the_data_says_so_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    path = tmp_path / "run.json"
    learned("encoder", path, tiny.tasks("encoder"), "inc-lora", prompt="olora")
    with pytest.raises(UserError, match="words that the prompt 'olora' puts around texts"):
        export(path, tmp_path / "adapter", with_card=True)
    assert not (tmp_path / "adapter").exists()
    # Without a card the data are not looked at.
    export(path, tmp_path / "adapter")


def test_a_class_name_cannot_end_the_code_block(tmp_path: Path) -> None:
    tasks = tiny.tasks("encoder")
    path = tmp_path / "run.json"
    learned("encoder", path, tasks, "inc-lora")
    evil = [replace(tasks[0], classes=("```", "'; import os")), *tasks[1:]]
    folder = export(path, tmp_path / "adapter", with_card=True, tasks=evil)
    text = (folder / "README.md").read_text(encoding="utf-8")
    code = text.split("````python\n")[1].split("````\n")[0]
    assert "'; import os" in code
    compile(code, "card", "exec")
