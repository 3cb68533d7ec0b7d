"""Loads image streams from small folders of one-coloured images and says what is in them."""

import pytest

from benchmark.data.load import load
from benchmark.errors import UserError
from benchmark.registry import STREAMS
from benchmark.stream import Request
from tests.image_files import colours

WNIDS = ["n01443537", "n01484850", "n01494475", "n01498041"]


def loaded(name, root, order=None, protocol="smoke", **settings):
    stream = STREAMS.load(name)
    order = order or ("natural" if "natural" in stream.orders else "1")
    whole = stream.protocols[protocol].model_copy(
        update={"validation": 0.0, "train_limit": None, "test_limit": None}
    )
    given = {"size": 8} | settings
    return load(stream, Request(order, 0, whole, root, stream.parameters(**given)))


def fails(name, root, *parts, **settings):
    with pytest.raises(UserError) as caught:
        loaded(name, root, **settings)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message, message
    return message


def by_class(stream):
    """The colours of train and test images by class name."""
    found = {}
    for task in stream.tasks:
        for k, name in enumerate(task.classes):
            found[name] = tuple(colours(rows.inputs[rows.labels == k]) for rows in (task.train, task.test))
    return found


def expected(classes, train=2):
    """What `split_folders` and `labelled_parquet` write."""
    return {name: ([10 * k] * train, [10 * k + 1]) for k, name in enumerate(classes)}
