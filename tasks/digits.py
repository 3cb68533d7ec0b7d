"""Handwritten digits: scikit-learn's 1797 real 8x8 images in 5 tasks of 2 classes; needs no download."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.stream import Examples, LoadedStream, Request, Sources, StatedTask, Stream, protocols
from tasks.sources import image_protocols, images

TEST_SHARE = 0.3
TASKS = 5


def read() -> images.LabelledImages:
    """Return the digits, with a test split that never changes: 0.3 of each class."""
    import numpy as np
    from sklearn.datasets import load_digits

    from benchmark.data.splits import hold_out

    source = load_digits()
    pixels = np.round(source.images * (255 / 16)).astype(np.uint8)
    train, test = hold_out(Examples(pixels, source.target.astype(np.int64)), TEST_SHARE, seed=0)
    names = tuple(f"digit {number}" for number in range(10))
    return images.label_images(train.inputs, train.labels, test.inputs, test.labels, names)


def load(request: Request) -> LoadedStream:
    """Return five tasks of two digits each, in the class order asked for."""
    sizes = images.SlicedClasses(tasks=TASKS)
    return images.class_incremental(read(), images.ORDERS[request.order], sizes, "scikit-learn, load_digits")


def state_tasks(order: str, parameters: Mapping[str, Any]) -> list[StatedTask]:
    """Return the tasks of two digits each; how many rows they have only the data show."""
    parts = images.slices(images.permutation(10, images.ORDERS[order]), TASKS)
    return [
        StatedTask(f"task {number:02d}", tuple(f"digit {c}" for c in part))
        for number, part in enumerate(parts, 1)
    ]


SMOKE = image_protocols.smoke(epochs=8, validation=0.2)

STREAM = Stream(
    name="digits",
    title="Handwritten digits, 5 tasks of 2 classes",
    kind="image",
    licence="CC BY 4.0",
    citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998",
    homepage="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    orders=images.ORDERS,
    protocols=protocols(
        SMOKE,
        # A mirrored digit may be another or none.
        image_protocols.litelora("Split CIFAR-100", augmentation="crop"),
    ),
    load=load,
    sources=Sources(bundled="scikit-learn"),
    stated=state_tasks,
)
