"""A file of a job as an HTTP answer: streamed from its store, whole or the part asked for.

The bytes come through this service wherever they lie, so that a caller needs one address and one permission.
"""

from __future__ import annotations

import re

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from ai_engine.errors import FileExpired
from ai_engine.job import Artifact
from ai_engine.storage.store import ArtifactStore
from ai_engine.web.problems import problem

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
"""No file is longer, and Python refuses to read numbers of thousands of digits."""


def file_answer(
    request: Request,
    store: ArtifactStore,
    artifact: Artifact,
    *,
    media_type: str,
    filename: str | None = None,
) -> Response:
    """The file, the part of it that `Range` names, or only its headers. The ETag is its sha256.

    Raises:
        FileExpired: it is not kept any more.
        StoreUnavailable: it can't be had now.
    """
    headers = {
        "ETag": f'"{artifact.sha256}"',
        "Cache-Control": "private, max-age=3600, immutable",
        "Accept-Ranges": "bytes",
    }
    if filename is not None:
        headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    if _names(request.headers.get("if-none-match"), headers["ETag"]):
        _must_exist(store, artifact)
        return Response(status_code=304, headers=headers)
    part = _part(request, headers["ETag"], artifact.size)
    if part is not None and not part:
        about = {"Content-Range": f"bytes */{artifact.size}"}
        detail = f"The file has {artifact.size} bytes."
        return problem(
            request, 416, code="range_not_satisfiable", title="No such part", detail=detail, headers=about
        )
    return _part_answer(request, store, artifact, part, headers | {"Content-Type": media_type})


def _part_answer(
    request: Request, store: ArtifactStore, artifact: Artifact, part: range | None, headers: dict[str, str]
) -> Response:
    sent = range(artifact.size) if part is None else part
    headers |= {"Content-Length": str(len(sent))}
    if part is not None:
        headers |= {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{artifact.size}"}
    status = 200 if part is None else 206
    if request.method == "HEAD":
        _must_exist(store, artifact)
        return Response(status_code=status, headers=headers)
    try:
        pieces = store.read(artifact, sent.start, sent.stop)
    except FileNotFoundError as error:
        raise FileExpired("The file is no longer kept.") from error
    return StreamingResponse(pieces, status, headers)


def _must_exist(store: ArtifactStore, artifact: Artifact) -> None:
    if not store.has(artifact):
        raise FileExpired("The file is no longer kept.")


def _part(request: Request, etag: str, size: int) -> range | None:
    """The bytes asked for; empty when the file has none of them, None when it is to be sent whole.

    Several parts at once, and units other than bytes, are answered by the whole file, as RFC 9110 allows.
    """
    if "if-range" in request.headers and request.headers["if-range"] != etag:
        return None
    found = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if found is None or found[0] == "bytes=-":
        return None
    first, last = found[1], found[2]
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


def _names(header: str | None, etag: str) -> bool:
    """True when an If-None-Match header names this file."""
    listed = {tag.strip().removeprefix("W/") for tag in (header or "").split(",")}
    return etag in listed or "*" in listed
