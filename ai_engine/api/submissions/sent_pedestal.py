"""A pedestal that came inside a request, as a data URL in `base.mesh_url`: the request calls it by its digest then."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TypeVar

from ai_engine.api.request_schema import PictureRequest
from ai_engine.wishes.additions import Base

PEDESTAL_FIELD = "base.mesh_url"
_DATA_URL = re.compile(r'"mesh_url"\s*:\s*"(?:\s|\\[nrt])*(?i:data:)[^"]*"')

R = TypeVar("R", bound=PictureRequest)


def pedestal_url(request: PictureRequest) -> str | None:
    """What `base.mesh_url` says; None where it was not asked."""
    base: Base | None = getattr(request, "base", None)
    return None if base is None else base.mesh_url


def with_digest(request: R, sha256: str) -> R:
    """The request with the digest of the pedestal in place of its bytes."""
    base: Base = request.base  # type: ignore[attr-defined]  # of requests that have the field
    named = replace(base, mesh_url=f"sha256:{sha256}")
    return request.model_copy(update={"base": named})


def num_embedded_chars(base: str) -> int:
    """How many characters of a form's part `base` are the data URL in it."""
    found = _DATA_URL.search(base)
    return len(found[0]) if found else 0
