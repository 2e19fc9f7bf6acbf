"""Serves the page and its files: compressed once, cached by their content, under a policy that lets nothing else in."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.page.joining import joined

# No script, style, picture, font or connection from anywhere but here, nothing inline, no markup made of strings, and
# nobody may put the page into a frame. What is shown comes from producers; were any of it markup, it would do nothing.
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# A browser asks each time whether a file is still the one it has: an api that was updated shows its new page at once.
# A vendored file carries its version in its name and never changes.
_REVALIDATE = "no-cache"
_FOR_EVER = "public, max-age=31536000, immutable"

_MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "LICENSE": "text/plain; charset=utf-8",
}
_INDEX = "index.html"
_SCRIPT = "page.js"


@dataclass(frozen=True, slots=True)
class PageFile:
    """One file as it goes out. `etag` is of its content, in quotes; `gzipped` is the same content, compressed."""

    media_type: str
    cached: str
    etag: str
    content: bytes
    gzipped: bytes


@cache
def page_files() -> dict[str, PageFile]:
    """All files of the page by their path below `/page/`; read, joined and compressed once for the process."""
    room = resources.files("api.page")
    parts = {entry.name.removesuffix(".js"): entry.read_text() for entry in (room / "script").iterdir()}
    script = _page_file(_SCRIPT, joined(parts, "page").encode())
    return {_SCRIPT: script, **dict(_found(room / "static", ""))}


def page_routes() -> list[Route]:
    """`/` and `/page/<file>`."""
    return [Route("/", _front, include_in_schema=False), Route("/page/{path:path}", _file, include_in_schema=False)]


async def _front(request: Request) -> Response:
    return _response(request, _INDEX)


async def _file(request: Request) -> Response:
    return _response(request, request.path_params["path"])


def _response(request: Request, path: str) -> Response:
    """The file, or 304 where the browser has it; 404 for a path that is no file of ours: nothing is looked up."""
    file = page_files().get(path)
    if file is None:
        return Response("There is no such file.", 404, PAGE_HEADERS, "text/plain; charset=utf-8")
    headers = PAGE_HEADERS | {"ETag": file.etag, "Cache-Control": file.cached, "Vary": "Accept-Encoding"}
    if file.etag in [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.gzipped, headers=headers | {"Content-Encoding": "gzip"}, media_type=file.media_type)
    return Response(file.content, headers=headers, media_type=file.media_type)


def _found(folder: Traversable, above: str) -> list[tuple[str, PageFile]]:
    found = []
    for entry in folder.iterdir():
        path = f"{above}{entry.name}"
        if entry.is_dir():
            found += _found(entry, f"{path}/")
        elif _suffix(path) in _MEDIA_TYPES:
            found.append((path, _page_file(path, entry.read_bytes())))
    return found


def _page_file(path: str, content: bytes) -> PageFile:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    cached = _FOR_EVER if path.startswith("vendor/") else _REVALIDATE
    return PageFile(_MEDIA_TYPES[_suffix(path)], cached, etag, content, gzip.compress(content, 9, mtime=0))


def _suffix(path: str) -> str:
    return path.rpartition(".")[2]
