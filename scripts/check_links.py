"""Checks that every link of built pages leads to a file, and to a place in it where it names one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links of a page, and the names of its places."""

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what a tag links to, and what it can be linked by."""
        for name, value in attributes:
            if value is not None and name in ("href", "src"):
                self.links.append(value)
            elif value is not None and (name == "id" or (tag, name) == ("a", "name")):
                self.places.add(value)


def broken(folder: Path) -> Iterator[str]:
    """Yield a line for each link within a folder of pages that leads nowhere."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            # The page for a missing address is shown at any address, so that its own links are absolute.
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            where = f"{path.relative_to(folder.resolve())}: {link}"
            if not target.exists():
                yield f"{where} leads nowhere"
            elif target in pages and unquote(parts.fragment) not in {"", "__skip", *pages[target].places}:
                yield f"{where} names no place there"


def main() -> None:
    """Check the folder named on the command line; exit with 1 where a link is broken."""
    folder = Path(sys.argv[1])
    found = list(broken(folder))
    print("\n".join(found) or f"every link in {folder} leads somewhere")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
