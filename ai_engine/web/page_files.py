"""Files of a page over HTTP: read once, packed once, and asked for again only when they changed. Knows no page."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request, Response

from ai_engine.web.middleware import PAGE_ALLOWED

MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
    ".webp": "image/webp",
}
_PACKED_ALREADY = (".png", ".woff2", ".webp")
_HEADERS = {
    "Content-Security-Policy": PAGE_ALLOWED,
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True)
class PageFile:
    """One file of a page, as it is sent."""

    plain: bytes
    packed: bytes | None
    """By gzip; None where that gains nothing."""
    etag: str
    media_type: str

    @classmethod
    def of(cls, plain: bytes, suffix: str) -> PageFile:
        """The file that holds `plain` and whose name ends in `suffix`."""
        packed = None if suffix in _PACKED_ALREADY else gzip.compress(plain, mtime=0)
        return cls(plain, packed, f'"{hashlib.sha256(plain).hexdigest()[:32]}"', MEDIA_TYPES[suffix])

    def answer(self, request: Request) -> Response:
        """The file, or that the caller has it already."""
        headers = _HEADERS | {"ETag": self.etag}
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if self.packed is None or "gzip" not in request.headers.get("accept-encoding", ""):
            return Response(self.plain, media_type=self.media_type, headers=headers)
        return Response(
            self.packed, media_type=self.media_type, headers=headers | {"Content-Encoding": "gzip"}
        )


def files_in(folder: Path) -> dict[str, PageFile]:
    """The files of a page by name."""
    return {
        path.name: PageFile.of(path.read_bytes(), path.suffix)
        for path in folder.iterdir()
        if path.suffix in MEDIA_TYPES
    }
