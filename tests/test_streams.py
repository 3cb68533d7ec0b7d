"""pytest tests/test_streams.py"""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from benchmark.data.checks import check
from benchmark.data.class_orders import of_classes
from benchmark.data.fingerprint import fingerprint
from benchmark.data.load import load
from benchmark.errors import UserError
from benchmark.registry import STREAMS
from benchmark.stream import Examples, Request, Task, Wording
from tasks.sources import images, natural_instructions, text_classification

NAMES = (
    *("digits", "long-sequence", "omniglot", "standard-cl", "superni", "superni-12"),
    *("tiny-imagenet", "toy", "trace"),
)
FIRST_OF_100 = [68, 56, 78, 8, 23, 84, 90, 65, 74, 76, 40, 89, 3, 92, 55, 9, 26, 80, 43, 38]

LONGSEQ = {  # train, dev, test
    "yelp": (1000, 200, 2000),
    "amazon": (1000, 200, 2000),
    "imdb": (1000, 100, 700),
    "sst2": (1000, 200, 872),
    "agnews": (1000, 200, 2000),
    "dbpedia": (1000, 200, 2000),
    "yahoo": (960, 200, 2000),
    "mnli": (1000, 200, 1500),
    "cb": (200, 0, 56),
    "rte": (1000, 200, 277),
    "qqp": (1000, 200, 1000),
    "boolq": (1000, 200, 1000),
    "copa": (320, 0, 100),
    "multirc": (986, 103, 709),
    "wic": (1000, 200, 638),
}
SUPERNI = {  # train, test; the others have 1000 and 100
    "task639_multi_woz_user_utterance_generation": (142, 18),
    "task1590_diplomacy_text_generation": (126, 16),
    "task181_outcome_extraction": (338, 43),
    "task073_commonsenseqa_answer_generation": (975, 100),
    "task1572_samsum_summary": (160, 20),
}


def loaded(name, folder=None, order=None, protocol="smoke", seed=0, whole=False, **parameters):
    stream = STREAMS.load(name)
    chosen = stream.protocols[protocol]
    if whole:
        changes = {"train_limit": None, "test_limit": None, "validation": 0.0}
        chosen = chosen.model_copy(update=changes)
    made = stream.parameters(**parameters) if stream.parameters else None
    return load(stream, Request(order or stream.default_order, seed, chosen, folder, made))


def test_the_first_release_is_here_and_described():
    assert set(NAMES) <= set(STREAMS.names())
    for name in NAMES:
        stream = STREAMS.load(name)
        assert stream.name == name
        assert stream.default_protocol == "smoke"
        for text in (stream.title, stream.licence, stream.citation):
            assert text
        for key, protocol in stream.protocols.items():
            assert key == protocol.name and protocol.source


def test_streams_import_without_heavy_packages():
    code = (
        "import sys\nfrom benchmark.registry import STREAMS\n"
        "[STREAMS.load(name) for name in STREAMS.names()]\n"
        "heavy = {'numpy', 'torch', 'datasets', 'transformers', 'sklearn', 'pandas', 'pyarrow'}\n"
        "print(sorted((heavy | {'PIL', 'yaml'}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_orders_draw_with_the_published_seeds_and_leave_the_state_of_numpy_alone():
    state = np.random.get_state()[1].tolist()
    images.permutation(100, 1993)
    assert np.random.get_state()[1].tolist() == state
    assert images.permutation(4, None) == [0, 1, 2, 3]
    published = {name: seed for name, seed in images.ORDERS.items() if not name.startswith("own")}
    assert published == {"1": 1993, "2": 1995, "3": 1996, "natural": None}
    assert list(images.ORDERS)[3:10] == [f"own-{run}" for run in range(4, 11)]
    assert len(set(images.ORDERS.values())) == 11


def test_text_orders_are_permutations_with_the_published_ends():
    orders = text_classification.ORDERS
    assert orders["1"] == ("dbpedia", "amazon", "yahoo", "agnews")
    assert orders["2"][2:] == ("agnews", "yahoo") and orders["3"][0] == "yahoo"
    for name in ("4", "5", "6"):
        assert sorted(orders[name]) == sorted(text_classification.TASKS)
    ends = {name: (order[0], order[-1]) for name, order in orders.items() if len(order) == 15}
    assert ends == {"4": ("mnli", "yahoo"), "5": ("multirc", "yahoo"), "6": ("yelp", "wic")}
    for order in natural_instructions.ORDERS.values():
        assert sorted(order) == sorted(natural_instructions.CATEGORIES)
    for facts in text_classification.TASKS.values():
        assert sorted(facts.labels) == sorted(facts.hub_labels)


def test_digits_are_five_tasks_of_two_classes_with_a_fixed_test_split():
    first, other = loaded("digits", seed=0), loaded("digits", seed=1)
    assert first.class_order == images.permutation(10, 1993)
    assert first.tasks[0].classes == ("digit 4", "digit 2")
    for task, again in zip(first.tasks, other.tasks, strict=True):
        assert task.train.inputs.dtype == np.uint8 and task.train.inputs.shape[1:] == (8, 8)
        assert task.test.ids == again.test.ids and task.train.ids != again.train.ids
        assert set(task.train.labels) == set(task.validation.labels) == set(task.test.labels) == {0, 1}
    rows = sum(len(t.train) + len(t.validation) + len(t.test) for t in first.tasks)
    assert rows == 1797
    assert max(int(task.train.inputs.max()) for task in first.tasks) == 255
    natural = loaded("digits", order="natural")
    assert natural.tasks[4].classes == ("digit 8", "digit 9")


def test_digits_labels_survive_the_permutation():
    def pixels(task):
        return {c: task.test.inputs[task.test.labels == k] for k, c in enumerate(task.classes)}

    by_class = [{} for _ in range(2)]
    for found, order in zip(by_class, ("1", "natural"), strict=True):
        for task in loaded("digits", order=order).tasks:
            found.update(pixels(task))
    for name in by_class[0]:
        assert np.array_equal(by_class[0][name], by_class[1][name])


def test_unknown_orders_are_named():
    with pytest.raises(UserError, match=r"unknown order '9'.*1, 2, 3, natural"):
        loaded("digits", order="9")


@pytest.mark.parametrize("order", ["4", "5", "6"])
def test_the_long_sequence_has_the_counts_of_its_files(bench_data, order):
    tasks = loaded("long-sequence", bench_data, order, whole=True).tasks
    assert tuple(task.name for task in tasks) == text_classification.ORDERS[order]
    for task in tasks:
        counts = (len(task.train), len(task.validation or []), len(task.test))
        assert counts == LONGSEQ[task.name]
        facts = text_classification.TASKS[task.name]
        assert (task.classes, task.wording.group) == (facts.labels, facts.group)
        assert task.wording.instruction == facts.instruction


def simple(text):
    return re.sub(r"[\W_]+", "", text.lower())


@pytest.mark.parametrize("name", ["long-sequence", "superni"])
def test_no_training_text_is_in_test(bench_data, name):
    for task in loaded(name, bench_data, whole=True).tasks:
        test = {simple(text) for text in task.test.inputs}
        assert not test & {simple(text) for text in task.train.inputs}
        if task.validation:
            assert not {*task.train.ids} & {*task.validation.ids}
            assert not test & {simple(text) for text in task.validation.inputs}


def test_the_standard_benchmark_limits_rows_and_keeps_test_rows(bench_data):
    first, other = (loaded("standard-cl", bench_data, "1", seed=seed) for seed in (0, 1))
    assert [task.name for task in first.tasks] == ["dbpedia", "amazon", "yahoo", "agnews"]
    for task, again in zip(first.tasks, other.tasks, strict=True):
        assert (len(task.train), len(task.test)) == (400, 200)
        assert task.test.ids == again.test.ids and task.train.ids != again.train.ids
        assert set(task.train.labels) == set(range(len(task.classes)))


def test_sapt_words_qqps_labels_its_own_way(bench_data):
    classes = {
        protocol: {
            task.name: task.classes for task in loaded("long-sequence", bench_data, "4", protocol).tasks
        }
        for protocol in ("olora", "sapt")
    }
    assert classes["olora"].pop("qqp") == ("False", "True")
    assert classes["sapt"].pop("qqp") == ("no", "yes")
    assert classes["olora"] == classes["sapt"]


def test_superni_is_sapts(bench_data):
    for order in ("1", "2"):
        tasks = loaded("superni", bench_data, order, whole=True).tasks
        assert [task.name for task in tasks] == list(natural_instructions.ORDERS[order])
        for task in tasks:
            assert (len(task.train), len(task.test)) == SUPERNI.get(task.name, (1000, 100))
            assert task.validation is None and task.classes == () and task.train.labels is None
            assert all(task.train.references) and all(task.test.references)
            assert task.wording.group == natural_instructions.CATEGORIES[task.name]
            assert task.wording.definition


def test_omniglot_is_four_alphabets_light_on_dark(bench_data):
    stream = loaded("omniglot", bench_data, whole=True)
    assert [len(task.classes) for task in stream.tasks] == [9] * 9 + [8]
    assert sorted(stream.class_order) == list(range(89))
    names = [name for task in stream.tasks for name in task.classes]
    assert {name.split("/")[0] for name in names} == {"Greek", "Latin", "Tagalog", "Early_Aramaic"}
    for task in stream.tasks:
        assert (len(task.train), len(task.test)) == (12 * len(task.classes), 4 * len(task.classes))
        assert task.train.inputs.shape[1:] == (32, 32) and task.train.inputs.mean() < 64


def test_omniglot_by_alphabet(bench_data):
    stream = loaded("omniglot", bench_data, order="natural", by="alphabet")
    counts = [(task.name, len(task.classes)) for task in stream.tasks]
    assert counts == [("Greek", 24), ("Latin", 26), ("Tagalog", 17), ("Early_Aramaic", 22)]
    permuted = loaded("omniglot", bench_data, order="1", by="alphabet")
    assert sorted(task.name for task in permuted.tasks) == sorted(task.name for task in stream.tasks)
    with pytest.raises(ValueError, match="by alphabet"):
        loaded("omniglot", bench_data, by="alphabet", tasks=3)


def test_tiny_imagenet_is_ten_tasks_of_ten(bench_data):
    stream = loaded("tiny-imagenet", bench_data, whole=True)
    assert stream.class_order[:20] == FIRST_OF_100
    assert [(len(t.classes), len(t.train), len(t.test)) for t in stream.tasks] == [(10, 400, 100)] * 10
    assert len({name for task in stream.tasks for name in task.classes}) == 100
    assert stream.tasks[0].train.inputs.shape[1:] == (32, 32, 3)
    assert len(loaded("tiny-imagenet", bench_data, tasks=20).tasks) == 20


def tiny(**changed) -> Task:
    train = Examples(["a", "b"], np.array([0, 1]), None, ["1", "2"])
    test = Examples(["c"], np.array([1]), None, ["3"])
    return replace(Task("t", train, test, None, ("x", "y"), Wording("g", "d")), **changed)


def test_a_fingerprint_is_stable_and_sees_every_part():
    base = tiny()
    known = fingerprint([base])
    assert known == fingerprint([tiny()])
    assert known == "285bdd8932173f3d4da186aff6b5078c2bf378d87e380922d672e49a8ced52fa"
    wide = replace(base.train, labels=base.train.labels.astype(">i8"))
    assert fingerprint([tiny(train=wide)]) == known
    others = [
        tiny(name="u"),
        tiny(classes=("y", "x")),
        tiny(wording=Wording("g", "e")),
        tiny(train=replace(base.train, inputs=["a", "B"])),
        tiny(train=replace(base.train, inputs=["ab", ""])),
        tiny(train=replace(base.train, labels=np.array([1, 0]))),
        tiny(train=replace(base.train, ids=["1", "4"])),
        tiny(train=base.train.take([1, 0])),
        tiny(test=base.train, train=base.test),
        tiny(validation=base.test),
        tiny(train=replace(base.train, references=[["a"], ["b"]])),
        tiny(train=replace(base.train, references=[["a", "b"], []])),
        tiny(train=replace(base.train, inputs=np.zeros((2, 4, 4), np.uint8))),
        tiny(train=replace(base.train, inputs=np.zeros((2, 2, 8), np.uint8))),
    ]
    found = [fingerprint([task]) for task in others] + [fingerprint([base, base]), known]
    assert len(set(found)) == len(found)


def test_the_streams_that_need_no_files_are_the_same_on_every_machine():
    assert fingerprint(loaded("digits").tasks).startswith("bceb1e1b6ddfe213")
    assert fingerprint(loaded("toy").tasks).startswith("0a2d2aba901f463d")


def test_malformed_tasks_are_refused():
    empty = Examples([], np.zeros(0, np.int64))
    for tasks, part in [
        ([], "no tasks"),
        ([tiny(), tiny()], "one name"),
        ([tiny(classes=("x", "x"))], "two classes of one name"),
        ([tiny(train=empty)], "no train rows"),
        ([tiny(test=empty)], "no test rows"),
        ([tiny(classes=("x",))], "t, train: row 2 has no label from 0 to 0"),
        ([tiny(classes=())], "needs references"),
        ([tiny(train=replace(tiny().train, ids=["1"]))], "differ in number"),
        ([tiny(train=replace(tiny().train, ids=["1", "1"]))], "t, train: rows 1, 2 have the same id '1'"),
        ([tiny(classes=("Good", "good"))], "'Good' and 'good' differ only by case"),
        ([tiny(classes=(), train=Examples(["a"], references=[[]]))], "train: row 1 has no reference"),
    ]:
        with pytest.raises(UserError, match=part):
            check("s", tasks)
    check("s", [tiny(), tiny(name="u")])


def test_paper_protocols_keep_their_numbers():
    olora = STREAMS.load("long-sequence").protocols["olora"]
    assert (olora.rank, olora.alpha, olora.batch_size, olora.epochs) == (8, 32, 64, 1)
    assert olora.epochs_by_task == {"mnli": 2} and olora.prompt == "olora"
    sapt = STREAMS.load("superni").protocols["sapt"]
    assert (sapt.rank, sapt.alpha, sapt.batch_size, sapt.epochs) == (4, 32, 32, 100)
    assert (sapt.source_length, sapt.target_length, sapt.references) == (512, 50, "drawn")
    litelora = STREAMS.load("tiny-imagenet").protocols["litelora"]
    assert (litelora.rank, litelora.batch_size, litelora.epochs, litelora.pixels) == (10, 128, 20, "unit")
    assert (
        litelora.augmentation == "crop-flip"
        and STREAMS.load("digits").protocols["litelora"].augmentation == "crop"
    )


def test_a_slice_of_classes_numbers_them_anew_in_every_split() -> None:
    def split(*labels: int) -> Examples:
        ids = [f"{place}:{label}" for place, label in enumerate(labels)]
        return Examples(ids, np.array(labels, np.int64), None, ids)

    whole = Task("all", split(0, 1, 2, 1), split(2, 0), split(1), ("a", "b", "c"), metric="accuracy")
    part = of_classes(whole, "two", [2, 1])
    # Class 2 comes first and becomes 0, class 1 becomes 1; class 0 is gone; rows keep their order.
    assert (part.name, part.classes, part.metric) == ("two", ("c", "b"), "accuracy")
    assert part.train.ids == ["1:1", "2:2", "3:1"] and part.train.labels.tolist() == [1, 0, 1]
    assert part.test.ids == ["0:2"] and part.test.labels.tolist() == [0]
    assert part.validation is not None and part.validation.labels.tolist() == [1]
