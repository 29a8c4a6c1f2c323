"""Serve the page's own scripts and styles under a path that contains a hash of their content."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from onetrainer_gradio.ui.bundle import bundled

_FOLDER = Path(__file__).parent / "assets"

# Scripts that are served as one file. The first has all that the first view needs.
FIRST = "first.js"
BUNDLES = {
    FIRST: ("topbar.js", "form.js", "main.js", "sheet.js"),
    "training.js": ("status.js", "problems.js", "chart.js", "newest.js", "console.js", "runs.js"),
}

_MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

# The path holds a hash of the content, so a browser never has to ask again.
_IMMUTABLE = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """A file of the page: its content, plain and compressed, and its media type."""

    body: bytes
    compressed: bytes
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """Return all files by name, as they are served."""
    ours = scripts()
    found = (path for path in sorted(_FOLDER.rglob("*")) if path.suffix in _MEDIA_TYPES and path.name not in ours)
    others = {path.relative_to(_FOLDER).as_posix(): path.read_bytes() for path in found}
    served = {name: text.encode() for name, text in bundled(ours, BUNDLES).items()} | others
    return {
        name: Asset(body, gzip.compress(body, 9, mtime=0), _MEDIA_TYPES[PurePath(name).suffix]) for name, body in served.items()
    }


def scripts() -> dict[str, str]:
    """Return the sources of all scripts of ours by name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.js"))}


@cache
def version() -> str:
    """Return a short hash of all files."""
    digest = hashlib.sha256()
    for name, asset in assets().items():
        digest.update(name.encode())
        digest.update(asset.body)
    return digest.hexdigest()[:12]


def asset_path(name: str) -> str:
    """Return the path of a file relative to the page, without a leading slash."""
    return f"panel/{version()}/{name}"


def assets_route() -> Route:
    """Return the route ``/panel/{version}/{name}``.

    For an old version it serves the current file uncached, so that a page opened before an update can still load its modules.
    """
    return Route("/panel/{version}/{name:path}", _serve, methods=["GET", "HEAD"], name="panel-assets")


async def _serve(request: Request) -> Response:
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return PlainTextResponse("File not found.", status_code=404)
    current = request.path_params["version"] == version()
    headers = {"Cache-Control": _IMMUTABLE if current else "no-cache", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.compressed, media_type=asset.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(asset.body, media_type=asset.media_type, headers=headers)
