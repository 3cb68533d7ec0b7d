"""pytest tests/test_vision_streams.py"""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.commands.plan_report import announcement, run_data
from benchmark.data.class_orders import cut_order
from benchmark.data.fingerprint import fingerprint
from benchmark.data.load import load
from benchmark.errors import UserError
from benchmark.registry import STREAMS
from benchmark.running.plan import plan
from benchmark.stream import Request
from tasks.sources import images
from tests.image_files import colours, labelled_parquet, save, split_folders
from tests.image_streams import loaded as loaded_whole

# numpy.random.seed(1993); numpy.random.permutation(C), as PyCIL and its descendants call it.
ORDER_100 = """
68 56 78 8 23 84 90 65 74 76 40 89 3 92 55 9 26 80 43 38 58 70 77 1 85 19 17 50 28 53 13
81 45 82 6 59 83 16 15 44 91 41 72 60 79 52 20 10 31 54 37 95 14 71 96 98 97 2 64 66 42 22
35 86 24 34 87 21 99 0 88 27 18 94 11 12 47 25 30 46 62 69 36 61 7 63 75 5 32 4 51 48 73
93 39 67 29 49 57 33
"""
ORDER_200 = """
168 136 51 9 183 101 171 99 42 159 191 70 16 188 27 10 175 26 68 187 98 6 85 35 112 43 100
0 103 181 88 59 4 2 116 174 94 80 106 1 147 17 141 131 72 23 173 54 197 118 87 32 79 104
91 19 135 107 178 36 11 199 142 8 122 3 28 57 153 172 190 56 49 44 97 62 151 169 194 55
192 12 189 78 66 180 15 137 109 134 92 119 126 52 170 40 148 65 144 64 138 45 77 89 154 90
71 193 74 30 113 143 96 84 67 50 186 156 69 21 18 111 108 58 125 157 150 110 182 129 166
83 81 60 13 165 14 176 63 117 5 22 145 121 38 41 82 127 114 20 31 53 37 163 196 130 152
162 86 76 24 34 184 149 33 128 198 155 146 167 139 120 140 102 47 25 158 123 46 164 61 7
115 75 133 160 105 132 179 124 48 73 93 39 95 195 29 177 185 161
"""
FIRST_OF_345 = "214 80 343 268 224 97 253 55 165 170 14 305 192 333 52 103 300 163 147 122"

VISION = (
    *("cifar100", "core50", "cub200", "digits", "domainnet", "five-datasets", "imagenet-a", "imagenet-r"),
    *("omniglot", "tiny-imagenet"),
)


def numbers(text):
    return [int(number) for number in text.split()]


def loaded(name, root, order="1", protocol="smoke", **settings):
    stream = STREAMS.load(name)
    chosen = stream.parameters(**{"size": 8} | settings)
    return load(stream, Request(order, 0, stream.protocols[protocol], root, chosen))


def test_seed_1993_gives_the_published_class_orders():
    assert images.permutation(100, 1993) == numbers(ORDER_100)
    assert images.permutation(200, 1993) == numbers(ORDER_200)
    assert images.permutation(345, 1993)[:20] == numbers(FIRST_OF_345)
    for seed in (1993, 1995, 1996):
        np.random.seed(seed)
        assert images.permutation(50, seed) == np.random.permutation(50).tolist()


@given(st.integers(1, 400), st.integers(1, 60))
def test_slices_hold_every_class_once_and_only_the_last_is_shorter(classes, tasks):
    order = list(range(classes))
    try:
        parts = images.slices(order, tasks)
    except UserError:
        # ceil(C / T) classes a task use all of them up before the last task.
        assert -(-classes // tasks) * (tasks - 1) >= classes
        return
    assert len(parts) == tasks and [c for part in parts for c in part] == order
    assert len({len(part) for part in parts[:-1]}) <= 1 and 0 < len(parts[-1]) <= len(parts[0])


@pytest.mark.parametrize(
    "name, classes, counts",
    [("cifar100", 100, (5, 10, 20, 50)), ("imagenet-r", 200, (5, 10, 20, 50)), ("imagenet-a", 200, (10, 20))],
)
def test_the_class_order_and_the_slices_reach_the_result(tmp_path, name, classes, counts):
    # Folder names sort as the numbers do, and test image k has the colour of class k.
    names = [f"c{k:03d}" for k in range(classes)]
    for split in ("train", "test"):
        for k, label in enumerate(names):
            save(tmp_path / name / split / label / "x.png", k, (8, 8))
    order = numbers(ORDER_100 if classes == 100 else ORDER_200)
    for count in counts:
        stream = loaded(name, tmp_path, tasks=count)
        assert stream.class_order == order
        size = classes // count
        for t, task in enumerate(stream.tasks):
            own = order[t * size : (t + 1) * size]
            assert task.name == f"task {t + 1:02d}"
            assert task.classes == tuple(names[k] for k in own)
            # Rows keep the source's order; each has the label whose class its colour tells.
            assert [own[label] for label in task.test.labels] == colours(task.test.inputs) == sorted(own)
        assert not any("the last of" in note for note in stream.notes)


def test_a_number_of_tasks_that_leaves_a_rest_is_reported(tmp_path):
    split_folders(tmp_path / "cifar100", [f"c{k}" for k in range(10)], train=1)
    stream = loaded("cifar100", tmp_path, tasks=4)
    # 10 classes in 4 tasks: ceil(10 / 4) = 3 a task leaves 1 for the last.
    assert [len(task.classes) for task in stream.tasks] == [3, 3, 3, 1]
    assert "10 classes in 4 tasks of 3, the last of 1" in stream.notes
    with pytest.raises(UserError, match="10 classes cannot be cut into 7 tasks"):
        loaded("cifar100", tmp_path, tasks=7)


def test_a_larger_first_task_is_cut_as_pilot_cuts(tmp_path):
    split_folders(tmp_path / "cifar100", [f"c{k}" for k in range(10)], train=1)
    # PILOT's init_cls 5 and increment 2: increments are added while they leave something, [5, 2, 2], then 1.
    stream = loaded("cifar100", tmp_path, first_classes=5, classes_per_task=2)
    assert [len(task.classes) for task in stream.tasks] == [5, 2, 2, 1]
    assert "10 classes in 4 tasks of 2, the first of 5, the last of 1" in stream.notes
    assert [name for task in stream.tasks for name in task.classes] == [f"c{k}" for k in stream.class_order]
    # B5 with five steps, as the literature writes it, is six tasks.
    stream = loaded("cifar100", tmp_path, first_classes=5, tasks=6)
    assert [len(task.classes) for task in stream.tasks] == [5, 1, 1, 1, 1, 1]
    with pytest.raises(UserError, match="10 classes cannot be cut into tasks of 2, the first of 11"):
        loaded("cifar100", tmp_path, first_classes=11, classes_per_task=2)
    with pytest.raises(UserError, match="10 classes cannot be cut into 1 tasks, the first of 5"):
        loaded("cifar100", tmp_path, first_classes=5, tasks=1)


@pytest.mark.parametrize(
    ("first", "step", "sizes"),
    [
        (50, 10, [50, 10, 10, 10, 10, 10]),  # B50 Inc10 of CIFAR-100
        (50, 7, [50, 7, 7, 7, 7, 7, 7, 7, 1]),  # steps that do not divide the classes
        (None, 30, [30, 30, 30, 10]),
        (100, 5, [100]),
        (98, 5, [98, 2]),
    ],
)
def test_slices_are_those_of_pilot(first, step, sizes):
    parts = cut_order(list(range(100)), 10, step, first)
    assert [len(part) for part in parts] == sizes == pilot_increments(100, first or step, step)
    assert [c for part in parts for c in part] == list(range(100))


def pilot_increments(classes, first, step):
    """Return the sizes by the rule of PILOT's data manager: whole steps while more than one is left."""
    sizes = [first]
    while classes - sum(sizes) > step:
        sizes.append(step)
    return [*sizes, classes - sum(sizes)] if sum(sizes) < classes else sizes


def test_too_many_tasks_are_refused_before_anything_is_decoded(tmp_path):
    root = split_folders(tmp_path / "cifar100", ["a", "b"])
    (root / "train" / "a" / "0.png").write_bytes(b"not an image")
    with pytest.raises(UserError, match="cannot be cut"):
        loaded("cifar100", tmp_path, tasks=3)
    with pytest.raises(UserError, match=r"0\.png, row 0: not a readable image"):
        loaded("cifar100", tmp_path, tasks=2)


def test_test_images_are_seen_whole_or_in_their_middle(tmp_path):
    import PIL.Image

    # 16 x 16 with a border of one pixel. The middle 7/8 of it, 14 x 14, has no border.
    pixels = np.full((16, 16, 3), 200, np.uint8)
    pixels[1:15, 1:15] = 100
    for split in ("train", "test"):
        path = tmp_path / "cifar100" / split / "a" / "x.png"
        path.parent.mkdir(parents=True)
        PIL.Image.fromarray(pixels).save(path)
    # Of size 14, the shorter side becomes 14 * 256 / 224 = 16, so that nothing is resized.
    (task,) = loaded("cifar100", tmp_path, size=14, test_view="centre", tasks=1).tasks
    assert (np.asarray(task.test.inputs) == 100).all() and np.asarray(task.train.inputs).max() > 150
    (task,) = loaded("cifar100", tmp_path, size=16, tasks=1).tasks
    assert np.array_equal(task.test.inputs[0], pixels)


def test_every_vision_stream_has_a_smoke_protocol_for_the_bundled_backbone():
    for name in VISION:
        stream = STREAMS.load(name)
        smoke = stream.protocols["smoke"]
        assert (stream.kind, smoke.backbone, smoke.pixels) == ("image", "vit-nano", "backbone")
        assert stream.published.keys() >= stream.protocols.keys() - {"smoke"} or not stream.published
        for key, settings in stream.published.items():
            if key in stream.protocols:
                assert stream.parameters(**settings)
    for name, seed in (("1", 1993), ("2", 1995), ("3", 1996), ("natural", None)):
        assert STREAMS.load("cifar100").orders[name] == seed


PUBLISHED = {  # tasks, epochs, batch, rank, targets, settings of the method
    ("cifar100", "litelora", "litelora"): (
        *(10, 20, 128, 10, ("query", "value")),
        {"learning_rate": 8e-3, "magnitude_learning_rate": 8e-3, "sparsity": 0.035}
        | {"magnitude_weight_decay": 2e-4, "selection_batch_size": 128, "gate_learning_rate": 0.05},
    ),
    ("imagenet-r", "litelora", "litelora"): (
        *(20, 20, 128, 10, ("query", "value")),
        {"learning_rate": 1e-2, "magnitude_learning_rate": 8e-3, "sparsity": 0.02}
        | {"selection_batch_size": 16, "selection_epochs": 1},
    ),
    ("imagenet-a", "litelora", "litelora"): (
        *(20, 20, 128, 10, ("query", "value")),
        {"learning_rate": 1e-2, "sparsity": 0.014, "selection_batch_size": 16},
    ),
    ("cifar100", "sdlora", "sd-lora"): (
        *(10, 20, 128, 10, ("query", "value")),
        {"learning_rate": 8e-3, "variant": "official"},
    ),
    ("imagenet-r", "sdlora", "sd-lora"): (10, 20, 128, 10, ("query", "value"), {"learning_rate": 1e-2}),
    ("imagenet-a", "sdlora", "sd-lora"): (10, 20, 128, 10, ("query", "value"), {"learning_rate": 1e-2}),
    ("domainnet", "sdlora", "sd-lora"): (5, 10, 128, 10, ("query", "value"), {"learning_rate": 0.02}),
    ("cub200", "sdlora", "sd-lora"): (
        *(10, 20, 128, 10, ("query", "value")),
        {"learning_rate": 8e-3, "optimizer": "adam"},
    ),
    ("cifar100", "inflora", "inflora"): (
        *(10, 20, 128, 10, ("key", "value")),
        {"learning_rate": 5e-4, "optimizer": "adam", "energy": 0.95, "last_energy": 1.0},
    ),
    ("imagenet-r", "inflora", "inflora"): (
        *(10, 50, 128, 10, ("key", "value")),
        {"learning_rate": 5e-4, "optimizer": "adam", "energy": 0.98},
    ),
    ("domainnet", "inflora", "inflora"): (
        *(5, 5, 128, 30, ("key", "value")),
        {"learning_rate": 5e-3, "head_learning_rate": 1e-2, "optimizer": "sgd", "energy": 0.95},
    ),
}


@pytest.mark.parametrize("stream, protocol, method", PUBLISHED)
def test_protocols_are_as_published(stream, protocol, method):
    tasks, epochs, batch, rank, targets, settings = PUBLISHED[stream, protocol, method]
    (run,) = plan(method, stream, protocol=protocol)
    assert run.parameters["tasks"] == tasks and run.parameters["size"] == 224
    used = run.protocol
    assert (used.epochs, used.batch_size, used.rank, used.targets) == (epochs, batch, rank, targets)
    assert (used.pixels, used.augmentation, used.validation) == ("unit", "crop-flip", 0.0)
    assert (used.head, used.loss, used.alpha) == ("class-incremental", "local", None)
    assert settings.items() <= run.hyperparameters.items()


def test_a_dry_run_prints_the_published_settings():
    runs = plan("litelora", "cifar100", backbone="vit-b16-in21k-ft-in1k", protocol="litelora")
    text = announcement(runs)
    for part in (
        "orders    1 (class permutation with seed 1993)",
        "backbone  vit-b16-in21k-ft-in1k",
        *("tasks 10", "epochs 20", "batch_size 128", "rank 10", "targets query+value", "pixels unit"),
    ):
        assert part in text, text
    reported = json.loads(json.dumps(run_data(runs[0])))["config"]
    assert reported["parameters"] == {"size": 224, "tasks": 10, "test_view": "centre"}


def test_chosen_settings_win_over_those_a_protocol_goes_with():
    (run,) = plan("litelora", "imagenet-r", protocol="litelora", settings=["tasks=5", "size=64"])
    assert run.parameters == {"size": 64, "tasks": 5, "test_view": "centre"}
    (run,) = plan("litelora", "cifar100", settings=["first_classes=50", "classes_per_task=10"])
    assert (run.parameters["first_classes"], run.parameters["classes_per_task"]) == (50, 10)
    (run,) = plan("seq-lora", "domainnet", protocol="smoke-domains")
    assert run.parameters["scenario"] == "domain-incremental" and run.parameters["tasks"] == 6
    with pytest.raises(UserError, match="by domain there are 6"):
        plan("seq-lora", "domainnet", settings=["scenario=domain-incremental", "tasks=3"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cifar100", "domainnet"])
def test_a_run_is_learned_from_encoded_images(tmp_path, name):
    from benchmark.running.driver import run
    from tests.test_image_sources import domainnet

    if name == "cifar100":
        folder = tmp_path / "hub" / "uoft-cs" / "cifar100" / "default"
        labelled_parquet(folder, [f"c{k}" for k in range(6)], "img", "fine_label", copies=4)
        runs = plan("seq-lora", name, settings=["protocol.epochs=1", "tasks=3"])
    else:
        domainnet(tmp_path)
        runs = plan("seq-lora", name, protocol="smoke-domains", settings=["protocol.epochs=1"])
    (outcome,) = run(runs, tmp_path / "out", tmp_path, 1, "cpu", False, lambda event: None)
    assert outcome.error is None
    result = outcome.result
    if name == "cifar100":
        assert result.provenance.class_order == images.permutation(6, 1993)
        assert [len(task.classes) for task in result.tasks] == [2, 2, 2]
    else:
        assert result.provenance.task_order[0] == "clipart" and result.provenance.class_order is None
        # All domains share the three classes' rows of the head, so it holds a multiple of three numbers.
        assert {tuple(task.classes) for task in result.tasks} == {("axe", "bird", "cow")}
        assert result.parameters.head % 3 == 0


@pytest.mark.parametrize("tasks", [5, 10, 20])
def test_sample_of_cifar100_has_the_published_class_orders(bench_data, tasks):
    stream = loaded("cifar100", bench_data, order="1", size=32, tasks=tasks)
    names = json.loads((bench_data / "vision" / "cifar100_32.json").read_text())["class_names"]
    assert stream.class_order == [int(number) for number in ORDER_100.split()]
    assert [name for task in stream.tasks for name in task.classes] == [names[c] for c in stream.class_order]
    assert [len(task.classes) for task in stream.tasks] == [100 // tasks] * tasks
    assert stream.origin == "the data folder's vision/"
    assert "12000 train and 3998 test images; published are 50000" in stream.notes[0]


def test_sample_of_cifar100_keeps_its_pixels_and_its_fingerprint(bench_data):
    stream = loaded_whole("cifar100", bench_data, order="natural", size=32)
    with np.load(bench_data / "vision" / "cifar100_32.npz") as arrays:
        labels = arrays["train_labels"]
        expected = arrays["train_images"][labels < 10]
    first = stream.tasks[0].train
    assert np.array_equal(np.asarray(first.inputs[:]), expected)
    assert first.labels.tolist() == [int(label) for label in labels if label < 10]
    assert first.ids[0] == f"train-{int(np.flatnonzero(labels < 10)[0])}"
    assert fingerprint(stream.tasks) == "fb96791304e569ed9a2878dfca170ea824cf180b8751190a86f904d18a3716e4"


def test_folders_come_before_the_sample_of_cifar100(tmp_path):
    split_folders(tmp_path / "cifar100", ["a", "b"])
    (tmp_path / "vision").mkdir()
    (tmp_path / "vision" / "cifar100_32.npz").write_bytes(b"not read")
    assert loaded("cifar100", tmp_path, tasks=2).origin == "the data folder's cifar100/"
