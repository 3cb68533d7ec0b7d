"""pytest tests/test_image_tables.py: image sets of the hub, and parquet files laid out like them."""

import pyarrow
import pyarrow.parquet
import pytest

from tests.image_files import colours, encoded, labelled_parquet, parquet
from tests.image_streams import WNIDS, by_class, expected, fails, loaded


@pytest.mark.parametrize(
    "name, identifier, picture, label",
    [
        ("cifar100", "uoft-cs/cifar100", "img", "fine_label"),
        ("cub200", "bentrevett/caltech-ucsd-birds-200-2011", "image", "label"),
    ],
)
def test_parquet_laid_out_like_the_hub(tmp_path, name, identifier, picture, label):
    labelled_parquet(tmp_path / "hub" / identifier / "default", WNIDS, picture, label)
    stream = loaded(name, tmp_path, tasks=2)
    assert by_class(stream) == expected(WNIDS)
    assert stream.origin == f"the data folder's hub/{identifier}/"
    assert stream.tasks[1].train.ids == ["train-4", "train-5", "train-6", "train-7"]


def test_faulty_parquet_is_named(tmp_path):
    folder = tmp_path / "hub" / "uoft-cs" / "cifar100" / "default"
    names = {"fine_label": WNIDS}
    labelled_parquet(folder, WNIDS, "img", "fine_label")
    parquet(folder / "test.parquet", {"img": [encoded(1)], "fine_label": [0]}, names)
    fails("cifar100", tmp_path, folder, "the class n01484850 has no test images")
    pictures = [encoded(1)] * 4
    parquet(folder / "test.parquet", {"image": pictures, "fine_label": [0, 1, 2, 3]}, names)
    fails("cifar100", tmp_path, "test.parquet", "no column 'img'", "image, fine_label", tasks=2)
    parquet(folder / "test.parquet", {"img": pictures, "fine_label": [0, 1, 2, -1]}, names)
    fails("cifar100", tmp_path, "test.parquet, row 3", "fine_label -1 is not one of 0 to 3")
    parquet(folder / "test.parquet", {"img": [*pictures[:3], b"x"], "fine_label": [0, 1, 2, 3]}, names)
    fails("cifar100", tmp_path, "test.parquet, row 3", "not a readable image", tasks=2)
    other = {"fine_label": list(reversed(WNIDS))}
    parquet(folder / "test.parquet", {"img": pictures, "fine_label": [0, 1, 2, 3]}, other)
    fails("cifar100", tmp_path, "test.parquet", "names of the column 'fine_label' are not those of")
    (folder / "test.parquet").write_bytes(b"PAR1 no more")
    fails("cifar100", tmp_path, "test.parquet cannot be read as parquet")
    (folder / "test.parquet").unlink()
    fails("cifar100", tmp_path, "test.parquet does not exist")


def test_a_split_without_rows_is_refused(tmp_path):
    folder = tmp_path / "hub" / "uoft-cs" / "cifar100" / "default"
    labelled_parquet(folder, WNIDS, "img", "fine_label")
    table = pyarrow.parquet.read_table(folder / "test.parquet")
    pyarrow.parquet.write_table(table.slice(0, 0), folder / "test.parquet")
    fails("cifar100", tmp_path, f"{folder}: the test split holds no images")


def test_domainnet_from_parquet(tmp_path):
    # The hub's numbering of domains need not be the order in which they are learned.
    domains = ["sketch", "real", "quickdraw", "painting", "infograph", "clipart"]
    names = {"label": ["axe", "bird"], "domain": domains}
    folder = tmp_path / "hub" / "wltjr1007" / "DomainNet" / "default"
    for split in ("train", "test"):
        pairs = [(d, k) for d in range(6) for k in range(2)]
        columns = {
            "image": [encoded(10 * d + k) for d, k in pairs],
            "label": [k for _, k in pairs],
            "domain": [d for d, _ in pairs],
        }
        parquet(folder / f"{split}.parquet", columns, names)
    stream = loaded("domainnet", tmp_path, protocol="smoke-domains", scenario="domain-incremental")
    assert [(task.name, colours(task.train.inputs)) for task in stream.tasks[:2]] == [
        ("clipart", [50, 51]),
        ("infograph", [40, 41]),
    ]
    assert len(loaded("domainnet", tmp_path, tasks=2).tasks[0].train) == 6


def test_columns_without_names_are_numbered_or_sorted(tmp_path):
    folder = tmp_path / "hub" / "uoft-cs" / "cifar100" / "default"
    folder.mkdir(parents=True)
    for values, names in (([0, 1, 2], ("0", "1", "2")), (["cow", "axe", "bird"], ("axe", "bird", "cow"))):
        for split in ("train", "test"):
            table = pyarrow.table({"img": [encoded(9)] * 3, "fine_label": values})
            pyarrow.parquet.write_table(table, folder / f"{split}.parquet")
        (task,) = loaded("cifar100", tmp_path, tasks=1).tasks
        assert task.classes == names
        assert [task.classes[k] for k in task.train.labels] == [str(value) for value in values]


def test_without_the_hub_the_message_says_what_a_folder_must_hold(tmp_path, monkeypatch):
    import huggingface_hub

    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", unreachable)
    fails(
        *("cifar100", tmp_path, "uoft-cs/cifar100", "no route to host", "cifar100/train/<class>/"),
        "hub/uoft-cs/cifar100/default/{train,test}.parquet",
    )


def test_the_hub_is_read_in_pieces_and_its_commit_is_kept(tmp_path, monkeypatch):
    from datasets import load_dataset

    from benchmark.data.hub import Hub

    labelled_parquet(tmp_path / "x", WNIDS, "img", "fine_label")
    files = {split: str(tmp_path / "x" / f"{split}.parquet") for split in ("train", "test")}
    cached = load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
    monkeypatch.setattr(Hub, "commit", lambda *_: "0" * 40)
    monkeypatch.setattr(Hub, "_download", lambda *_: dict(cached))
    monkeypatch.delenv("BENCH_DATA", raising=False)  # whose folder holds a sample
    stream = loaded("cifar100", None, tasks=2)
    assert by_class(stream) == expected(WNIDS)
    assert stream.revisions == {"uoft-cs/cifar100": "0" * 40}
    assert stream.origin == "the Hugging Face hub"
