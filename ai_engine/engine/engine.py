"""The door for Python callers: one class for a model in this process and for a service elsewhere."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from ai_engine.api.request_schema import IS_OF_MESH, NEEDS_IMAGE_URL, ImageUrls, JobRequest
from ai_engine.engine.generated import Generated, Pictures, StageProgress
from ai_engine.facts import MeshFormat, PrintFacts, ViewName
from ai_engine.images.data_url import decode_data_url, is_data_url
from ai_engine.images.formats import DownloadLimits
from ai_engine.wishes.print_options import PrintOptions

if TYPE_CHECKING:
    from ai_engine.engine.finishing import Finished
    from ai_engine.settings import Settings
    from ai_engine.slicing.slicer import Slicer

Picture = str | os.PathLike[str] | bytes
PRINT_FIELDS = (
    *("height_mm", "flat_base", "target_faces", "max_bytes", "require_printable"),
    *("hollow", "base", "attach", "slice"),
)
SERVICE_FIELDS = frozenset(
    {
        "session_id",
        "asset_id",
        "webhook_url",
        "webhook_format",
        "upload_url",
        "upload_headers",
        "cut_out_id",
        "image_url",
        "image_urls",
        "mask_url",
        "format",
        "formats",
        "priority",
    }
)
"""Fields that only a service has, and those of what goes in and comes out."""
PICTURE_FIELDS = frozenset({"image_url", "image_urls", "mask_url", "cut_out_id"})
"""Those of what goes in."""
HERE = "data:,"
ENGINE_FIELDS = tuple(name for name in JobRequest.model_fields if name not in SERVICE_FIELDS)
SESSION = "engine"
MAX_DATA_URL_BYTES = 100_000_000


class Backend(Protocol):
    """What runs an engine's jobs."""

    def generate(self, request: JobRequest, pictures: Pictures, progress: StageProgress) -> Generated:
        """As in `LocalEngine`."""

    def close(self) -> None:
        """As in `LocalEngine`."""


class Engine:
    """Makes meshes from pictures: `Engine().generate("chair.png", height_mm=80).save("chair.3mf")`.

    Without an address the models run in this process, with the settings of the environment (`MODEL_PATH`, `DEVICE`,
    ...), and are loaded once, by the first picture. With the address of a service they run there, and nothing here
    needs torch. The same picture, seed, options and name give the same bytes either way.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        key: str | None = None,
        settings: Settings | None = None,
        model: str | None = None,
        accept_licence: bool = False,
    ) -> None:
        """`key` is the API key at the service. There `model` is one of `GET /models`, asked for with every picture.

        In this process `model` is a published model's name in place of `MODEL_PATH`; its weights are fetched into
        `models/` by the first picture, once standard error has their size and licence. `accept_licence` agrees to a
        licence that has conditions; `settings` take the place of the environment's.

        Raises:
            ValueError: `model` is no published model, `address` no URL, or an argument is of the other kind of engine.
        """
        self.backend: Backend
        self._fields: dict[str, Any] = {}
        """Of every request that does not name them."""
        if address is None:
            if key is not None:
                raise ValueError("key is that of a service: give its address too")
            from ai_engine.engine.local import LocalEngine

            self.backend = LocalEngine(settings, model=model, accept_licence=accept_licence)
        else:
            if settings is not None or accept_licence:
                raise ValueError(
                    "settings and accept_licence are of models in this process, not of a service's"
                )
            from ai_engine.engine.remote import RemoteEngine

            self.backend = RemoteEngine(address, key=key)
            self._fields = {} if model is None else {"model": model}

    def generate(
        self,
        picture: Picture | Mapping[ViewName, Picture],
        *,
        mask: Picture | None = None,
        name: str | None = None,
        progress: StageProgress = lambda stage, done, total: None,
        **fields: Any,
    ) -> Generated:
        """The mesh of the object in `picture`: a path, an http(s) or data URL, or a file's bytes; or several views by
        name, `{"front": "f.png", "left": "l.png"}`, where the model takes them.

        `fields` are those of `POST /generate-3d` (docs/api.md): `height_mm`, `seed`, `octree_resolution`, `format`, ...
        `name` becomes the title in the file; the picture's own unless given. `progress(stage, done, total)` is called
        on the way, and may raise to stop the job.

        Raises:
            pydantic.ValidationError: a field is unknown or out of bounds, or pictures do not go together.
            ValueError: a field is that of a picture, or in this process that of a delivery.
            OSError: the picture can't be read.
            UnreadableImage, ImageTooLarge: a data URL holds no picture, or too large a one.
            GenerationFailed: the job ended without a mesh; its `failure` has a code.
            ServerRefused: the service does not take the request, or can't be reached.
            StartupError: a model or a device of this process can't be used, or its weights can't be had.
            NotAgreed: weights are to be fetched, and their licence was not agreed to.
        """
        request, pictures = self.request(picture, mask=mask, name=name, **fields)
        return self.backend.generate(request, pictures, progress)

    def request(
        self,
        picture: Picture | Mapping[ViewName, Picture],
        *,
        mask: Picture | None = None,
        name: str | None = None,
        **fields: Any,
    ) -> tuple[JobRequest, Pictures]:
        """The checked request that `generate` makes of its arguments, and the bytes of what is no URL.

        Raises:
            pydantic.ValidationError, ValueError, OSError, UnreadableImage, ImageTooLarge: as `generate`.
        """
        views = picture if isinstance(picture, Mapping) else {}
        one = None if isinstance(picture, Mapping) else picture
        title = _plain(name or _name_of(next(iter(views.values()), one or b"")))
        return _request(one, mask, views, {"asset_id": title} | self._fields | fields)

    def finish(
        self, mesh: Picture, *, name: str | None = None, format: MeshFormat = "stl", **fields: Any
    ) -> Finished:
        """A mesh file finished once more in this process, by the print fields: no model, no device. `format` is the
        one that `max_bytes` is meant for.

        Raises:
            pydantic.ValidationError: a field is unknown or out of bounds.
            OSError: the file can't be read.
            MeshUnreadable: it is no mesh.
            EmptyMesh, AdditionUnfit, NotPrintable, SliceFailed: as in a job.
        """
        from ai_engine.engine.finishing import finish_file

        title = name or _name_of(mesh)
        return finish_file(
            _read(mesh), print_options(fields), title=title, formats=[format], slicer=_slicer(fields)
        )

    def check(self, mesh: Picture) -> PrintFacts:
        """What a slicer will find in a mesh file, as it is.

        Raises:
            OSError: the file can't be read.
            MeshUnreadable: it is no mesh.
        """
        from ai_engine.engine.finishing import check_file

        return check_file(_read(mesh)).facts()

    def close(self) -> None:
        """Lets go of models, files and connections."""
        self.backend.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def print_options(fields: dict[str, Any]) -> PrintOptions:
    """The print fields of a request, checked as in a job.

    Raises:
        pydantic.ValidationError: a field is no print field, or out of bounds.
    """
    named = {name if name in PRINT_FIELDS else f"no print field: {name}": fields[name] for name in fields}
    values = {"session_id": SESSION, "asset_id": "mesh"} | named
    return JobRequest.model_validate(values, context=IS_OF_MESH).print_options()


def _slicer(fields: dict[str, Any]) -> Slicer | None:
    """The slicer of the environment's settings, where G-code is asked for."""
    from ai_engine.settings import Settings
    from ai_engine.slicing.slicer import Slicer

    return Slicer.of(Settings()) if fields.get("slice") is not None else None


def _request(
    picture: Picture | None, mask: Picture | None, views: Mapping[ViewName, Picture], fields: dict[str, Any]
) -> tuple[JobRequest, Pictures]:
    """The request, checked as if all pictures came by URL, and the bytes of those that do not."""
    if doubled := sorted(PICTURE_FIELDS & fields.keys()):
        raise ValueError(f"{doubled[0]}: pictures come as the arguments picture and mask")
    named = {name: one for name, one in (("image_url", picture), ("mask_url", mask)) if one is not None}
    values = {"session_id": SESSION} | fields | {name: _url_of(one) for name, one in named.items()}
    if picture is None:
        values["image_urls"] = {view: _url_of(one) for view, one in views.items()}
    request = JobRequest.model_validate(values, context=NEEDS_IMAGE_URL)
    pictures = Pictures(
        None if picture is None or _is_url(picture) else _read(picture),
        None if mask is None or _is_url(mask) else _read(mask),
        {view: _read(one) for view, one in views.items() if not _is_url(one)},
    )
    elsewhere = {view: url for view, url in views.items() if _is_url(url)}
    asked: dict[str, Any] = {name: None for name, one in named.items() if not _is_url(one)}
    asked["image_urls"] = ImageUrls.model_validate(elsewhere) if elsewhere else None
    return request.model_copy(update=asked), pictures


def _url_of(picture: Picture) -> str:
    """What stands in a request for the picture; HERE for one whose bytes go beside it."""
    return str(picture) if _is_url(picture) else HERE


def _is_url(picture: object) -> bool:
    """True for what a server is asked for; a data URL has its bytes in itself."""
    return isinstance(picture, str) and picture.lower().startswith(("http://", "https://"))


def _read(source: Picture) -> bytes:
    if isinstance(source, str) and is_data_url(source):
        return decode_data_url(source, DownloadLimits(MAX_DATA_URL_BYTES))
    return source if isinstance(source, bytes) else Path(source).read_bytes()


def _name_of(source: Picture) -> str:
    if isinstance(source, bytes) or (isinstance(source, str) and is_data_url(source)):
        return "mesh"
    return PurePath(re.split(r"[?#]", os.fspath(source))[0].replace("\\", "/")).stem


def asset_id_of(source: Picture) -> str:
    """A name for the result, from that of the picture: letters, digits, `.`, `_` and `-`."""
    return _plain(_name_of(source))


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:64] or "picture"
