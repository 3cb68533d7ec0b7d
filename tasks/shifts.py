"""Visual domains made with an answer: which tasks need an adapter of their own, and which can borrow one.

The classes of another image stream are cut into disjoint blocks, one a task. Each block is shown in one of
five domains (see `benchmark.data.image_shifts`), and each domain has two tasks. The first task of a domain
meets a shift that no earlier task had: it is made to need an adapter. The second meets new classes under a
shift that an adapter has been learned for: it is made to need none. Which block is shown in which domain,
and the order of the tasks, are sampled from the order and the seed.

Whether it is so is a hypothesis about the backbone: `bench develop headroom` and the oracle measure it.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from benchmark.data.image_shifts import DOMAINS
from benchmark.errors import UserError
from benchmark.stream import Examples, LoadedStream, Request, Sources, Stream, Task, protocols
from tasks.sources import image_protocols

TASKS_PER_DOMAIN = 2
# A run is an order and a seed of equal number; the permutation depends on both.
ORDERS = {str(number): number for number in range(1, 21)}


class Parameters(BaseModel):
    """Settings of the stream."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    over: str = Field("cifar100", description="the image stream whose classes are shown")
    classes: int | None = Field(None, ge=1, description="classes of a task; none: as many as there are")


def load_classes(request: Request, over: str) -> tuple[list[Task], str]:
    """Return every class of another stream as a task of one class, by name, and where the rows came from."""
    from benchmark.running.catalogue import load_stream

    stream = load_stream(over)
    if stream.kind != "image" or over == STREAM.name:
        raise UserError(f"over={over}: a stream of images is expected, not one of kind {stream.kind}")
    loaded = stream.load(Request(stream.default_order, request.seed, request.protocol, request.data_dir))
    found = {}
    for task in loaded.tasks:
        for label, name in enumerate(task.classes):
            found[name] = Task(name, *(_take_class(rows, label) for rows in (task.train, task.test)))
    return [found[name] for name in sorted(found)], loaded.origin


def _take_class(rows: Examples, label: int) -> Examples:
    import numpy as np

    assert rows.labels is not None
    return rows.take(np.flatnonzero(rows.labels == label))


def assign(blocks: int, order: int, seed: int) -> list[tuple[str, int]]:
    """Return the tasks in the order learned, each a domain and the number of its block of classes."""
    import numpy as np

    generator = np.random.RandomState([order, seed])
    domains = [name for name in DOMAINS for _ in range(TASKS_PER_DOMAIN)]
    pairs = list(zip(domains, generator.permutation(blocks).tolist(), strict=True))
    return [pairs[place] for place in generator.permutation(len(pairs))]


def show(classes: list[Task], name: str, domain: str) -> Task:
    """Return one task of the given classes in a domain; ids name the class and the row within it."""
    import numpy as np

    from benchmark.data.shown_images import ShownImages

    splits = []
    for split in ("train", "test"):
        images, labels, ids = [], [], []
        for label, one in enumerate(classes):
            rows: Examples = getattr(one, split)
            images.append(np.asarray(rows.inputs[np.arange(len(rows))][:]))
            labels += [label] * len(rows)
            ids += [f"{one.name}, {row}" for row in range(len(rows))]
        stacked = np.concatenate(images)
        # A row's noise follows its class and place, so that it does not depend on the block it is shown in.
        numbers = np.array([_number(each) for each in ids])
        splits.append(Examples(ShownImages(stacked, numbers, domain), np.array(labels, np.int64), None, ids))
    return Task(name, *splits, classes=tuple(one.name for one in classes))


def _number(name: str) -> int:
    import zlib

    return zlib.crc32(name.encode())


def load(request: Request) -> LoadedStream:
    """Return ten tasks, two of each domain, with the tasks that need an adapter marked."""
    settings = request.parameters or Parameters()
    classes, origin = load_classes(request, settings.over)
    blocks = len(DOMAINS) * TASKS_PER_DOMAIN
    size = settings.classes or len(classes) // blocks
    if size < 1 or size * blocks > len(classes):
        raise UserError(
            f"the stream '{settings.over}' has {len(classes)} classes; {blocks} tasks of {max(size, 1)} need "
            f"{blocks * max(size, 1)}: set classes to at most {len(classes) // blocks}"
        )
    tasks, needs, seen = [], [], set()
    for number, (domain, block) in enumerate(assign(blocks, ORDERS[request.order], request.seed), 1):
        chosen = classes[block * size : (block + 1) * size]
        tasks.append(show(chosen, f"task {number:02d} {domain}", domain))
        needs.append(domain not in seen)
        seen.add(domain)
    return LoadedStream(tasks, f"{settings.over}: {origin}", needs_adapter=tuple(needs))


STANDARD = image_protocols.standard(
    source="this suite: a comparison of adapters on a small pretrained ViT; every row searched by the same "
    "rule, on order 20 and seed 1000; run i has order i and seed i",
    # 40 train and 40 test rows of each of a task's two classes; 72 more train rows decide the search.
    train_limit=80,
    test_limit=80,
    validation=0.3,
    blocks="last:4",
    batch_size=8,
    search=image_protocols.search("20"),
)

STREAM = Stream(
    name="shifts",
    title="Five visual domains of another stream's images, two tasks each, with a known answer",
    kind="image",
    licence="that of the underlying stream",
    citation="this suite",
    homepage="",
    orders=ORDERS,
    protocols=protocols(image_protocols.smoke(train_limit=400, test_limit=200), STANDARD),
    load=load,
    parameters=Parameters,
    published={"standard": {"over": "cifar100", "classes": 2}},
    sources=Sources(bundled="the stream that `over` names"),
)
