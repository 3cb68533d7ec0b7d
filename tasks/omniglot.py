"""Omniglot: 89 handwritten characters of 4 alphabets, class-incremental or one alphabet a task; files."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from benchmark.data.layouts import Layout
from benchmark.stream import LoadedStream, Request, Sources, Stream, Task, protocols
from tasks.sources import image_protocols, images

ARRAYS, TABLE = "vision/omniglot32.npz", "vision/omniglot32.json"
# The other four alphabets of the files are what the bundled vision backbone was pretrained on.
ALPHABETS = ("Greek", "Latin", "Tagalog", "Early_Aramaic")
TASKS = 10


class Parameters(BaseModel):
    """Settings of the stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    by: Literal["class", "alphabet"] = Field(
        "class", description="slices of permuted classes, or one alphabet a task in permuted order"
    )
    tasks: int | None = Field(None, ge=1, description=f"number of tasks by class; none: {TASKS}")

    @model_validator(mode="after")
    def _alphabets_are_counted(self) -> Parameters:
        if self.by == "alphabet" and self.tasks is not None:
            raise ValueError("`tasks` cuts classes; by alphabet there is one task an alphabet")
        return self


def read(request: Request) -> images.LabelledImages:
    """Return the characters of the stream's alphabets, with light ink on dark paper."""
    from benchmark.data.files import find_required
    from benchmark.errors import UserError

    arrays, table = find_required(request.data_dir, (ARRAYS, TABLE), "the stream 'omniglot'")
    source = images.read_images(arrays, table, dimensions=3)
    chosen = [c for c, name in enumerate(source.names) if name.partition("/")[0] in ALPHABETS]
    missing = set(ALPHABETS) - {source.names[c].partition("/")[0] for c in chosen}
    if missing:
        raise UserError(f"{table} names no character of the alphabets {', '.join(sorted(missing))}")
    own = source.task("", chosen)
    return images.label_images(
        255 - own.train.inputs, own.train.labels, 255 - own.test.inputs, own.test.labels, own.classes
    )


def by_alphabet(pictures: images.LabelledImages, seed: int | None) -> tuple[list[Task], list[int]]:
    """Return one task an alphabet, the alphabets permuted, and the order of the classes that this makes."""
    tasks, order = [], []
    for number in images.permutation(len(ALPHABETS), seed):
        alphabet = ALPHABETS[number]
        classes = [c for c, name in enumerate(pictures.names) if name.startswith(f"{alphabet}/")]
        tasks.append(pictures.task(alphabet, classes))
        order += classes
    return tasks, order


def load(request: Request) -> LoadedStream:
    """Return tasks over permuted classes, or over permuted alphabets."""
    parameters = request.parameters or Parameters()
    pictures, seed = read(request), images.ORDERS[request.order]
    origin = "the data folder's vision/"
    if parameters.by == "alphabet":
        tasks, order = by_alphabet(pictures, seed)
        return LoadedStream(tasks, origin, order)
    sizes = images.SlicedClasses(tasks=parameters.tasks or TASKS)
    return images.class_incremental(pictures, seed, sizes, origin)


SMOKE = image_protocols.smoke(epochs=10)

STREAM = Stream(
    name="omniglot",
    title="Omniglot characters of 4 alphabets, 10 tasks of 9 classes (the last of 8)",
    kind="image",
    licence="MIT",
    citation="Lake, Salakhutdinov and Tenenbaum, Human-level concept learning through probabilistic program "
    "induction, Science, 2015",
    homepage="https://github.com/brendenlake/omniglot",
    orders=images.ORDERS,
    protocols=protocols(
        SMOKE,
        # A mirrored character may be another or none.
        image_protocols.litelora("Split CIFAR-100", augmentation="crop"),
    ),
    load=load,
    parameters=Parameters,
    sources=Sources(layouts=(Layout("the data folder's vision/", ("",), (ARRAYS,)),)),
)
