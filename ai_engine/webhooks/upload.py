"""The upload of a mesh file to the caller's presigned URL: what an answer means, and what the caller hears of it.

Sends nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

from ai_engine.facts import MEDIA_TYPES
from ai_engine.job import Job

DOUBTFUL_ATTEMPTS = 2
"""Attempts at an upload whose server refuses the request itself: the second one rules out a passing fault."""
REPEATED = frozenset({307, 308})
"""Redirects that keep method and body."""
MAX_HEADERS = 16
MAX_HEADERS_CHARS = 8192
"""Names and values together."""
_HEADER_NAME = re.compile(r"content-type|x-ms-blob-type|cache-control|x-(?:amz|goog)-[a-z0-9-]{1,64}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,2046}[\x21-\x7e])?")
_NEVER = frozenset({410, 411, 501})
_PASSING = frozenset({408, 409, 425, 429})
"""Of the 4xx those that another attempt may change; S3 answers 409 to two writers at once."""


@dataclass(frozen=True)
class UploadFacts:
    """What became of the upload to `upload_url`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    state: Literal["uploaded", "given_up"]
    """given_up: the file was not uploaded, and comes with the webhook instead."""
    detail: str
    """One sentence."""
    status: int | None = None
    """The HTTP status that the upload was given up over."""


UPLOADED = UploadFacts("uploaded", "uploaded")


@dataclass(frozen=True)
class Upload:
    """Where the file is PUT, and how."""

    url: str = field(repr=False)
    headers: Mapping[str, str]

    @classmethod
    def of(cls, job: Job) -> Upload | None:
        """The upload that the job asks for; without a content type of its own it has the format's."""
        if job.upload_url is None:
            return None
        return cls(job.upload_url, {"content-type": MEDIA_TYPES[job.format]} | job.upload_headers)


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of an upload by lower-case name, each of them allowed.

    Raises:
        ValueError: a name is not on the list or comes twice, a value is no printable ASCII, or they are too many.
    """
    checked = {name.lower(): value for name, value in headers.items()}
    if len(checked) < len(headers):
        raise ValueError("a header is there more than once")
    if len(checked) > MAX_HEADERS or sum(map(len, (*checked, *checked.values()))) > MAX_HEADERS_CHARS:
        raise ValueError(f"at most {MAX_HEADERS} headers of {MAX_HEADERS_CHARS} characters in all")
    for name, value in checked.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("only content-type, x-ms-blob-type, cache-control, x-amz-* and x-goog-*")
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the value of {name} must be 1 to 2048 characters of printable ASCII")
    return checked


def is_hopeless(status: int) -> bool:
    """True if no further attempt can end otherwise: the URL is gone, needs another request, or redirects."""
    return status in _NEVER or 300 <= status < 400


def is_doubtful(status: int) -> bool:
    """True if the server refuses the request itself, as presigned URLs that have expired or were signed otherwise."""
    return 400 <= status < 500 and status not in _PASSING


def _read_headers(value: Any) -> Any:
    """The headers of an upload, out of JSON where they came as text; each checked."""
    try:
        fields = json.loads(value) if isinstance(value, str) else value
    except ValueError as error:
        raise PydanticCustomError("upload_headers", "must be a JSON object of names and values") from error
    if not isinstance(fields, dict) or not all(isinstance(text, str) for text in fields.values()):
        raise PydanticCustomError("upload_headers", "must be names and values, both text")
    try:
        return check_headers(fields)
    except ValueError as error:
        raise PydanticCustomError("upload_headers", "{reason}", {"reason": str(error)}) from error


UploadHeaders = Annotated[dict[str, str], BeforeValidator(_read_headers)]
