"""TRACE's rows: cut into words and text, cleaned of repeats, each task with its own score."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.data import prompts
from benchmark.data.load import load
from benchmark.errors import UserError
from benchmark.registry import STREAMS
from benchmark.scoring.task_metrics import NAMES
from benchmark.stream import LoadedStream, Request, Task
from tasks import trace
from tasks.sources.trace_rows import TASKS

COUNTS = {  # train, eval, test
    "C-STANCE": (500, 100, 100),
    "FOMC": (495, 84, 100),
    "MeetingBank": (75, 0, 100),
    "Py150": (477, 100, 96),
    "ScienceQA": (500, 100, 100),
    "NumGLUE-cm": (256, 41, 81),
    "NumGLUE-ds": (478, 100, 100),
    "20Minuten": (500, 100, 100),
}


def loaded(folder: Path | None, order: str = "1") -> LoadedStream:
    changes = {"train_limit": None, "test_limit": None, "validation": 0.0}
    return load(trace.STREAM, Request(order, 0, trace.SMOKE.model_copy(update=changes), folder))


def prompt(name: str, text: str) -> str:
    return f"{TASKS[name].before}{text}{TASKS[name].after}"


def published(folder: Path, **tasks: dict[str, list[tuple[str, str]]]) -> Path:
    """Write every task as TRACE's files, with the given rows (text, answer) in place of two plain ones."""
    for name in TASKS:
        plain = {split: [(f"{split} {n}", "A") for n in range(2)] for split in ("train", "eval", "test")}
        for split, rows in {**plain, **tasks.get(name.replace("-", "_"), {})}.items():
            path = folder / name / f"{split}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            pairs = [{"prompt": prompt(name, text), "answer": answer} for text, answer in rows]
            path.write_text(json.dumps(pairs, ensure_ascii=False), encoding="utf-8")
    return folder


def task(stream: LoadedStream, name: str) -> Task:
    return next(task for task in stream.tasks if task.name == name)


def test_every_published_prompt_comes_back_byte_for_byte(bench_data: Path) -> None:
    stream = loaded(bench_data)
    for one in stream.tasks:
        with gzip.open(bench_data / "trace" / f"{one.name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = {row["id"]: row for row in map(json.loads, lines)}
        splits = [split for split in (one.train, one.validation, one.test) if split is not None]
        assert sum(len(split) for split in splits) == len(rows) == sum(COUNTS[one.name])
        for split in splits:
            for identity, text in zip(split.ids, split.inputs, strict=True):
                assert "".join(prompts.build("trace", one, text)) == rows[identity]["prompt"]


@pytest.mark.parametrize("order", ["1", "2"])
def test_the_sample_has_the_counts_of_its_files(bench_data: Path, order: str) -> None:
    stream = loaded(bench_data, order)
    assert [task.name for task in stream.tasks] == list(trace.ORDERS[order])
    for one in stream.tasks:
        held = len(one.validation) if one.validation else 0
        assert (len(one.train), held, len(one.test)) == COUNTS[one.name]
        assert one.metric in NAMES and one.classes == ()
    assert stream.notes == ()  # the sample holds no repeated rows any more
    assert sorted(trace.ORDERS["1"]) == sorted(trace.ORDERS["2"]) == sorted(TASKS)


def test_sari_sees_the_paragraph_alone(bench_data: Path) -> None:
    for text in task(loaded(bench_data), "20Minuten").test.inputs:
        assert not text.startswith("Provide") and not text.endswith("Simplification:")


def test_repeated_rows_and_test_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = {
        # "one" is there twice, with another answer it is another row; "seen" is a test row.
        "train": [("one", "1"), ("one", "1"), ("one", "2"), ("seen", "3")],
        "eval": [("seen", "3"), ("one", "1"), ("other", "4")],
        "test": [("seen", "3"), ("seen", "3"), ("last", "5")],
    }
    stream = loaded(published(tmp_path, NumGLUE_cm=rows))
    made = task(stream, "NumGLUE-cm")
    assert made.train.inputs == ["one", "one"] and made.train.references == [["1"], ["2"]]
    assert made.validation is not None and made.validation.inputs == ["other"]
    assert made.test.inputs == ["seen", "last"]
    assert set(stream.notes) == {
        "repeated train rows left out: NumGLUE-cm 1",
        "repeated test rows left out: NumGLUE-cm 1",
        "train rows left out that are in test: NumGLUE-cm 1",
        "eval rows left out that are in test: NumGLUE-cm 1",
        "eval rows left out that are in train: NumGLUE-cm 1",
    }
    assert stream.origin == "TRACE's folders"


def test_an_eval_split_of_test_rows_is_no_validation(tmp_path: Path) -> None:
    rows = [("a", "A"), ("b", "B.")]
    made = task(loaded(published(tmp_path, FOMC={"eval": rows, "test": rows})), "FOMC")
    assert made.validation is None
    assert made.test.references == [["A"], ["B"]]  # the letter alone


def test_the_largest_published_size_is_taken(tmp_path: Path) -> None:
    for size, mark in (("500", "small"), ("5000", "large")):
        folder = tmp_path / "TRACE-Benchmark" / f"LLM-CL-Benchmark_{size}"
        published(folder, Py150={"test": [(mark, "x")]})
    assert task(loaded(tmp_path), "Py150").test.inputs == ["large"]


@pytest.mark.parametrize(
    ("task_name", "pairs", "words"),
    [
        (
            "FOMC",
            [{"prompt": prompt("FOMC", "t"), "answer": "A"}, {"prompt": prompt("FOMC", "u"), "answer": "no"}],
            ["train.json, row 2", "'no' begins with none of ABC"],
        ),
        ("Py150", {"prompt": "x"}, ["train.json", "valid list"]),
    ],
)
def test_a_faulty_file_is_one_line(tmp_path: Path, task_name: str, pairs: object, words: list[str]) -> None:
    published(tmp_path)
    (tmp_path / task_name / "train.json").write_text(json.dumps(pairs), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        loaded(tmp_path)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_without_files_the_message_says_both_ways(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--data-dir FOLDER.*BENCH_DATA=FOLDER.*train\.json"):
        loaded(tmp_path)


class Letters:
    """A tokenizer of single characters without special tokens."""

    def __call__(self, text: str | list[str], **_: object) -> dict[str, list]:
        if isinstance(text, str):
            return {"input_ids": [ord(letter) for letter in text]}
        return {"input_ids": [[ord(letter) for letter in one] for one in text]}


@given(st.text("xyz", max_size=30), st.integers(0, 30), st.sampled_from(["start", "end"]))
def test_the_side_that_is_cut_is_the_tasks(text: str, limit: int, cut: str) -> None:
    ids = prompts.encode(Letters(), [("<", text, ">")], limit, cut=cut)[0]  # type: ignore[arg-type]
    made = "".join(map(chr, ids))
    assert len(made) <= limit
    if limit >= len(text) + 2:
        assert made == f"<{text}>"
    elif limit >= 2:  # the words around the text take two places
        kept = limit - 2
        assert made == f"<{text[:kept] if cut == 'end' else text[len(text) - kept :]}>"


def test_the_published_budget() -> None:
    published = STREAMS.load("trace").protocols["trace"]
    epochs = [published.epochs_by_task[name] for name in trace.ORDERS["1"]]
    assert epochs == [5, 3, 7, 5, 3, 5, 5, 7]
    assert (published.schedule, published.source_length, published.target_length) == ("cosine", 1024, 512)
    assert (published.backbone, published.normaliser) == ("llama-2-7b", "exact")
