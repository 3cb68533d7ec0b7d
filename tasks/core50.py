"""CORe50: 50 objects filmed in 11 sessions, domain-incremental: one task a session, one fixed test; files.

Every task brings the same 50 classes in a new place and light. Sessions 3, 7 and 10 are the test of all
tasks, so each column of the score matrix is the same unseen-domain accuracy. There is no settled hub id: only
the unpacked image archive is read. Its lists `paths.pkl` and `LUP.pkl` are pickles and not needed.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.data.data_errors import DataError, raise_or_collect
from benchmark.data.image_files import images_below
from benchmark.errors import UserError
from benchmark.stream import LoadedStream, Request, Stream, protocols
from tasks.sources import image_folders, image_protocols, image_sets
from tasks.sources.image_sources import ImageSource, Reading, folder_layout
from tasks.sources.rows import read_each

FOLDER = "core50_128x128"
TRAIN, TEST = (1, 2, 4, 5, 6, 8, 9, 11), (3, 7, 10)
OBJECTS = tuple(f"o{number}" for number in range(1, 51))
SESSIONS, TESTED = (tuple(f"s{number}" for number in part) for part in (TRAIN, TEST))


def read_sessions(root: Path) -> image_sets.ImageSet | None:
    """Read `core50_128x128/s<session>/o<object>/*.png`; None where it is not there."""
    folder = root / FOLDER
    if not folder.is_dir():
        return None
    read = read_each((*SESSIONS, *TESTED), lambda session: _session(folder / session, session in SESSIONS))
    train, domains = [], []
    for place, session in enumerate(SESSIONS):
        train += read.get(session, [])
        domains += [place] * len(read.get(session, []))
    test = [row for session in TESTED for row in read.get(session, [])]
    return image_folders.image_set(folder, train, test, OBJECTS, SESSIONS, (domains, []))


def _session(folder: Path, whole: bool) -> list[image_folders.Row]:
    """Return the images of a session, which has some of every object where it is to be whole."""
    if not folder.is_dir():
        raise UserError(f"the session {folder} does not exist; CORe50 has s1 to s11")
    files = [images_below(folder / name) for name in OBJECTS]
    lacking = [name for name, found in zip(OBJECTS, files, strict=True) if whole and not found]
    raise_or_collect([DataError(f"{folder}: the class {name} has no images") for name in lacking])
    return [(path, number) for number, found in enumerate(files) for path in found]


SOURCE = ImageSource(
    "CORe50",
    (
        Reading(
            folder_layout(FOLDER, "s1"),
            f"{FOLDER}/s<session>/o<object>/ with image files, as its archive unpacks",
            read_sessions,
        ),
    ),
    without_hub="no settled hub id is known",
    pickles=("core50_imgs.npz", "paths.pkl", "LUP.pkl", "labels.pkl"),
)


def load(request: Request) -> LoadedStream:
    """Return one task a training session, all tested on sessions 3, 7 and 10."""
    found = SOURCE.find(request.data_dir)
    return image_sets.domain_incremental(found, request.parameters or image_sets.ImageSettings(), SESSIONS)


STREAM = Stream(
    name="core50",
    title="CORe50, 8 sessions of 50 objects, one fixed test",
    kind="image",
    licence="CC BY 4.0",
    citation="Lomonaco and Maltoni, CORe50: a New Dataset and Benchmark for Continuous Object Recognition, "
    "2017",
    homepage="https://vlomonaco.github.io/core50/",
    orders={"1": SESSIONS},
    protocols=protocols(image_protocols.smoke(head="domain-incremental", train_limit=1000, test_limit=500)),
    load=load,
    sources=SOURCE.stated,
    parameters=image_sets.ImageSettings,
    published=image_sets.PUBLISHED,
)
