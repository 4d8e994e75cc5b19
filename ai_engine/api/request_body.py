"""The body of a submission: JSON, or a form with the picture in it, to what was asked for. Knows no job engine.

A form's picture goes to a temporary file as it comes in, so that memory stays flat; every other part is small.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import urlsplit

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ai_engine.api.request_schema import MAX_REQUEST_BYTES, JobRequest, JobWishes
from ai_engine.errors import BodyTooLarge, BodyTypeUnknown, CrossOrigin, InvalidField
from ai_engine.settings import Settings

PICTURE_PART = "image"
MAX_PARTS = 64
_JSON = "application/json"
_FORM = "multipart/form-data"
_BASE64_GROWTH = 4 / 3
_EMBEDDED_PICTURE = re.compile(rb':\s*"data:[^"]*"', re.IGNORECASE)


@dataclass(frozen=True)
class Submission:
    """What a request asks for, checked field by field."""

    wishes: JobWishes
    picture: BinaryIO | None = None
    """The picture that came as a part of a form; else `wishes` is a JobRequest and names its URL."""


@asynccontextmanager
async def read_submission(request: Request, settings: Settings) -> AsyncIterator[Submission]:
    """What the request asks for; a picture in it can be read until the block ends.

    Raises:
        BodyTypeUnknown: the body is neither JSON nor a form.
        BodyTooLarge: it has more bytes than are taken; the rest is not read.
        CrossOrigin: a page of another origin had a browser send the form.
        InvalidField: a field is there twice, or is none that belongs there.
        pydantic.ValidationError: fields are missing, unknown or out of bounds.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == _JSON:
        max_bytes = MAX_REQUEST_BYTES + int(settings.image_max_bytes * _BASE64_GROWTH)
        yield _of_json(b"".join([chunk async for chunk in _capped(request, max_bytes)]))
    elif media_type == _FORM:
        _refuse_other_origins(request, settings)
        form = await _form(request, MAX_REQUEST_BYTES + settings.image_max_bytes)
        try:
            yield _of_form(form, settings.image_max_bytes)
        finally:
            await form.close()
    else:
        raise BodyTypeUnknown(f"The header Content-Type must be {_JSON} or {_FORM}.")


def _of_json(body: bytes) -> Submission:
    # Before it is read: millions of small fields cost a hundred times their bytes, and as many errors.
    picture = _EMBEDDED_PICTURE.search(body)
    if len(body) - (len(picture[0]) if picture else 0) > MAX_REQUEST_BYTES:
        raise BodyTooLarge(f"Besides the picture in it a request has {MAX_REQUEST_BYTES} bytes at most.")
    request = JobRequest.model_validate_json(body)
    _refuse_twice([name for name, _ in json.loads(body, object_pairs_hook=list)])
    return Submission(request)


def _refuse_twice(names: Sequence[str]) -> None:
    """Two readers of one request could each take another of two values."""
    for name in names:
        if names.count(name) > 1:
            raise InvalidField(name, "this field is there more than once", code="duplicate_field")


async def _form(request: Request, max_bytes: int) -> FormData:
    stream = _capped(request, max_bytes)
    parser = MultiPartParser(
        request.headers, stream, max_files=1, max_fields=MAX_PARTS, max_part_size=MAX_REQUEST_BYTES
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise InvalidField("body", "the form can't be read: " + error.message, code="form_invalid") from error
    except UnicodeError as error:  # A few of Python's encodings fail in a way of their own.
        raise InvalidField(
            "body", "the form's charset can't be used: leave it out", code="form_invalid"
        ) from error


def _of_form(form: FormData, max_image_bytes: int) -> Submission:
    parts = form.multi_items()
    _refuse_twice([name for name, _ in parts])
    files = {name: part for name, part in parts if isinstance(part, UploadFile)}
    # A page's form sends what was left empty too.
    texts = {name: part for name, part in parts if isinstance(part, str) and part}
    if set(files) - {PICTURE_PART}:
        raise InvalidField(
            next(iter(files)), f"the picture's part is called {PICTURE_PART}", code="unknown_field"
        )
    if PICTURE_PART in texts:
        raise InvalidField(PICTURE_PART, "must be a file part, with a filename", code="not_a_file")
    if not files:
        return Submission(JobRequest.model_validate(texts))
    if "image_url" in texts:
        raise InvalidField("image_url", "a picture came in the form: leave this out", code="two_pictures")
    picture = files[PICTURE_PART]
    if (picture.size or 0) > max_image_bytes:
        raise InvalidField(
            PICTURE_PART, f"The picture has more than {max_image_bytes / 1e6:g} MB.", code="image_too_large"
        )
    return Submission(JobWishes.model_validate(texts), picture.file)


async def _capped(request: Request, max_bytes: int) -> AsyncGenerator[bytes, None]:
    num_bytes = 0
    async for chunk in request.stream():
        num_bytes += len(chunk)
        if num_bytes > max_bytes:
            raise BodyTooLarge(f"The body has more than {max_bytes} bytes.")
        yield chunk


def _refuse_other_origins(request: Request, settings: Settings) -> None:
    """Browsers send forms wherever a page tells them to, without asking first as they do for JSON.

    Whoever sends a key is no such page.
    """
    origin = request.headers.get("origin")
    if origin is None or "authorization" in request.headers:
        return
    if origin in settings.cors_origins.replace(",", " ").split():
        return
    own = {request.headers.get("host"), urlsplit(settings.public_url or "").netloc}
    if origin.partition("://")[2] not in own - {"", None}:
        raise CrossOrigin("A page of another origin may not send forms here; CORS_ORIGINS lets it.")
