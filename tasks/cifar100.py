"""Split CIFAR-100: 100 classes in 10 tasks of 10 (or 5, 20, 50), class-incremental; from files or the hub.

Read from image folders, from the sample of 120 training and 40 test images a class in the data folder's
`vision/`, or from `uoft-cs/cifar100`; the original python archive is pickled and refused. Images are kept
enlarged to `size` pixels; training crops are cut from these, not from the 32 pixels of the source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmark.data.hub import HubSet
from benchmark.stream import Stream, protocols
from tasks.sources import image_protocols, image_sets, images
from tasks.sources.image_arrays import array_file
from tasks.sources.image_sources import ImageSource, split_folders
from tasks.sources.image_tables import HubImages

SOURCE = ImageSource(
    "CIFAR-100",
    (split_folders("cifar100"), array_file("cifar100_32")),
    HubImages(HubSet("uoft-cs/cifar100"), image="img", label="fine_label"),
    pickles=("cifar-100-python", "cifar-100-python.tar.gz", "cifar100/cifar-100-python"),
    rows=(50000, 10000),
)


STANDARD = image_protocols.standard(
    source="this suite: a comparison of adapters on a small pretrained ViT; every row searched by the same "
    "rule, on order natural and seed 1000; runs 1, 2, ... have orders 1, 2, 3, own-4, ... and seeds alike",
    # 60 train and some 10 test rows of each of a task's ten classes; 10 more train rows decide the search.
    train_limit=600,
    test_limit=100,
    validation=0.2,
    # On validation rows of order natural joint LoRA in these blocks read 53 in three epochs where a probe of
    # frozen features read 39; with 20 rows a class it read 28 and the probe 23.
    blocks="last:9",
    epochs=2,
    batch_size=16,
)

WHOLE = replace(SOURCE, readings=SOURCE.readings[:1])
"""The whole set, in folders or on the hub."""


def write_sample(root: Path | None, folder: Path, report: Callable[[str], None]) -> Path:
    """Write the 12,000 training and 3,998 test images that published results stand on; see `Stream`."""
    from tasks.sources.image_samples import write_sample as write

    return write(WHOLE.find(root), "cifar100_32", 32, folder, report)


STREAM = Stream(
    name="cifar100",
    title="Split CIFAR-100, 10 tasks of 10 classes",
    kind="image",
    licence="not stated",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
    orders=images.ORDERS,
    protocols=protocols(
        image_protocols.smoke(train_limit=400, test_limit=200),
        STANDARD,
        image_protocols.litelora("Split CIFAR-100"),
        image_protocols.sdlora(
            "the official configuration for Split CIFAR-100, there with seed 1993 (--order 1); the authors' "
            "own log has seed 1994",
            epochs=20,
        ),
        image_protocols.inflora("cifar100_inflora.json", epochs=20),
        image_protocols.pilot("exps/ease.json, there with 20 tasks", batch_size=48),
        image_protocols.cllora("cifar.json", epochs=30, batch_size=64, rank=8),
    ),
    load=SOURCE.load_sliced,
    write_sample=write_sample,
    sources=SOURCE.stated,
    parameters=image_sets.SlicedImageSettings,
    # `standard` keeps images at the side of its backbone.
    # InfLoRA tests CIFAR-100 on whole images; PILOT's and CL-LoRA's configurations have 20 tasks.
    published={
        **image_sets.PUBLISHED,
        "standard": {"size": 56},
        "inflora": {"test_view": "whole"},
        "pilot": {"test_view": "centre", "tasks": 20},
        "cllora": {"test_view": "centre", "tasks": 20},
    },
)
