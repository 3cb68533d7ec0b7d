"""Tiny ImageNet at 32x32: 100 classes in 10 tasks of 10, a stand-in for Split CIFAR-100; read from files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from benchmark.layouts import Layout
from benchmark.protocol import Protocol
from benchmark.stream import LoadedStream, Request, Sources, Stream, protocols
from tasks.sources import images

ARRAYS, TABLE = "vision/tinyimagenet100_32.npz", "vision/tinyimagenet100_32.json"


class Parameters(BaseModel):
    """Settings of the stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: int = Field(10, ge=1, description="number of tasks that the classes are cut into")


def load(request: Request) -> LoadedStream:
    """Return tasks over a permutation of the classes.

    Raises:
        UserError: no data folder is known, a file is faulty, or there are too few classes for the tasks.
    """
    from benchmark.data_files import required

    parameters = request.parameters or Parameters()
    arrays, table = required(request.data_dir, (ARRAYS, TABLE), "the stream 'tiny-imagenet'")
    pictures = images.read_images(arrays, table, dimensions=4)
    order = images.permutation(len(pictures.names), images.ORDERS[request.order])
    tasks = images.class_incremental(pictures, order, parameters.tasks)
    return LoadedStream(tasks, "the data folder's vision/", order)


QUICK = Protocol(
    name="quick",
    source="this suite: minutes on one CPU core",
    backbone="vit-nano",
    epochs=5,
    batch_size=16,
    rank=4,
    targets=("query", "value"),
)

STREAM = Stream(
    name="tiny-imagenet",
    title="Tiny ImageNet at 32x32, 10 tasks of 10 classes",
    kind="image",
    licence="ImageNet terms: non-commercial research and teaching",
    citation="Le and Yang, Tiny ImageNet Visual Recognition Challenge, 2015",
    homepage="https://www.image-net.org",
    orders=images.ORDERS,
    protocols=protocols(QUICK, images.litelora("crop-flip")),
    load=load,
    parameters=Parameters,
    sources=Sources(layouts=(Layout("the data folder's vision/", ("",), (ARRAYS,)),)),
)
