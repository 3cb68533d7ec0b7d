"""DomainNet: 345 classes in 6 domains, as 5 tasks of 69 classes or as one task a domain.

`scenario=class-incremental` mixes the domains and cuts the permuted classes; its rows are those of the
official lists of all six domains. `scenario=domain-incremental` learns clipart, infograph, painting,
quickdraw, real and sketch in this order, all with the same classes, and tests each on its own domain; the
protocol must then have the head `domain-incremental`, as `smoke-domains` has.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from benchmark.data.data_errors import DataError, collect_into, raise_or_collect
from benchmark.data.hub import HubSet
from benchmark.errors import UserError
from benchmark.stream import LoadedStream, Request, Stream, protocols
from tasks.sources import image_folders, image_protocols, image_sets, images
from tasks.sources.image_sources import ImageSource, Reading, folder_layout
from tasks.sources.image_tables import HubImages
from tasks.sources.rows import sound

DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")


class Parameters(image_sets.SlicedImageSettings):
    """Settings of the stream."""

    tasks: int = Field(5, ge=1, description="number of tasks that the classes are cut into; by domain 6")
    scenario: Literal["class-incremental", "domain-incremental"] = Field(
        "class-incremental", description="new classes of all domains, or a new domain of all classes"
    )

    @model_validator(mode="before")
    @classmethod
    def _domains_are_counted(cls, given: dict[str, Any]) -> dict[str, Any]:
        if given.get("scenario") != "domain-incremental":
            return given
        if given.get("tasks", len(DOMAINS)) != len(DOMAINS):
            raise ValueError(f"`tasks` cuts classes; by domain there are {len(DOMAINS)}")
        return {**given, "tasks": len(DOMAINS)}


def read_lists(root: Path) -> image_sets.ImageSet | None:
    """Read `domainnet/<domain>_train.txt` and `_test.txt`, whose lines are a path and a class number."""
    folder = root / "domainnet"
    if not folder.is_dir():
        return None
    names: dict[int, str] = {}
    rows: tuple[list, list] = ([], [])
    domains: tuple[list[int], list[int]] = ([], [])
    errors: list[DataError] = []
    for number, domain in enumerate(DOMAINS):
        for part, split in enumerate(("train", "test")):
            with collect_into(errors):
                found = _list_rows(folder, folder / f"{domain}_{split}.txt", names)
                rows[part].extend(found)
                domains[part].extend([number] * len(found))
    raise_or_collect(errors)
    if sorted(names) != list(range(len(names))):
        raise UserError(f"{folder}: the lists do not number the classes 0 to {len(names) - 1}")
    listed = tuple(names[number] for number in range(len(names)))
    return image_folders.image_set(folder, *rows, listed, DOMAINS, domains)


def _list_rows(folder: Path, path: Path, names: dict[int, str]) -> list[tuple[Path, int]]:
    """Return the rows of one list, and enter the classes' names, those of the images' folders."""

    def checked(line: tuple[int, list[str]]) -> Iterator[image_folders.Row]:
        row, (name, text) = line
        number = image_folders.whole_number(text, f"{path}, row {row}")
        parts = Path(name).parts
        if len(parts) != 3 or ".." in parts:
            raise UserError(f"{path}, row {row}: {name!r} is not of the form <domain>/<class>/<file>")
        if names.setdefault(number, parts[1]) != parts[1]:
            raise UserError(f"{path}, row {row}: class {number} is called {names[number]} and {parts[1]}")
        yield folder / name, number

    return list(sound(image_folders.lines(path, 2), checked))


SOURCE = ImageSource(
    "DomainNet",
    (
        Reading(
            folder_layout("domainnet", *(f"{domain}_train.txt" for domain in DOMAINS)),
            "domainnet/ with <domain>_train.txt, <domain>_test.txt and <domain>/<class>/ for "
            + ", ".join(DOMAINS),
            read_lists,
        ),
    ),
    HubImages(HubSet("wltjr1007/DomainNet"), domain="domain"),
)


def load(request: Request) -> LoadedStream:
    """Return tasks over a permutation of the classes, or one task a domain.

    Raises:
        UserError: the scenario is not that of the protocol's head, a class order is asked for where domains
            are learned, or the images are nowhere to be had or faulty.
    """
    settings = request.parameters or Parameters()
    by_domain = settings.scenario == "domain-incremental"
    if by_domain != (request.protocol.head == "domain-incremental"):
        fitting = "domain-incremental" if by_domain else "class-incremental"
        raise UserError(
            f"domainnet's scenario is {settings.scenario} and the head of the protocol "
            f"'{request.protocol.name}' is {request.protocol.head}; add --set protocol.head={fitting}, or "
            f"{'--protocol smoke-domains' if by_domain else '--set scenario=domain-incremental'}"
        )
    if not by_domain:
        return SOURCE.load_sliced(request)
    if request.order not in ("1", "natural"):
        raise UserError(f"domainnet's domains have one order; leave --order {request.order} away")
    found = SOURCE.find(request.data_dir)
    if set(found.domains) != set(DOMAINS):
        raise UserError(f"domainnet's domains are {', '.join(DOMAINS)}; {found.origin} has {found.domains}")
    return image_sets.domain_incremental(found, settings, DOMAINS)


SMOKE = image_protocols.smoke(train_limit=1000, test_limit=500)

STREAM = Stream(
    name="domainnet",
    title="DomainNet, 5 tasks of 69 classes, or 6 domains",
    kind="image",
    licence="fair-use research",
    citation="Peng et al., Moment Matching for Multi-Source Domain Adaptation, 2019",
    homepage="https://ai.bu.edu/M3SDA/",
    orders=images.ORDERS,
    protocols=protocols(
        SMOKE,
        SMOKE.model_copy(update={"name": "smoke-domains", "head": "domain-incremental"}),
        image_protocols.sdlora(
            "the official configuration for DomainNet",
            epochs=10,
            milestones=(0.4, 0.6, 0.8),
            milestone_factor=0.005,
        ),
        image_protocols.inflora(
            "domainnet_inflora.json",
            epochs=5,
            rank=30,
            schedule="constant",
            milestones=(0.8,),
            milestone_factor=0.1,
        ),
    ),
    load=load,
    sources=SOURCE.stated,
    parameters=Parameters,
    published={**image_sets.PUBLISHED, "smoke-domains": {"size": 32, "scenario": "domain-incremental"}},
)
