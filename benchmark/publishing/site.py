"""Results to a static site: an overview, a page for each stream, and the result files beside them.

A page asks for nothing beside itself: style, script and pictures are inside, and its policy forbids the rest.
What comes from result files is escaped by the template engine.
"""

from __future__ import annotations

import re
import shutil
from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from zlib import crc32

from benchmark.errors import Incomplete, UserError
from benchmark.publishing import marks, measured_boards, site_tables
from benchmark.publishing.collect import Section, load_files, sections
from benchmark.publishing.figures import drawings
from benchmark.publishing.headroom import boards_of
from benchmark.publishing.in_words import InWords, in_words
from benchmark.publishing.leaderboard import facts
from benchmark.publishing.measured_boards import publishable
from benchmark.publishing.overview import INTRODUCTION, standings
from benchmark.publishing.plot_style import PAGE, data_uri, looking
from benchmark.publishing.site_methods import method_page
from benchmark.publishing.site_opening import opening
from benchmark.publishing.site_tables import EXPLAINED, Picture, Table, build_normalised
from benchmark.result_files import PACKED, require
from benchmark.results import Result, atomic_write, to_json

if TYPE_CHECKING:
    from jinja2 import Environment

NAME = "Continual PEFT bench"
TEMPLATES = Path(__file__).parent / "site_templates"
FOLDERS = ("results", "streams", "methods")
MARK = b'content="bench site build"'
MOST_BYTES = 2_000_000


@dataclass(frozen=True)
class Shown:
    """A section as a page holds it; `missing` says why there are no pictures, if they were asked for."""

    title: str
    words: InWords
    tables: list[Table]
    pictures: list[Picture]
    missing: str
    facts: list[tuple[str, str]]


def build(root: Path, out: Path, pictures: bool = True, docs: str = "") -> list[Path]:
    """Write the site of the results under `<root>/results`.

    Args:
        out: folder of the site; what an earlier build wrote there is replaced.
        pictures: whether to draw, which needs matplotlib and most of the time.
        docs: address of the documentation as seen from the overview, such as "../index.html"; "" for none.

    Returns:
        the pages, the overview first.

    Raises:
        UserError: there is no result that can be used, `out` holds something else, or a page would be too
            large.
        Incomplete: some files cannot be used; the site of the others is written.
    """
    found, problems = load_files(root)
    require(found, problems, root / "results")
    _check_folder(out)
    results = [result for _, result in found]
    rescored, unmarked = marks.find_rescored(root, results)
    problems += unmarked
    paths = {id(result): _path_in_site(path, result) for path, result in found}
    site = Site(results, paths, pictures, docs, rescored, measured_boards.read(root))
    problems += site.refused
    texts = dict(site.pages())
    for folder in FOLDERS:
        shutil.rmtree(out / folder, ignore_errors=True)
    for path, result in found:
        _copy(path, result, out / _path_in_site(path, result))
    for name, text in texts.items():
        atomic_write(out / name, text.encode())
    pages = [out / name for name in texts]
    if problems:
        raise Incomplete("\n".join(map(str, pages)), problems)
    return pages


class Site:
    """The pages of some results.

    Attributes:
        refused: a line for each board of adapters without headroom, which is not shown.
        paths: the file of each result in the site's folder, by the result's identity.
        docs: address of the documentation as seen from the overview; "" for none.
    """

    def __init__(
        self,
        results: Sequence[Result],
        paths: dict[int, Path],
        pictures: bool,
        docs: str = "",
        rescored: frozenset[str] = frozenset(),
        measured: dict[tuple[str, str], str] | None = None,
    ) -> None:
        """Group the results; `rescored` are the keys of those that are marked as re-scored.

        Args:
            measured: why boards without headroom are shown, see `measured_boards`.
        """
        self.paths, self.pictures, self.docs = paths, pictures, docs
        self.measured = measured or {}
        self.sections, self.refused = publishable(sections(results, rescored), self.measured)
        self.streams = sorted({part.stream for part in self.sections})
        self.methods = sorted({row.first.method for part in self.sections for row in part.rows})
        self._boards = {id(part): boards_of(part) for part in self.sections}

    def pages(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the text of every page.

        Raises:
            UserError: one is too large even without pictures.
        """
        yield "index.html", _fitting("index.html", self.overview())
        for stream in self.streams:
            page = self.stream(stream, self.pictures)
            if len(page.encode()) > MOST_BYTES:
                page = self.stream(stream, False)
            yield f"streams/{stream}.html", _fitting(f"streams/{stream}.html", page)
        for name in self.methods:
            page = f"methods/{page_name(name)}.html"
            yield page, _fitting(page, self.method(name))

    def overview(self) -> str:
        """Return the first page."""
        found = standings(self.sections)
        heads = [
            (head, [table for group in groups if (table := build_normalised(group, self.sections)).lines])
            for head, groups in groupby(found, key=lambda group: group.head)
        ]
        heads = [(head, tables) for head, tables in heads if tables]
        return self._render(
            "index.html",
            title=NAME,
            up="",
            introduction=INTRODUCTION,
            heads=heads,
            titles=dict.fromkeys(table.caption for _, tables in heads for table in tables),
            sections=[
                (part, in_words(part, self._boards[id(part)], self.measured)) for part in self.sections
            ],
            opening=opening(self.sections, self._boards, self.pictures),
        )

    def method(self, name: str) -> str:
        """Return a method's page."""
        page = method_page(name, self.sections, self._link, self.pictures)
        return self._render("method.html", title=name, up="../", page=page, titles={})

    def stream(self, name: str, pictures: bool) -> str:
        """Return a stream's page."""
        parts = [part for part in self.sections if part.stream == name]
        shown = [self._part(part, pictures) for part in parts]
        titles = dict.fromkeys(table.caption for part in shown for table in part.tables)
        return self._render("stream.html", title=name, up="../", sections=shown, titles=titles)

    def _part(self, part: Section, pictures: bool) -> Shown:
        missing = f"Pictures would take this page above {MOST_BYTES // 10**6} MB: `bench report` draws them."
        return Shown(
            part.title,
            in_words(part, self._boards[id(part)], self.measured),
            site_tables.groups(part, self._boards[id(part)], self._link),
            _draw(part) if pictures else [],
            missing if self.pictures and not pictures else "",
            facts(part),
        )

    def _link(self, result: Result) -> str:
        return "../" + quote(self.paths[id(result)].as_posix())

    def _render(self, template: str, **values: Any) -> str:
        return self._templates.get_template(template).render(
            site=NAME,
            streams=self.streams,
            address=address,
            method_address=method_address,
            docs=self.docs,
            definitions=[(name, meaning.split("`")) for name, meaning in EXPLAINED.items()],
            **values,
        )

    @cached_property
    def _templates(self) -> Environment:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup

        made = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for name, file in (("style", "style.css"), ("script", "tables.js")):
            text = (TEMPLATES / file).read_text(encoding="utf-8")
            # The policy of the page runs these very bytes and no others.
            made.globals[name] = Markup(text)
            made.globals[f"{name}_hash"] = b64encode(sha256(text.encode()).digest()).decode()
        return made


def _draw(part: Section) -> list[Picture]:
    with looking(PAGE):
        return [Picture(each.caption, data_uri(each.figure)) for each in drawings(part)]


def address(stream: str) -> str:
    """Return the address of a stream's page as seen from the first page."""
    return "streams/" + quote(f"{stream}.html")


def method_address(method: str) -> str:
    """Return the address of a method's page as seen from the first page."""
    return "methods/" + quote(f"{page_name(method)}.html")


def page_name(method: str) -> str:
    """Return the name of a method's page, another one for every method."""
    name = file_name(method)
    return name if name == method else f"{name}-{crc32(method.encode()):08x}"


def file_name(method: str) -> str:
    """Return a method's name as part of a file's."""
    return re.sub(r"[^\w.-]", "-", method)


def _path_in_site(path: Path, result: Result) -> Path:
    """Return where a result of the leaderboards lies in the site: a file a run, also of a packed one."""
    if path.suffix == PACKED:
        name = f"{file_name(result.method)}-{result.key}.json"
        return Path("results", path.parts[-2], path.stem, name)
    return Path("results", *path.parts[-3:])


def _copy(path: Path, result: Result, target: Path) -> None:
    """Copy a result; not flushed one by one, since a build that is cut short is built again."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == PACKED:
            target.write_bytes(to_json(result.model_dump(mode="json")))
        else:
            shutil.copyfile(path, target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from None


def _check_folder(out: Path) -> None:
    """Refuse to replace what no earlier build wrote."""
    index = out / "index.html"
    ours = index.is_file() and MARK in index.read_bytes()
    if out.exists() and not ours and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds something else than a site; give --out a new folder")


def _fitting(name: str, page: str) -> str:
    size = len(page.encode())
    if size > MOST_BYTES:
        raise UserError(f"{name} would have {size:,} bytes, above {MOST_BYTES:,}: too many rows for one page")
    return page
