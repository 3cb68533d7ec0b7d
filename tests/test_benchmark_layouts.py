"""`CL_Benchmark` as people have it on disk, O-LoRA's and SAPT's: small folders in exactly their form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmark.data.checks import check
from benchmark.data.fingerprint import fingerprint
from benchmark.errors import UserError
from benchmark.stream import LoadedStream, Request, Stream, Task
from tasks import long_sequence, standard_cl, superni, superni_12, trace
from tasks.sources import cl_benchmark, trace_rows
from tasks.sources.natural_instructions import CATEGORIES, OTHERS
from tasks.sources.text_classification import TASKS

SPLITS = ("train", "dev", "test")


def dump(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def olora(root: Path) -> Path:
    """Write O-LoRA's folders: two rows a split, dev and test the same rows."""
    for facts in TASKS.values():
        folder = root / facts.group / facts.directory
        dump(folder / "labels.json", list(facts.labels))
        for split in SPLITS:
            mark = "train" if split == "train" else "test"
            rows = [{"label": label, "sentence": f"{mark} {label}"} for label in facts.labels[:2]]
            dump(folder / f"{split}.json", rows)
    return root


def collection(split: str, outputs: list[Any], ids: bool = False) -> dict[str, Any]:
    """Return one of SAPT's files."""
    mark = "train" if split == "train" else "test"
    instances = [{"input": f"{mark} {n}", "output": output} for n, output in enumerate(outputs)]
    if ids:
        instances = [{"id": f"{mark}-{n}", **row} for n, row in enumerate(instances)]
    return {"Definition": [" Do it. "], "Positive Examples": [], "Instances": instances}


def long_folders(root: Path) -> Path:
    for name, facts in TASKS.items():
        for split in SPLITS:
            content = collection(split, list(facts.sapt_words[:2]))
            dump(root / name / f"{split}.json", content if name != "copa" else {**content, "Definition": []})
    return root


def superni_folders(root: Path, *more: str) -> Path:
    for name in (*CATEGORIES, *more):
        for split in SPLITS:
            dump(root / name / f"{split}.json", collection(split, [["a", "b"], [""]], ids=name[-1] == "n"))
    return root


def request(folder: Path, order: str = "4", prompt: str = "olora", **changes: Any) -> Request:
    chosen = long_sequence.SMOKE.model_copy(update={"prompt": prompt, **changes})
    return Request(order, 0, chosen, folder)


def task(stream: LoadedStream, name: str) -> Task:
    return next(task for task in stream.tasks if task.name == name)


@pytest.mark.parametrize("place", ["CL_Benchmark", ""])
def test_olora_folders_are_found_and_read(tmp_path: Path, place: str) -> None:
    olora(tmp_path / place)
    stream = long_sequence.STREAM.load(request(tmp_path))
    check("long-sequence", stream.tasks)
    assert stream.origin == "O-LoRA's CL_Benchmark/"
    for one in stream.tasks:
        facts = TASKS[one.name]
        assert one.classes == facts.labels
        assert one.train.inputs == [f"train {label}" for label in facts.labels[:2]]
        assert one.train.labels is not None and one.train.labels.tolist() == [0, 1]
        assert (one.wording.group, one.wording.dataset) == (facts.group, facts.directory)
        assert one.validation is None  # dev is test
    (note,) = stream.notes
    assert note.startswith("dev rows left out of validation because they are test rows: mnli 2, cb 2, wic 2")


def test_a_dev_file_of_its_own_is_validation_without_its_test_rows(tmp_path: Path) -> None:
    olora(tmp_path)
    rows = [{"label": "World", "sentence": text} for text in ("test World", "held out")]
    dump(tmp_path / "TC" / "agnews" / "dev.json", rows)
    (tmp_path / "TC" / "dbpedia" / "dev.json").unlink()
    stream = standard_cl.STREAM.load(request(tmp_path, "1"))
    held = task(stream, "agnews").validation
    assert held is not None and held.inputs == ["held out"]
    assert task(stream, "dbpedia").validation is None
    assert stream.notes == (
        "dev rows left out of validation because they are test rows: amazon 2, yahoo 2, agnews 1",
    )


def test_rows_without_a_gold_label_are_left_out_and_labels_stripped(tmp_path: Path) -> None:
    olora(tmp_path)
    rows = [{"label": label, "sentence": label} for label in ("-", " entailment ", "neutral", "")]
    dump(tmp_path / "NLI" / "MNLI" / "test.json", rows)
    stream = long_sequence.STREAM.load(request(tmp_path))
    made = task(stream, "mnli").test
    assert made.labels is not None and made.labels.tolist() == [1, 0]  # neutral, entailment, contradiction
    assert made.ids == ["test-2", "test-3"]
    assert "rows without a label left out: mnli 2" in stream.notes


AGNEWS = Path("TC", "agnews")
FAULTS: dict[str, tuple[Path, object, tuple[str, ...]]] = {
    "no text": (AGNEWS / "train.json", [{"label": "World", "sentence": 3}], ("row 1", "valid string")),
    "an unknown label": (
        AGNEWS / "test.json",
        [{"label": "World", "sentence": "a"}, {"label": "Wrld", "sentence": "b"}],
        ("test.json, row 2", "'Wrld' is not one of: World, Sports"),
    ),
    "not a list": (AGNEWS / "test.json", {"label": "World"}, ("test.json", "valid list")),
    "half a surrogate pair": (
        AGNEWS / "test.json",
        [{"label": "World", "sentence": "\ud800"}],
        ("test.json is not JSON", "surrogates not allowed"),
    ),
}


def assert_one_line(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(UserError) as caught:
        call()
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_one_line(tmp_path: Path, fault: str) -> None:
    path, content, words = FAULTS[fault]
    dump(olora(tmp_path) / path, content)
    assert_one_line(lambda: standard_cl.STREAM.load(request(tmp_path, "1")), *words)


def test_olora_has_no_definitions(tmp_path: Path) -> None:
    olora(tmp_path / "CL_Benchmark")
    asked = request(tmp_path, prompt="sapt")
    assert_one_line(lambda: long_sequence.STREAM.load(asked), "O-LoRA's files do not have", "Long_Sequence/")
    long_folders(tmp_path / "CL_Benchmark" / "Long_Sequence")
    assert long_sequence.STREAM.load(asked).origin == "SAPT's CL_Benchmark/Long_Sequence/"
    assert long_sequence.STREAM.load(request(tmp_path)).origin == "O-LoRA's CL_Benchmark/"


@pytest.mark.parametrize("place", ["CL_Benchmark/Long_Sequence", "Long_Sequence", ""])
def test_sapts_long_sequence_is_found_and_read(tmp_path: Path, place: str) -> None:
    long_folders(tmp_path / place)
    for prompt, qqp in (("sapt", ("no", "yes")), ("olora", ("False", "True"))):
        stream = long_sequence.STREAM.load(request(tmp_path, prompt=prompt))
        check("long-sequence", stream.tasks)
        assert task(stream, "qqp").classes == qqp
        for one in stream.tasks:
            assert one.train.labels is not None and one.train.labels.tolist() == [0, 1]
            assert one.train.ids == ["train-1", "train-2"] and one.validation is None
            assert one.wording.definition == ("" if one.name == "copa" else " Do it. ")


@pytest.mark.parametrize("place", ["CL_Benchmark/SuperNI", "SuperNI", ""])
def test_sapts_superni_is_found_and_read(tmp_path: Path, place: str) -> None:
    superni_folders(tmp_path / place)
    stream = superni.STREAM.load(Request("1", 0, superni.SMOKE, tmp_path))
    check("superni", stream.tasks)
    assert stream.origin == "SAPT's CL_Benchmark/SuperNI/"
    for one in stream.tasks:
        assert one.train.references == [["a", "b"], [""]]  # an empty reference is one
        assert one.train.ids == (["train-0", "train-1"] if one.name[-1] == "n" else ["train-1", "train-2"])
        assert one.validation is None and one.wording.group == CATEGORIES[one.name]
    (note,) = stream.notes
    assert note.startswith("dev rows left out of validation because they are test rows: task1572_samsum")


def test_an_instance_without_an_answer_or_with_anothers_id(tmp_path: Path) -> None:
    name = superni.STREAM.orders["1"][0]  # type: ignore[index]
    path = superni_folders(tmp_path) / str(name) / "train.json"

    def load() -> object:
        return superni.STREAM.load(Request("1", 0, superni.SMOKE, tmp_path))

    dump(path, collection("train", [["a"], []]))
    assert_one_line(load, "train.json, row 2", "output: no reference")
    dump(path, {"Instances": [], "Definition": "x"})
    assert_one_line(load, "train.json holds no rows")
    dump(path, {"Instances": [{"id": "i", "input": "a", "output": ["b"]}] * 2, "Definition": "x"})
    assert_one_line(load, "train.json, row 2: the id 'i' is already that of", "train.json, row 1")


def test_seekrs_twelfth_task_comes_from_a_folder_that_has_it(tmp_path: Path) -> None:
    superni_folders(tmp_path, *OTHERS)
    for order, names in superni_12.ORDERS.items():
        stream = superni_12.STREAM.load(Request(order, 0, superni.SMOKE, tmp_path))
        assert [one.name for one in stream.tasks] == list(names)
        assert "task195_sentiment140_classification" in names and len(names) == 12


def test_seekrs_twelfth_task_is_asked_of_the_hub_where_it_is_lacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    superni_folders(tmp_path)
    assert_one_line(
        lambda: superni_12.STREAM.load(Request("1", 0, superni.SMOKE, tmp_path)),
        "cannot load Muennighoff/natural-instructions from the hub",
        "SuperNI/task195_sentiment140_classification/",
    )
    # Copied into the folder, the hub's rows stand beside SAPT's, and the result says so.
    import pyarrow
    import pyarrow.parquet

    (name,) = OTHERS
    rows = [
        {"task_name": name, "id": f"{n:02}", "definition": "d", "inputs": f"in {n}", "targets": "t"}
        for n in range(20)
    ]
    folder = tmp_path / "hub" / "Muennighoff" / "natural-instructions" / "default"
    folder.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "train.parquet")
    stream = superni_12.STREAM.load(Request("1", 0, superni.SMOKE, tmp_path))
    assert [one.name for one in stream.tasks] == list(superni_12.ORDERS["1"])
    assert len(task(stream, name).train) == 18 and len(task(stream, name).test) == 2
    assert f"not in the data folder, from the hub: {name}" in stream.notes


def trace_folders(root: Path) -> Path:
    for name, facts in trace_rows.TASKS.items():
        for split in ("train", "eval", "test"):
            rows = [
                {"prompt": f"{facts.before}{split} {n // 2}{facts.after}", "answer": "A"} for n in range(4)
            ]
            dump(root / name / f"{split}.json", rows)
    return root


FOLDERS: dict[str, tuple[Callable[[Path], Path], Stream, str]] = {
    "O-LoRA's": (olora, long_sequence.STREAM, "olora"),
    "SAPT's Long_Sequence": (long_folders, long_sequence.STREAM, "sapt"),
    "SAPT's SuperNI": (superni_folders, superni.STREAM, "sapt"),
    "TRACE's": (trace_folders, trace.STREAM, "trace"),
}


@pytest.mark.parametrize("whose", FOLDERS)
def test_folders_are_parsed_once_and_read_the_same_from_the_cache(
    whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, stream, prompt = FOLDERS[whose]
    write(tmp_path)
    order = next(iter(stream.orders)) if stream is not long_sequence.STREAM else "4"

    def seen() -> tuple[object, ...]:
        loaded = stream.load(request(tmp_path, order, prompt))
        words = [(one.name, one.classes, one.wording) for one in loaded.tasks]
        return fingerprint(loaded.tasks), words, loaded.notes

    monkeypatch.setenv("BENCH_CACHE", "off")
    alone = seen()
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    assert seen() == alone
    with monkeypatch.context() as patch:
        patch.setattr(cl_benchmark, "read_list", None)
        patch.setattr(cl_benchmark, "instances", None)
        patch.setattr(trace_rows, "read_list", None)
        assert seen() == alone
    path = sorted(tmp_path.glob("**/train.json"))[0]
    text = path.read_text(encoding="utf-8")
    assert "train " in text
    path.write_text(text.replace("train ", "other "), encoding="utf-8")
    assert seen() != alone
