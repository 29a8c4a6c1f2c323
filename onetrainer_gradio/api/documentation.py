"""Serve the documentation pages /docs and /redoc with all their files from this machine."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response

router = APIRouter(include_in_schema=False)

# The package contains Swagger UI (Apache-2.0) and Redoc (MIT) as files; its code isn't used.
ASSETS = Path(str(files("fastapi_offline").joinpath("static")))
ASSET_TYPES = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
    "favicon.png": "image/png",
}
# Redoc would load this image from the internet.
REMOTE_LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
# relative to the two pages, so that the panel works below any proxy path
ASSETS_URL = "docs/assets"

# Blocks everything else that the two pages would load from other sites.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; worker-src 'self' blob:; font-src 'self' data:; base-uri 'none'; form-action 'self'"
    )
}


@router.get("/docs")
def swagger(request: Request) -> Response:
    """Serve Swagger UI."""
    page = get_swagger_ui_html(
        openapi_url="openapi.json",
        title=request.app.title,
        swagger_js_url=f"{ASSETS_URL}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS_URL}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS_URL}/favicon.png",
        swagger_ui_parameters={"validatorUrl": None, "defaultModelsExpandDepth": 0},
    )
    return HTMLResponse(page.body, headers=HEADERS)


@router.get("/redoc")
def redoc(request: Request) -> Response:
    """Serve Redoc."""
    page = get_redoc_html(
        openapi_url="openapi.json",
        title=request.app.title,
        redoc_js_url=f"{ASSETS_URL}/redoc.standalone.js",
        redoc_favicon_url=f"{ASSETS_URL}/favicon.png",
        with_google_fonts=False,
    )
    return HTMLResponse(page.body, headers=HEADERS)


@router.get(f"/{ASSETS_URL}/{{name}}")
def asset(name: str) -> Response:
    """Serve a file of the two pages."""
    if name not in ASSET_TYPES:
        raise HTTPException(404, "File not found.")
    content = (ASSETS / name).read_bytes().replace(REMOTE_LOGO, b"data:,")
    return Response(content, media_type=ASSET_TYPES[name], headers={"Cache-Control": "private, max-age=86400"})
