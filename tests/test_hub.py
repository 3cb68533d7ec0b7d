"""pytest tests/test_hub.py"""

import pyarrow
import pyarrow.parquet
import pytest

from benchmark.data.checks import check
from benchmark.data.hub import Hub, HubSet
from benchmark.data.load import load
from benchmark.errors import UserError
from benchmark.stream import Request
from tasks import long_sequence, standard_cl, superni
from tasks.sources import natural_instructions
from tasks.sources.text_classification import TASKS

EXPECTED = {  # the text that a row of each hub set becomes, where every column holds its own name
    "yelp": "Text: text\n",
    "amazon": "Title: review_title\nText: review_text\n",
    "imdb": "text",
    "sst2": "Text: sentence",
    "agnews": "Text: text\n",
    "dbpedia": "Title: title\nText:  content\n",
    "yahoo": "Question: question_title question_content Answer: best_answer",
    "mnli": "sentence 1: premise\nsentence 2: hypothesis",
    "cb": "sentence 1: premise\nsentence 2: hypothesis",
    "rte": "sentence 1: sentence1\nsentence 2: sentence2",
    "qqp": "first sentence: question1\nsecond sentence: question2",
    "boolq": "question: question\npassage: passage",
    "copa": 'Which sentence is the question of "premise"? Choose one between A and B.\n'
    "A: choice1\nB: choice2",
    "multirc": "paragraph: paragraph\nquestion: question\ncandidate answer: answer",
    "wic": "word: word\nsentence1\nsentence2",
}


def save(root, hub: HubSet, split: str, rows: list[dict]):
    folder = root / "hub" / hub.identifier / (hub.config or "default")
    folder.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / f"{split}.parquet")


def row(name: str, label: int, mark: str) -> dict:
    facts = TASKS[name]
    return {column: f"{column}{mark}" for column in facts.columns} | {
        facts.label_column: label + facts.first_label
    }


def save_all(root, names):
    for name in names:
        facts = TASKS[name]
        labels = range(len(facts.hub_labels))
        train = [row(name, label, f" {label} {copy}") for label in labels for copy in range(3)]
        save(root, facts.hub, "train", train)
        save(root, facts.hub, facts.test_split, [row(name, label, f" {label} t") for label in labels])


def request(root, order, protocol=long_sequence.SMOKE):
    return Request(order, 0, protocol, root)


def test_every_text_task_is_rebuilt_from_its_hub_columns(tmp_path):
    save_all(tmp_path, TASKS)
    stream = load(long_sequence.STREAM, request(tmp_path, "4"))
    assert stream.origin == "the Hugging Face hub" and stream.revisions == {} and stream.notes
    for task in stream.tasks:
        facts = TASKS[task.name]
        assert task.classes == facts.labels and task.wording.instruction == facts.instruction
        for text, label in zip(task.test.inputs, task.test.labels, strict=True):
            number = facts.hub_labels.index(facts.labels[label])
            assert text == facts.text({column: f"{column} {number} t" for column in facts.columns})
        assert len(task.train) + len(task.validation) == 3 * len(facts.labels)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_text_forms_are_oloras(name):
    facts = TASKS[name]
    assert facts.text({column: column for column in facts.columns}) == EXPECTED[name]


def test_training_texts_of_test_and_unlabelled_rows_are_left_out(tmp_path):
    names = long_sequence.STREAM.orders["4"]
    save_all(tmp_path, names)
    facts = TASKS["sst2"]
    train = [row("sst2", n % 2, f" {n}") for n in range(6)] + [row("sst2", 0, " t"), row("sst2", -1, " u")]
    save(tmp_path, facts.hub, "train", train)
    save(tmp_path, facts.hub, "validation", [row("sst2", 0, " t"), row("sst2", 1, " v")])
    stream = long_sequence.STREAM.load(request(tmp_path, "4"))
    task = next(task for task in stream.tasks if task.name == "sst2")
    assert len(task.train) == 6 and "Text: sentence t" not in task.train.inputs
    assert stream.notes[1:] == (
        "rows without a label left out: sst2 1",
        "train rows left out whose text is in test: sst2 1",
    )


def test_hub_faults_are_one_line(tmp_path):
    save_all(tmp_path, standard_cl.STREAM.orders["1"])
    facts = TASKS["dbpedia"]

    def fails(*parts):
        with pytest.raises(UserError) as caught:
            standard_cl.STREAM.load(request(tmp_path, "1", standard_cl.SMOKE))
        message = str(caught.value)
        assert "\n" not in message
        for part in parts:
            assert part in message, message

    save(tmp_path, facts.hub, "test", [{"label": 0, "text": "x"}])
    fails("dbpedia_14, test", "no column 'title'", "label, text")
    save(tmp_path, facts.hub, "test", [row("dbpedia", 0, ""), row("dbpedia", 14, "")])
    fails("dbpedia_14, test, row 1", "the label 14")
    save(tmp_path, facts.hub, "test", [row("dbpedia", 0, "") | {"label": "Company"}])
    fails("'label'", "not whole numbers")
    save(tmp_path, facts.hub, "test", [row("dbpedia", 0, ""), row("dbpedia", 1, "") | {"title": None}])
    fails("dbpedia_14, test, row 1", "'title' is not text")
    folder = tmp_path / "hub" / facts.hub.identifier / "default"
    (folder / "test.parquet").write_bytes(b"PAR1 no more")
    fails("test.parquet cannot be read")
    (folder / "test.parquet").unlink()
    fails("test.parquet does not exist")


def test_sapts_definitions_are_asked_for(tmp_path):
    with pytest.raises(UserError, match=r"--data-dir.*BENCH_DATA.*longseq/tasks.json"):
        long_sequence.STREAM.load(request(tmp_path, "4", long_sequence.SAPT))


def instructions(root, counts):
    rows = []
    for name, count in counts.items():
        for n in range(count):
            for target in ("one", "two", "two") if n % 2 else ("one",):
                rows.append(
                    {
                        "task_name": name,
                        "id": f"{name}-{n:04d}",
                        "definition": f"do {name}",
                        "inputs": f"input {n}",
                        "targets": target,
                    }
                )
    rows.append({"task_name": "task999", "id": "z", "definition": "d", "inputs": "i", "targets": "t"})
    save(root, natural_instructions.HUB, "train", rows[::2])
    save(root, natural_instructions.HUB, "test", rows[1::2])


def test_superni_is_drawn_from_natural_instructions(tmp_path):
    names = superni.STREAM.orders["1"]
    instructions(tmp_path, {**dict.fromkeys(names, 20), names[0]: 1200, names[1]: 160})
    stream = superni.STREAM.load(request(tmp_path, "1", superni.SMOKE))
    check("superni", stream.tasks)
    counts = [(len(task.train), len(task.test)) for task in stream.tasks]
    assert counts == [(1000, 100), (144, 16)] + [(18, 2)] * 13
    first = stream.tasks[0]
    assert first.wording.definition == f"do {names[0]}" and first.wording.dataset == names[0]
    assert not set(first.train.inputs) & set(first.test.inputs)
    for name, accepted in zip(first.train.ids, first.train.references, strict=True):
        assert sorted(accepted) == (["one", "two"] if int(name[-4:]) % 2 else ["one"])
    again = superni.STREAM.load(request(tmp_path, "1", superni.SMOKE))
    assert again.tasks[0].test.ids == first.test.ids
    instructions(tmp_path, dict.fromkeys(names[1:], 20))
    with pytest.raises(UserError, match=names[0]):
        superni.STREAM.load(request(tmp_path, "1", superni.SMOKE))


def test_without_folder_and_network_the_message_says_both_ways(monkeypatch):
    import huggingface_hub

    def refuse(*args, **kwargs):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(UserError) as caught:
        standard_cl.STREAM.load(request(None, "1", standard_cl.SMOKE))
    message = str(caught.value)
    for part in ("fancyzhx/dbpedia_14", "--data-dir", "BENCH_DATA", "longseq/tasks.json", "no route to host"):
        assert part in message
    assert "\n" not in message


def test_the_hub_is_read_at_the_commit_that_is_recorded(monkeypatch):
    import datasets
    import huggingface_hub

    asked = []

    def info(self, identifier, revision=None, timeout=None):
        asked.append((identifier, revision))
        return type("Info", (), {"sha": "c0ffee"})()

    def load_dataset(path, **arguments):
        asked.append((path, arguments))
        return {"train": [1], "validation": [2], "test": [3]}

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", info)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    hub = Hub(None, "x")
    assert hub.load(HubSet("o/n", "c"), ("train", "test")) == ({"train": [1], "test": [3]}, "c0ffee")
    hub.load(HubSet("o/s", "cb", converted=True))
    assert asked == [
        ("o/n", None),
        ("o/n", {"revision": "c0ffee", "name": "c"}),
        ("o/s", "refs/convert/parquet"),
        ("o/s", {"revision": "c0ffee", "data_dir": "cb"}),
    ]
    with pytest.raises(UserError, match="no split 'dev'"):
        hub.load(HubSet("o/n"), ("dev",))
