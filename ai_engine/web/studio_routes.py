"""The studio's files over HTTP: read once, packed once, and asked for again only when they changed.

`studio/` holds what `make studio` built from the source in the folder of the same name at the top. Knows no jobs:
the page uses the API like any other caller.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from ai_engine.web.middleware import PAGE_ALLOWED

FOLDER = Path(__file__).resolve().parents[1] / "web_ui"
PAGE = "index.html"
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
    ".webp": "image/webp",
}
_PACKED_ALREADY = (".woff2", ".webp")
_HEADERS = {
    "Content-Security-Policy": PAGE_ALLOWED,
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class StudioFile:
    """One file of the page, as it is sent."""

    plain: bytes
    packed: bytes | None
    """By gzip; None where that gains nothing."""
    etag: str
    media_type: str


@cache
def studio_files() -> dict[str, StudioFile]:
    """The files of the page by name."""
    return {path.name: _read(path) for path in FOLDER.iterdir() if path.suffix in _MEDIA_TYPES}


def _read(path: Path) -> StudioFile:
    plain = path.read_bytes()
    packed = None if path.suffix in _PACKED_ALREADY else gzip.compress(plain, mtime=0)
    return StudioFile(plain, packed, f'"{hashlib.sha256(plain).hexdigest()[:32]}"', _MEDIA_TYPES[path.suffix])


@router.head("/")
@router.get("/")
def get_page(request: Request) -> Response:
    """The studio."""
    return _answer(request, PAGE)


@router.head("/studio/{name}")
@router.get("/studio/{name}")
def get_file(name: str, request: Request) -> Response:
    """What the page is made of."""
    return _answer(request, name)


def _answer(request: Request, name: str) -> Response:
    file = studio_files().get(name)
    if file is None:
        raise HTTPException(404, "The studio has no such file.")
    headers = _HEADERS | {"ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if file.packed is None or "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.plain, media_type=file.media_type, headers=headers)
    return Response(file.packed, media_type=file.media_type, headers=headers | {"Content-Encoding": "gzip"})
