"""Parses the body of a request with a picture, JSON or a multipart form, into one `Submission`. Knows no job queue.

A large body and the pictures in it lie in temporary files, so that memory stays flat. A data URL is parsed, decoded
and hashed here once: whatever reads a `Submission` finds the picture's bytes in one place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, Generic, TypeVar

from fastapi import Request
from starlette.datastructures import FormData, UploadFile

from ai_engine.api.finishing.sent_mesh import check_mesh_bytes, check_start
from ai_engine.api.request_schema import NEEDS_IMAGE_URL, ImageUrls, PictureRequest
from ai_engine.api.submissions.form_parts import MASK_PART, MESH_PART, URL_OF_PART, check_parts
from ai_engine.api.submissions.sent_pedestal import (
    PEDESTAL_FIELD,
    num_embedded_chars,
    pedestal_url,
    with_digest,
)
from ai_engine.caller_meshes.embedded import decode_mesh_url
from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.errors import BodyTooLarge, BodyTypeUnknown, InvalidField, JobError, UnreadableImage
from ai_engine.facts import VIEWS, ViewName
from ai_engine.images.data_url import decode_data_url, is_data_url
from ai_engine.images.formats import MAGIC_BYTES, DownloadLimits, over_limit, picture_format, refusal
from ai_engine.settings import Settings
from ai_engine.storage.store import READ_BYTES
from ai_engine.web.auth import Caller, refuse_other_origins
from ai_engine.web.bodies import (
    MAX_REQUEST_BYTES,
    Bodies,
    WholeBody,
    check_size,
    load_json,
    refuse_doubled,
    temporary_file,
)

MAX_PARTS = 64
_JSON = "application/json"
_FORM = "multipart/form-data"
BASE64_GROWTH = 4 / 3 * 80 / 76
"""Characters per byte of a picture, with a line break of four characters (as JSON escapes it) after each 76."""
_DATA_URL = re.compile(rb':\s*"(?:\s|\\[nrt])*data:[^"]*"', re.IGNORECASE)
MESH_FIELDS = (MESH_PART, URL_OF_PART[MESH_PART], PEDESTAL_FIELD)

R = TypeVar("R", bound=PictureRequest)


@dataclass(frozen=True)
class RequestHeaders:
    """What a submission's headers say."""

    owner: str | None = None
    """The name of the caller's key."""
    idempotency_key: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True)
class Picture:
    """A picture, or a mesh, that came inside the request."""

    file: IO[bytes]
    sha256: str


@dataclass(frozen=True)
class Submission(Generic[R]):
    """What a request asks for, each field checked by itself."""

    request: R
    """`image_url` is an http(s) URL, or None where a picture came."""
    picture: Picture | None
    headers: RequestHeaders = RequestHeaders()
    mask: Picture | None = None
    """The caller's mask that came inside the request; `mask_url` is None then."""
    views: Mapping[ViewName, Picture] = field(default_factory=dict)
    """Views of the object that came inside the request; `image_urls` does not name them."""
    mesh: Picture | None = None
    """The caller's own mesh that came inside the request; `mesh_url` is None then."""
    pedestal: Picture | None = None
    """The pedestal that came inside the request; `base.mesh_url` is its digest then."""


@dataclass(frozen=True)
class Reading(Generic[R]):
    """How a body is read."""

    kind: type[R]
    headers: RequestHeaders
    limits: DownloadLimits
    mesh_limits: MeshLimits = field(default_factory=MeshLimits)
    files: ExitStack = field(default_factory=ExitStack)
    """Closes the files that pictures are read from."""

    @property
    def url_of_part(self) -> dict[str, str]:
        """The file parts that a form may have besides views, each with the field that may name a URL in its place."""
        return {part: url for part, url in URL_OF_PART.items() if url in self.kind.model_fields}

    @property
    def parts(self) -> tuple[str, ...]:
        """The file parts that a form may have."""
        return (*self.url_of_part, *(VIEWS if "image_urls" in self.kind.model_fields else ()))

    @property
    def max_pictures(self) -> int:
        """In one request: the picture and its mask, or each view; or one mesh."""
        return len(VIEWS) if "image_urls" in self.kind.model_fields else len(self.url_of_part)

    @property
    def max_pedestals(self) -> int:
        """In one request, inside its field `base`."""
        return int("base" in self.kind.model_fields)

    def max_bytes(self, num_pictures: int, num_pedestals: int = 0) -> int:
        """Of a body with so many pictures in it, or with fewer than a picture and its mask; or with a mesh."""
        num_pictures, mesh_bytes = max(len(self.url_of_part), num_pictures), self.mesh_limits.max_bytes
        each = mesh_bytes if MESH_PART in self.parts else self.limits.max_bytes
        return MAX_REQUEST_BYTES + int((num_pictures * each + num_pedestals * mesh_bytes) * BASE64_GROWTH)


@asynccontextmanager
async def read_submission(
    request: Request, headers: RequestHeaders, caller: Caller, settings: Settings, kind: type[R]
) -> AsyncIterator[Submission[R]]:
    """The submission in the request, whose fields are those of `kind`; its picture can be read until the block ends.

    Raises:
        BodyTypeUnknown: the body is neither JSON nor a form, or it is compressed.
        BodyTooLarge: it has more bytes than are taken; the rest is not read.
        CrossOrigin: a page of another origin had a browser send the form.
        DiskFull, NotReady, TooManyBodies: there is no room for it now.
        InvalidField: a field occurs twice or is unknown, or the picture is none.
        pydantic.ValidationError: fields are missing, unknown or out of bounds.
    """
    if body_type(request) == _FORM:
        refuse_other_origins(request, settings)
    bodies: Bodies = request.app.state.access.bodies
    with bodies.hold(caller.who) as held, ExitStack() as files:
        limits = DownloadLimits(max_bytes=settings.image_max_bytes)
        how = Reading(kind, headers, limits, MeshLimits.of(settings), files)
        max_bytes = how.max_bytes(how.max_pictures, how.max_pedestals)
        async with bodies.whole(request, held, max_bytes) as body:
            submission = await _read(body, how)
        yield submission


async def _read(body: WholeBody, how: Reading[R]) -> Submission[R]:
    """The submission in a body that came whole."""
    if body_type(body.request) == _JSON:
        return await body.run(lambda: _read_json(body.file.read(), how))
    form = await body.form(max_files=how.max_pictures, max_fields=MAX_PARTS)
    for _, part in form.multi_items():
        if isinstance(part, UploadFile):
            how.files.callback(part.file.close)
    return await body.run(_read_form, form, how)


def body_type(request: Request) -> str:
    """JSON or form; raises BodyTypeUnknown where it is neither, or compressed."""
    coding = request.headers.get("content-encoding", "").strip().lower()
    if coding not in ("", "identity"):
        raise BodyTypeUnknown(
            f"The body is compressed (Content-Encoding: {coding[:40]}); send it uncompressed."
        )
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in (_JSON, _FORM):
        raise BodyTypeUnknown(f"The header Content-Type must be {_JSON} or {_FORM}.")
    return media_type


def _read_json(body: bytes, how: Reading[R]) -> Submission[R]:
    request = how.kind.model_validate(parse_json(body, how), context=NEEDS_IMAGE_URL)
    return submission_of(request, {}, how)


def parse_json(body: bytes, how: Reading[R], picture: re.Pattern[bytes] = _DATA_URL) -> Any:
    """What the JSON says, if besides pictures and meshes, which `picture` finds, it is small.

    Raises:
        BodyTooLarge: it has more bytes than a request has, with its pictures or besides them.
        InvalidField: it is no JSON, or names a field twice.
    """
    # Before it is parsed: millions of small fields cost a hundred times their bytes, and as many errors.
    found = list(islice(picture.finditer(body), how.max_pictures + how.max_pedestals))
    own = int(MESH_PART in how.parts)
    meshes = [one for one in found if _is_mesh_url(body, one)][: own + how.max_pedestals]
    pictures = [one for one in found if one not in meshes][: 0 if own else how.max_pictures]
    embedded = [*pictures, *meshes]
    check_size(len(body), how.max_bytes(len(pictures), max(0, len(meshes) - own)))
    if len(body) - sum(len(one[0]) for one in embedded) > MAX_REQUEST_BYTES:
        raise BodyTooLarge(f"Besides the pictures in it a request has {MAX_REQUEST_BYTES} bytes at most.")
    return load_json(body)


def _is_mesh_url(body: bytes, embedded: re.Match[bytes]) -> bool:
    """True where the field before it says so: an expression that begins with the name is slow on large bodies."""
    return body[max(0, embedded.start() - 64) : embedded.start()].rstrip().endswith(b'"mesh_url"')


def submission_of(request: R, files: Mapping[str, UploadFile], how: Reading[R]) -> Submission[R]:
    """The submission with the picture and the mask that came as `files` or as data URLs."""
    found: dict[str, Picture | None] = {}
    for name, url_field in how.url_of_part.items():
        if name in files:
            found[name] = _check_file(name, files[name], how)
        else:
            found[name] = _decode_picture(getattr(request, url_field), url_field, how)
    came = {URL_OF_PART[name]: None for name, picture in found.items() if picture is not None}
    picture, mask, mesh = (found.get(name) for name in URL_OF_PART)
    views, urls = _views(request, files, how)
    if views:
        request = request.model_copy(update={"image_urls": urls})
    pedestal = _decode_picture(pedestal_url(request), PEDESTAL_FIELD, how)
    if pedestal is not None:
        request = with_digest(request, pedestal.sha256)
    return Submission(request.model_copy(update=came), picture, how.headers, mask, views, mesh, pedestal)


def _views(
    request: R, files: Mapping[str, UploadFile], how: Reading[R]
) -> tuple[dict[ViewName, Picture], ImageUrls | None]:
    """The views that came as `files` or as data URLs, and the URLs of the others."""
    urls: ImageUrls | None = getattr(request, "image_urls", None)
    given = urls.by_view if urls else {}
    found = {view: _decode_picture(url, f"image_urls.{view}", how) for view, url in given.items()}
    found |= {view: _check_file(view, files[view], how) for view in VIEWS if view in files}
    views = {view: picture for view, picture in found.items() if picture is not None}
    others = {view: url for view, url in given.items() if view not in views}
    return views, ImageUrls.model_validate(others) if others else None


def _decode_picture(url: str | None, field: str, how: Reading[R]) -> Picture | None:
    """The picture in a data URL; None where the URL is none."""
    if url is None or not is_data_url(url):
        return None
    file = how.files.enter_context(temporary_file())
    try:
        is_mesh = field in MESH_FIELDS
        file.write(decode_mesh_url(url, how.mesh_limits) if is_mesh else decode_data_url(url, how.limits))
    except JobError as error:
        raise InvalidField(field, error.detail, code=error.code) from error
    return _check_start(file, field)


def _check_start(file: IO[bytes], field: str) -> Picture:
    """The picture or mesh, if its first bytes are of one."""
    file.seek(0)
    if field in MESH_FIELDS:
        check_start(file, field)
    elif picture_format(start := file.read(MAGIC_BYTES)) is None:
        raise InvalidField(field, refusal(start), code=UnreadableImage.code)
    file.seek(0)
    digest = hashlib.sha256()
    while piece := file.read(READ_BYTES):
        digest.update(piece)
    return Picture(file, digest.hexdigest())


def _read_form(form: FormData, how: Reading[R]) -> Submission[R]:
    parts = form.multi_items()
    refuse_doubled(name for name, _ in parts)
    files = {name: part for name, part in parts if isinstance(part, UploadFile)}
    # A page's form sends what was left empty too.
    texts = {name: part for name, part in parts if isinstance(part, str) and part}
    sizes = [*(part.size or 0 for part in files.values()), *map(len, texts.values())]
    num_pedestals = min(how.max_pedestals, num_embedded_chars(texts.get("base", "")))
    check_size(sum(sizes), how.max_bytes(len(files) + sum(map(is_data_url, texts.values())), num_pedestals))
    check_parts(files, texts, how.parts)
    has_picture = any(name in files for name in how.parts if name != MASK_PART)
    request = how.kind.model_validate(texts, context=None if has_picture else NEEDS_IMAGE_URL)
    return submission_of(request, files, how)


def _check_file(name: str, part: UploadFile, how: Reading[R]) -> Picture:
    size = part.size or 0
    if name == MESH_PART:
        check_mesh_bytes(size, how.mesh_limits, name)
    elif size > how.limits.max_bytes:
        detail = over_limit(how.limits, "mask" if name == MASK_PART else "picture")
        raise InvalidField(name, detail, code="image_too_large")
    return _check_start(part.file, name)
