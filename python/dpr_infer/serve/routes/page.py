# The page, its files, and the description of the API for people; all read once, when the server starts.

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from dpr_infer.serve.bodies import AnyRequest
from dpr_infer.serve.problems import Problem
from dpr_infer.serve.replies import Reply

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
# Nothing from elsewhere, nothing inline, in no frame; forms and links stay here too; no text becomes markup or code.
_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self' data:; "
    "object-src 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Cache-Control": "no-cache",  # kept, but asked about each time
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
}


class StaticFile:
    """A file of the page, as it is sent.

    Parameters
    ----------
    name : str
        Its name; the ending decides the content type.
    content : bytes
        What is in it.
    """

    def __init__(self, name: str, content: bytes) -> None:
        self._tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        headers = {**_HEADERS, "ETag": self._tag}
        self._whole = Reply(content, media_type=_TYPES["." + name.rpartition(".")[2]], headers=headers)
        self._unchanged = Reply(status=304, media_type="", headers=headers)

    def reply(self, request: AnyRequest) -> Reply:
        """Return the file, or that the client has it already."""
        known = [
            tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")
        ]
        return self._unchanged if self._tag in known or "*" in known else self._whole


def page_files() -> dict[str, StaticFile]:
    """Read the files of the page; keys are paths in its folder, with / between folders."""
    return dict(_read(resources.files("dpr_infer.serve") / "page", ""))


def _read(folder: Traversable, prefix: str) -> list[tuple[str, StaticFile]]:
    found: list[tuple[str, StaticFile]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _read(entry, f"{prefix}{entry.name}/")
        elif "." + entry.name.rpartition(".")[2] in _TYPES:
            found.append((prefix + entry.name, StaticFile(entry.name, entry.read_bytes())))
    return found


def page_route(files: dict[str, StaticFile]) -> HTTPRouteHandler:
    """Return the route of the page."""

    @get("/")
    async def show_page(request: AnyRequest) -> ASGIApp:
        """Return the page."""
        return files["index.html"].reply(request)

    return show_page


def static_route(files: dict[str, StaticFile]) -> HTTPRouteHandler:
    """Return the route of the files that the page and /docs load."""

    @get("/static/{name:path}")
    async def show_file(request: AnyRequest) -> ASGIApp:
        """Return a file."""
        file = files.get(str(request.path_params["name"]).removeprefix("/"))
        if file is None:
            raise Problem(404, "there is no such file")
        return file.reply(request)

    return show_file
