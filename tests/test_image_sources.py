"""pytest tests/test_image_sources.py: each source against a small copy in exactly its format."""

import pickle

import pytest
import yaml

from benchmark.registry import STREAMS
from tests.image_files import colours, labelled_parquet, save, split_folders
from tests.image_streams import WNIDS, by_class, expected, fails, loaded
from tests.test_stream_files import PICTURES, SMOKE, write
from tests.test_stream_files import loaded as described


@pytest.mark.parametrize(
    "name, folder, settings",
    [
        ("cifar100", "cifar100", {}),
        ("imagenet-r", "imagenet-r", {}),
        ("imagenet-a", "imagenet-a", {}),
        ("cub200", "cub", {"split": "pilot"}),
    ],
)
def test_pilots_folders(tmp_path, name, folder, settings):
    split_folders(tmp_path / folder, WNIDS)
    stream = loaded(name, tmp_path, tasks=2, **settings)
    assert [task.classes for task in stream.tasks] == [tuple(WNIDS[:2]), tuple(WNIDS[2:])]
    assert by_class(stream) == expected(WNIDS)
    assert stream.origin == f"the data folder's {folder}/" and stream.revisions == {}
    assert stream.tasks[0].train.ids[0] == "train/n01443537/0.png"
    assert stream.tasks[0].train.inputs.shape == (4, 8, 8, 3)
    assert "8 train and 4 test images; published are" in stream.notes[0]


def test_the_unpacked_tar_of_imagenet_r_is_split_by_the_published_lists(tmp_path):
    root = tmp_path / "imagenet-r"
    lists = {"train": ([], []), "test": ([], [])}
    for k, wnid in enumerate(WNIDS):
        for n, split in enumerate(("train", "train", "test")):
            save(root / wnid / f"art_{n}.jpg", 10 * k + n)
            lists[split][0].append(f"data/imagenet-r/{wnid}/art_{n}.jpg")
            lists[split][1].append(k)
    (root / "README.txt").write_text("ImageNet-R")
    fails("imagenet-r", tmp_path, root, "imagenet-r_train.yaml is neither in it nor beside it", tasks=2)
    for split, (data, targets) in lists.items():
        text = yaml.dump({"data": data, "targets": targets}, default_flow_style=False)
        (tmp_path / f"imagenet-r_{split}.yaml").write_text(text)
    stream = loaded("imagenet-r", tmp_path, tasks=2)
    assert [task.classes for task in stream.tasks] == [tuple(WNIDS[:2]), tuple(WNIDS[2:])]
    assert stream.tasks[1].train.ids == [f"{w}/art_{n}.jpg" for w in WNIDS[2:] for n in range(2)]
    assert stream.tasks[1].test.ids == [f"{w}/art_2.jpg" for w in WNIDS[2:]]
    # Inside the folder they are found too, and before those beside it.
    (tmp_path / "imagenet-r_test.yaml").rename(root / "imagenet-r_test.yaml")
    assert len(loaded("imagenet-r", tmp_path, tasks=2).tasks[0].test) == 2


@pytest.mark.parametrize(
    "content, parts",
    [
        ({"data": ["a/b/x.jpg"], "targets": [0, 1]}, ["1 files and 2 targets"]),
        ({"data": ["a/b/x.jpg", "a/b/y.jpg"], "targets": [0, 1]}, ["row 1", "b is class 1 and 0"]),
        ({"data": ["a/b/x.jpg"], "targets": ["0"]}, ["targets.0", "valid integer"]),
        ({"data": ["a/b/../x.jpg"], "targets": [0]}, ["row 0", "<class>/<file>"]),
        ({"data": ["a/b/x.jpg"], "targets": [3]}, ["do not number the classes 0 to 0"]),
        ([1], ["valid dictionary"]),
        ("- [unclosed", ["cannot be read as YAML"]),
        ("!!python/object/apply:os.getcwd []", ["cannot be read as YAML"]),
    ],
)
def test_faulty_lists_are_named(tmp_path, content, parts):
    save(tmp_path / "imagenet-r" / "b" / "x.jpg", 1)
    text = content if isinstance(content, str) else yaml.dump(content)
    for split in ("train", "test"):
        (tmp_path / f"imagenet-r_{split}.yaml").write_text(text)
    fails("imagenet-r", tmp_path, *parts)


def cub(root, rows):
    """CUB's archive: `rows` are (class number from 1, folder, 1 for train)."""
    root = root / "CUB_200_2011"
    tables = {"images.txt": [], "image_class_labels.txt": [], "train_test_split.txt": []}
    for number, (label, folder, train) in enumerate(rows, 1):
        path = f"{folder}/bird {number}.jpg"
        save(root / "images" / path, 5 * number)
        for table, value in zip(tables.values(), (path, label, train), strict=True):
            table.append(f"{number} {value}\n")
    for name, table in tables.items():
        (root / name).write_text("".join(table))
    return root


BIRDS = [(1, "001.Albatross", 1), (1, "001.Albatross", 0), (2, "002.Auk", 0), (2, "002.Auk", 1)]


def test_cubs_own_tables_make_the_official_split(tmp_path):
    root = cub(tmp_path, BIRDS)
    stream = loaded("cub200", tmp_path, tasks=2)
    assert [task.classes for task in stream.tasks] == [("001.Albatross",), ("002.Auk",)]
    assert stream.tasks[0].train.ids == ["images/001.Albatross/bird 1.jpg"]
    assert stream.tasks[1].test.ids == ["images/002.Auk/bird 3.jpg"]
    message = fails("cub200", tmp_path, "PILOT's split", "cub/train/<class>/", split="pilot")
    assert "split=official" in message
    table = root / "train_test_split.txt"
    whole = table.read_text()
    table.write_text(whole + "9 1\n")
    fails("cub200", tmp_path, table, "same images as images.txt")
    table.write_text(whole.replace("2 0", "2 maybe"))
    fails("cub200", tmp_path, table, "row 2", "'maybe' is not a whole number")
    table.write_text(whole.replace("2 0", "2"))
    fails("cub200", tmp_path, table, "row 2", "1 fields, not 2")
    table.unlink()
    fails("cub200", tmp_path, "cannot read", table)


def test_a_bird_folder_of_two_classes_is_refused(tmp_path):
    cub(tmp_path, [*BIRDS, (2, "003.Wren", 1)])
    fails("cub200", tmp_path, "class 2 is called 002.Auk and 003.Wren")


@pytest.mark.parametrize("name", ["cifar-100-python", "cifar-100-python.tar.gz"])
def test_cifars_pickles_are_refused(tmp_path, name):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the archive was unpickled",))

    path = tmp_path / name
    if name.endswith("python"):
        path.mkdir()
        (path / "train").write_bytes(pickle.dumps(Trap()))
    else:
        path.write_bytes(pickle.dumps(Trap()))
    fails("cifar100", tmp_path, path, "never opened", "hub/uoft-cs/cifar100/default/{train,test}.parquet")
    # What can be read is read, pickles or not.
    labelled_parquet(tmp_path / "hub/uoft-cs/cifar100/default", WNIDS, "img", "fine_label")
    assert len(loaded("cifar100", tmp_path, tasks=4).tasks) == 4


def test_hidden_folders_are_no_classes_and_a_missing_split_is_named(tmp_path):
    root = split_folders(tmp_path / "imagenet-a", WNIDS)
    save(root / "test" / ".hidden" / "0.png", 1)
    assert len(loaded("imagenet-a", tmp_path, tasks=4).tasks) == 4
    (root / "test").rename(root / "tset")
    fails("imagenet-a", tmp_path, root / "test", "does not exist")


@pytest.mark.parametrize("name", ["imagenet-r", "imagenet-a", "core50"])
def test_streams_without_a_hub_say_what_a_folder_must_hold(tmp_path, name):
    folder = "core50_128x128" if name == "core50" else f"{name}/train/<class>/"
    assert str(tmp_path) in fails(name, tmp_path, folder, "--data-dir FOLDER", "BENCH_DATA=FOLDER")


def domainnet(root, drop=None):
    """DomainNet's lists and folders with 3 classes; the red value tells domain and class."""
    domains = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
    for d, domain in enumerate(domains):
        for split, count in (("train", 2), ("test", 1)):
            rows = []
            for k, name in enumerate(("axe", "bird", "cow")):
                for n in range(count):
                    path = f"{domain}/{name}/{split}_{n}.png"
                    save(root / "domainnet" / path, 30 * d + k)
                    rows.append(f"{path} {k}\n")
            (root / "domainnet" / f"{domain}_{split}.txt").write_text("".join(rows))
    return root / "domainnet"


def test_domainnet_is_learned_by_class_or_by_domain(tmp_path):
    root = domainnet(tmp_path)
    stream = loaded("domainnet", tmp_path, tasks=3)
    assert [task.classes for task in stream.tasks] == [("axe",), ("bird",), ("cow",)]
    assert colours(stream.tasks[1].test.inputs) == [30 * d + 1 for d in range(6)]
    stream = loaded("domainnet", tmp_path, protocol="smoke-domains", scenario="domain-incremental")
    assert [task.name for task in stream.tasks] == [
        *("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
    ]
    for d, task in enumerate(stream.tasks):
        assert task.classes == ("axe", "bird", "cow")
        assert colours(task.train.inputs) == [30 * d + k for k in (0, 0, 1, 1, 2, 2)]
        assert colours(task.test.inputs) == [30 * d + k for k in (0, 1, 2)]
    fails("domainnet", tmp_path, "--protocol smoke-domains", scenario="domain-incremental")
    fails("domainnet", tmp_path, "--set scenario=domain-incremental", protocol="smoke-domains")
    chosen = {"order": "2", "protocol": "smoke-domains", "scenario": "domain-incremental"}
    fails("domainnet", tmp_path, "one order", "--order 2", **chosen)
    with pytest.raises(ValueError, match="by domain there are 6"):
        loaded("domainnet", tmp_path, scenario="domain-incremental", tasks=3)
    listed = root / "real_test.txt"
    whole = listed.read_text()
    for line, part in [
        ("real/axe/x.png 1\n", "class 1 is called bird and axe"),
        ("real/x.png 1\n", "<domain>/<class>/<file>"),
        ("real/bird/../x.png 1\n", "<domain>/<class>/<file>"),
        ("real/bird/x.png one\n", "'one' is not a whole number"),
    ]:
        listed.write_text(whole + line)
        fails("domainnet", tmp_path, "real_test.txt, row 4", part)
    listed.write_text("")
    fails("domainnet", tmp_path, "real_test.txt holds no rows")
    listed.unlink()
    fails("domainnet", tmp_path, "cannot read", "real_test.txt")


def core50(root, sessions=range(1, 12)):
    for session in sessions:
        for number in range(1, 51):
            name = f"C_{session:02d}_{number:02d}_000.png"
            save(root / "core50_128x128" / f"s{session}" / f"o{number}" / name, 20 * session, (4, 4))
    return root / "core50_128x128"


def test_core50_is_a_task_a_session_with_one_fixed_test(tmp_path):
    root = core50(tmp_path)
    (root / "paths.pkl").write_bytes(b"never read")
    stream = loaded("core50", tmp_path)
    assert [task.name for task in stream.tasks] == ["s1", "s2", "s4", "s5", "s6", "s8", "s9", "s11"]
    for task, session in zip(stream.tasks, (1, 2, 4, 5, 6, 8, 9, 11), strict=True):
        assert task.classes == tuple(f"o{number}" for number in range(1, 51))
        assert colours(task.train.inputs) == [20 * session] * 50
        assert colours(task.test.inputs) == [60] * 50 + [140] * 50 + [200] * 50
        assert task.test is stream.tasks[0].test
    assert STREAMS.load("core50").protocols["smoke"].head == "domain-incremental"
    for path in (root / "s4" / "o50").iterdir():
        path.unlink()
    fails("core50", tmp_path, root / "s4", "the class o50 has no images")
    for path in (root / "s7").rglob("*.png"):
        path.unlink()
    (root / "s7").rename(tmp_path / "elsewhere")
    save(root / "s4" / "o50" / "x.png", 1)
    fails("core50", tmp_path, "s7 does not exist")


def test_core50s_pickles_are_refused(tmp_path):
    (tmp_path / "paths.pkl").write_bytes(b"never read")
    fails("core50", tmp_path, "paths.pkl", "never opened", "core50_128x128/")


def five(root):
    hubs = {
        "ufldl-stanford/svhn/cropped_digits": "image",
        "ylecun/mnist/default": "image",
        "uoft-cs/cifar10/default": "img",
        "zalando-datasets/fashion_mnist/default": "image",
    }
    for folder, picture in hubs.items():
        labelled_parquet(root / "hub" / folder, [str(k) for k in range(10)], picture)
    for split in ("Train", "Test"):
        for k in range(10):
            save(root / "notMNIST" / split / "ABCDEFGHIJ"[k] / "x.png", 10 * k, (28, 28))


def test_five_datasets_share_no_class(tmp_path):
    five(tmp_path)
    stream = loaded("five-datasets", tmp_path)
    assert [task.name for task in stream.tasks] == [
        *("SVHN", "MNIST", "CIFAR-10", "notMNIST", "Fashion-MNIST")
    ]
    names = [name for task in stream.tasks for name in task.classes]
    assert len(set(names)) == 50 and names[30] == "notMNIST A" and names[-1] == "Fashion-MNIST 9"
    assert stream.class_order == list(range(50))
    assert colours(stream.tasks[3].test.inputs) == [10 * k for k in range(10)]
    for path in (tmp_path / "notMNIST").rglob("*.png"):
        path.unlink()
    fails("five-datasets", tmp_path, "notMNIST", "holds no images")
    (tmp_path / "notMNIST").rename(tmp_path / "elsewhere")
    fails("five-datasets", tmp_path, "notMNIST is read from files", "no settled hub id")


def test_all_of_tiny_imagenet(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    root.mkdir()
    (root / "wnids.txt").write_text("".join(f"{wnid}\n" for wnid in WNIDS))
    rows = []
    for k, wnid in enumerate(WNIDS):
        save(root / "train" / wnid / "images" / f"{wnid}_0.JPEG", 10 * k, (64, 64))
        save(root / "val" / "images" / f"val_{k}.JPEG", 10 * k, (64, 64))
        rows.append(f"val_{k}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    annotations = root / "val" / "val_annotations.txt"
    annotations.write_text("".join(rows))
    stream = loaded("tiny-imagenet", tmp_path, classes=200, tasks=2)
    assert [task.classes for task in stream.tasks] == [tuple(WNIDS[:2]), tuple(WNIDS[2:])]
    assert stream.tasks[0].test.ids == ["val/images/val_0.JPEG", "val/images/val_1.JPEG"]
    annotations.write_text("".join([*rows, "val_9.JPEG\tn0\t0\t0\t0\t0\n"]))
    fails("tiny-imagenet", tmp_path, "val_annotations.txt, row 5", "n0", classes=200)
    hub = tmp_path / "other" / "hub" / "zh-plus" / "tiny-imagenet" / "default"
    labelled_parquet(hub, WNIDS, splits=("train", "valid"))
    assert by_class(loaded("tiny-imagenet", tmp_path / "other", classes=200, tasks=2)) == expected(WNIDS)
    with pytest.raises(ValueError, match="classes=200"):
        loaded("tiny-imagenet", tmp_path, size=64)


def test_class_folders_are_read_alike_in_a_users_stream_and_in_a_published_layout(tmp_path):
    root = tmp_path / "imagenet-a"
    for place in (
        "train/ant/deep/1.png",
        "train/ant/0.png",
        "train/bee/0.png",
        "test/ant/0.png",
        "test/bee/0.png",
    ):
        save(root / place, 1)
    # What editors and systems leave behind is no class and no image.
    for place in ("train/.trash/0.png", "train/bee/._0.png", "test/bee/.cache/0.png"):
        save(root / place, 2)
    (root / "train/bee/notes.txt").write_text("no image", encoding="utf-8")
    text = PICTURES.replace('folder = "photos"', 'folder = "imagenet-a"').replace(
        "classes_per_task = 2", "tasks = 1"
    )
    own = described(write(tmp_path, text + SMOKE), "natural").tasks[0]
    theirs = loaded("imagenet-a", tmp_path, tasks=1).tasks[0]
    assert own.classes == theirs.classes == ("ant", "bee")
    assert own.train.ids == theirs.train.ids == ["train/ant/0.png", "train/ant/deep/1.png", "train/bee/0.png"]
    assert own.test.ids == theirs.test.ids == ["test/ant/0.png", "test/bee/0.png"]
