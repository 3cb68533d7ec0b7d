"""Shows a built site in a browser on this machine."""

from __future__ import annotations

from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmark.errors import UserError

HOST = "127.0.0.1"


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and keeps no log."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of a site's folder, reachable from this machine alone.

    Args:
        port: 0 for any that is free.

    Raises:
        UserError: the folder holds no site, or the port is taken.
    """
    if not (folder / "index.html").is_file():
        raise UserError(f"no site in {folder}; `bench develop site build --out {folder}` writes one")
    try:
        return ThreadingHTTPServer((HOST, port), partial(Quiet, directory=str(folder)))
    except OSError as error:
        raise UserError(f"cannot listen on port {port}: {error.strerror}; give another --port") from None
