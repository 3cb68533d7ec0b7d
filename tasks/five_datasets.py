"""5-datasets: SVHN, MNIST, CIFAR-10, notMNIST and Fashion-MNIST, one task of 10 classes each.

The order is L2P's. The hub ids are recalled, not read from the hub's own pages. notMNIST has no settled id
and is read from files, in the layout of the archive that L2P downloads.
"""

from __future__ import annotations

from benchmark.data.hub import HubSet
from benchmark.stream import LoadedStream, Request, Stream, Task, protocols
from tasks.sources import image_protocols, image_sets
from tasks.sources.image_sources import ImageSource, Reading, join_sources, split_folders
from tasks.sources.image_tables import HubImages
from tasks.sources.rows import read_each


def _hub(identifier: str, config: str | None = None, image: str = "image") -> HubImages:
    return HubImages(HubSet(identifier, config, recalled=True), image)


def _source(name: str, reading: Reading, hub: HubImages | None, *pickles: str) -> ImageSource:
    return ImageSource(name, (reading,), hub, "" if hub else "no settled hub id is known", pickles)


SOURCES = (
    _source("SVHN", split_folders("svhn"), _hub("ufldl-stanford/svhn", "cropped_digits")),
    _source("MNIST", split_folders("mnist"), _hub("ylecun/mnist")),
    _source(
        "CIFAR-10", split_folders("cifar10"), _hub("uoft-cs/cifar10", image="img"), "cifar-10-batches-py"
    ),
    _source("notMNIST", split_folders("notMNIST", ("Train", "Test")), None),
    _source("Fashion-MNIST", split_folders("fashion-mnist"), _hub("zalando-datasets/fashion_mnist")),
)


def load(request: Request) -> LoadedStream:
    """Return the five sets in L2P's order; class names carry their set's name, so that none is shared."""
    settings = request.parameters or image_sets.ImageSettings()
    # All are found before any is decoded, which may take long.
    sources = {source.name: source for source in SOURCES}
    found = read_each(sources, lambda name: sources[name].find(request.data_dir))
    decoded = read_each(found, lambda name: image_sets.decode(found[name], settings))
    tasks, revisions = [], {}
    for source, pictures in decoded.items():
        names = tuple(f"{source} {name}" for name in pictures.names)
        tasks.append(Task(source, pictures.train, pictures.test, classes=names))
        revisions.update(found[source].revisions)
    origin = ", ".join(dict.fromkeys(images.origin for images in found.values()))
    order = list(range(sum(len(task.classes) for task in tasks)))
    return LoadedStream(tasks, origin, order, revisions)


STREAM = Stream(
    name="five-datasets",
    title="5-datasets, 5 tasks of 10 classes",
    kind="image",
    licence="differs by set: SVHN non-commercial, Fashion-MNIST MIT, others not stated",
    citation="Ebrahimi et al., Adversarial Continual Learning, 2020; Wang et al., Learning to Prompt for "
    "Continual Learning, 2022",
    homepage="https://github.com/facebookresearch/Adversarial-Continual-Learning",
    orders={"1": tuple(source.name for source in SOURCES)},
    protocols=protocols(image_protocols.smoke(train_limit=400, test_limit=200)),
    load=load,
    sources=join_sources(SOURCES),
    parameters=image_sets.ImageSettings,
    published=image_sets.PUBLISHED,
)
