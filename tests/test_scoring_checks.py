"""What scores mean: classes and answers that a scorer cannot tell apart are reported before a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.data.scoring_checks import find_unread_texts, scoring_errors
from benchmark.protocol import Protocol
from benchmark.scoring.task_metrics import score
from benchmark.scoring.text_scores import rouge_l, rouge_l_all_scripts
from benchmark.stream import Examples, Task
from tests import tiny
from tests.test_stream_files import HEAD, SMOKE, rows, write

NFC, NFD = "caf\u00e9", "cafe\u0301"


def words(
    *texts: str, labels: list[int] | None = None, references: list[list[str]] | None = None
) -> Examples:
    numbers = None if labels is None else np.array(labels)
    return Examples(list(texts), numbers, references, [str(n) for n in range(len(texts))])


def reported(
    tasks: list[Task], kind: str | None, tokenizer: object = None, **changed: object
) -> list[tuple[bool, str]]:
    protocol = Protocol.model_validate({"name": "smoke", "source": "", "backbone": "x", **changed})
    return [(one.fatal, one.line) for one in scoring_errors(tasks, protocol, kind, tokenizer)]


def test_classes_that_the_normaliser_makes_equal_are_reported_and_refused() -> None:
    names = ("C", "C#", "C++", "D")
    part = words(*"abcd", labels=[0, 1, 2, 3])
    tasks = [Task("web", part, part, classes=names)]
    ((fault, line),) = reported(tasks, "causal")
    assert fault and line.startswith("the classes 'C', 'C#', 'C++' are equal to the normaliser 'words'")
    ((fault, _),) = reported(tasks, "encoder")
    assert not fault, "a head compares classes by number"
    assert reported(tasks, "causal", normaliser="exact") == [] == reported(tasks, "causal", decoding="labels")


class Letters:
    """A tokenizer of one token a letter."""

    def __call__(self, text: str | list[str], **_: object) -> dict[str, object]:
        return {
            "input_ids": list(map(ord, text)) if isinstance(text, str) else [[*map(ord, t)] for t in text]
        }


def test_classes_that_an_answer_is_too_short_for_are_reported_and_refused() -> None:
    part = words("a", "b", labels=[0, 1])
    tasks = [Task("t", part, part, classes=("abroad", "abrupt"))]
    # Of 4 tokens one is the end, so "abr" is left of both; the longest label has 6 letters.
    alike, long = reported(tasks, "seq2seq", Letters(), target_length=4)
    assert alike[0] and "'abroad', 'abrupt' are equal in their first 3 tokens" in alike[1]
    assert not long[0] and "2 of 2 classes are longer" in long[1] and "target_length=7" in long[1]
    (long,) = reported(tasks, "seq2seq", Letters(), target_length=5)
    assert not long[0]
    assert reported(tasks, "seq2seq", Letters(), target_length=7) == []


def test_labels_are_compared_by_index_where_one_of_them_is_chosen() -> None:
    from benchmark.models.backbone import load
    from benchmark.models.make import make_task_model

    part = words("a", "b", labels=[0, 1])
    task = Task("math", part, part, classes=("-1", "1"))
    lengths = {"source_length": 32, "target_length": 8}
    protocol = Protocol(name="smoke", source="", backbone="x", decoding="labels", **lengths)  # type: ignore[arg-type]
    task_model = make_task_model(load(str(tiny.folder("causal"))), [task], protocol)
    assert task_model.normaliser(task) == "exact"
    assert score("exact-match", ["1"], ["-1"], normaliser="words") == 1
    assert score("exact-match", ["1"], ["-1"], normaliser=task_model.normaliser(task)) == 0
    free = make_task_model(task_model.backbone, [task], protocol.model_copy(update={"decoding": "greedy"}))
    assert free.normaliser(task) == "words"


def test_one_class_a_task_learns_nothing_under_the_local_loss() -> None:
    part = words("a", labels=[0])
    tasks = [Task(name, part, part, classes=(name,)) for name in ("one", "two")]
    ((fault, line),) = reported(tasks, "encoder")
    assert not fault and line.startswith("every task has one class") and "--set loss=full" in line
    assert reported(tasks, "encoder", loss="full") == [] == reported(tasks, "causal")


def test_a_run_of_one_class_a_task_says_so_before_it_begins(tmp_path: Path) -> None:
    lines = [f"a,{split},text {split} {n},{n % 2},{n}" for split in ("train", "test") for n in range(4)]
    rows(tmp_path, "task,split,text,label,id", *lines)
    columns = 'columns = { split = "split", text = "text", label = "label" }'
    part = f'[table]\nsource = {{ path = "tickets.csv" }}\n{columns}\n[cut]\nclasses_per_task = 1\n'
    path = write(tmp_path, HEAD + part + SMOKE)
    command = ["run", "--method", "frozen", "--stream", str(path), "--backbone", str(tiny.folder("encoder"))]
    command += ["--set", "protocol.source_length=32"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    assert "| note: every task has one class, and the local loss of one class is always 0" in done.output


def test_texts_of_which_a_prompt_leaves_less_than_half_are_named_with_the_length_they_need() -> None:
    short, long = words(*["a" * 20] * 3, labels=[0, 0, 1]), words(*["a" * 31] * 3, labels=[0, 0, 1])
    tasks = [Task("short", short, short, classes=("x", "y")), Task("long", long, long, classes=("x", "y"))]

    def found(**changed: object) -> list[str]:
        protocol = Protocol.model_validate({"name": "smoke", "source": "", "backbone": "x", **changed})
        return [one.message for one in find_unread_texts(tasks, protocol, Letters())]

    # 16 of 31 letters are more than half, 15 are less; of 20 letters 10 are half.
    assert found(source_length=16) == []
    (line,) = found(source_length=15)
    assert line.endswith("tokens to be read: long 15 of 31; use --set protocol.source_length=31")
    # SAPT's prompt ends with "\nOutput: ", 9 letters: of 24 tokens 15 are left, and 40 = 9 + 31 are needed.
    assert found(source_length=25, prompt="sapt") == []
    (line,) = found(source_length=24, prompt="sapt")
    assert line.endswith("read: long 15 of 31; use --set protocol.source_length=40")
    # Where the prompt alone does not fit, nothing is left.
    (line,) = found(source_length=8, prompt="sapt")
    assert "read: short 0 of 20, long 0 of 31; use" in line


def test_answers_that_rouge_cannot_see_are_counted() -> None:
    russian = "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440"
    part = words("a", "b", references=[[russian], ["hello"]])
    ((fault, line),) = reported([Task("t", part, part)], "seq2seq")
    assert not fault and line.startswith("t, test: 1 of 2 answers (50 %) have no word of a-z or 0-9")
    assert reported([Task("t", part, part, metric="rouge-l-all-scripts")], "seq2seq") == []


def test_a_rouge_that_counts_every_script() -> None:
    russian, chinese = "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440", "\u6211\u4eec\u597d"
    assert rouge_l(russian, russian) == 0 and rouge_l_all_scripts(russian, russian) == 1
    # One of two words: precision 1, recall 1/2, F = 2 (1 * 1/2) / (1 + 1/2) = 2/3.
    assert rouge_l_all_scripts(russian.split()[0], russian) == pytest.approx(2 / 3)
    # Chinese has no blanks, so each sign is a word: 2 of 3, precision 1, F = 2 (2/3) / (5/3) = 4/5.
    assert rouge_l_all_scripts(chinese[:2], chinese) == pytest.approx(4 / 5)
    # An accent is a part of its letter, however it is written.
    assert rouge_l("th vert", "th\u00e9 vert") == 1 and rouge_l_all_scripts("th vert", "th\u00e9 vert") == 0.5
    assert rouge_l_all_scripts(NFC, NFD) == 1
    # Marks of Hindi vowels belong to their words: one word of two differs.
    assert rouge_l_all_scripts("\u0915\u093f \u0916", "\u0915\u0940 \u0916") == 0.5
    english = ("The cats were running, 3 times.", "a cat runs 3 time")
    assert rouge_l_all_scripts(*english) == rouge_l(*english) > 0
