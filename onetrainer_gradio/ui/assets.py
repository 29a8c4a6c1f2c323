"""The page's own scripts and styles: read once, served under a path that changes with their content."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

_FOLDER = Path(__file__).parent / "assets"

_MEDIA_TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}

# The path holds a hash of the content, so a browser never has to ask again.
_IMMUTABLE = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class Asset:
    """A file of the page: its bytes, the same compressed, and its media type."""

    body: bytes
    compressed: bytes
    media_type: str


@cache
def assets() -> dict[str, Asset]:
    """All files by name."""
    found = {}
    for path in sorted(_FOLDER.iterdir()):
        if path.suffix in _MEDIA_TYPES:
            body = path.read_bytes()
            found[path.name] = Asset(body, gzip.compress(body, 9, mtime=0), _MEDIA_TYPES[path.suffix])
    return found


@cache
def version() -> str:
    """A short hash over all files."""
    digest = hashlib.sha256()
    for name, asset in assets().items():
        digest.update(name.encode())
        digest.update(asset.body)
    return digest.hexdigest()[:12]


def asset_path(name: str) -> str:
    """The path of a file under the server's root, without a leading slash, for use relative to the page."""
    return f"panel/{version()}/{name}"


def assets_route() -> Route:
    """The route ``/panel/{version}/{name}``.

    An old version is answered with today's file, not cached: a page that was open over an update can still load its parts.
    """
    return Route("/panel/{version}/{name}", _serve, methods=["GET", "HEAD"], name="panel-assets")


async def _serve(request: Request) -> Response:
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return PlainTextResponse("There is no such file of the page.", status_code=404)
    current = request.path_params["version"] == version()
    headers = {"Cache-Control": _IMMUTABLE if current else "no-cache", "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.compressed, media_type=asset.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(asset.body, media_type=asset.media_type, headers=headers)
