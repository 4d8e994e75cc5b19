"""What a caller may ask for, field by field with its bounds: the one place where they stand. Knows no HTTP."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ai_engine.facts import MEDIA_TYPES, VIEWS, DecodeMode, MeshFormat, Sampler, Speed, ViewName
from ai_engine.job import CallerId, Job, JobOptions, RemoveBackground, View, WebhookFormat
from ai_engine.settings import Settings
from ai_engine.webhooks.upload import UploadHeaders
from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.print_options import PrintOptions
from ai_engine.wishes.slicing import Slice

MAX_SEED = 2**63 - 1
MAX_DRAWN_SEED = 2**53 - 1
"""JavaScript reads it back unharmed."""

SAMPLER_OF: dict[Speed, Sampler] = {"faithful": "euler", "fast": "adams"}
OCTREE_RESOLUTION = {"draft": 128, "standard": 256, "high": 384, "max": 512}
"""Cells per side that each quality asks for."""

NEEDS_IMAGE_URL = "needs image_url"
"""Validation context of a request that brings no picture, or mesh, as a file: `image_url` or `mesh_url` is required."""
IS_OF_MESH = "is of a mesh"
"""Validation context of a request to finish a mesh that is there and may have its height: `height_mm` is not needed."""


OTHER_PICTURES = ("cut_out_id", "image_urls")
"""The fields that a picture may come by in place of `image_url`."""
Quality = Literal["draft", "standard", "high", "max"]


MattingModelName = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=64,
        description="What finds the object: one of `GET /matting-models`; the service's own unless given.",
    ),
]
RemovalWish = Annotated[
    RemoveBackground, Field(description="auto: not where the picture brings a useful alpha channel.")
]
ImageUrl = Annotated[
    str | None,
    Field(
        min_length=1,
        description="The picture: an http(s) URL, or data:image/...;base64, with its bytes.",
        examples=["https://example.com/chair.png"],
        validate_default=True,
    ),
]
ViewUrl = Annotated[str | None, Field(min_length=1, description="As `image_url`.")]
MaskUrl = Annotated[
    str | None,
    Field(
        min_length=1,
        description="The caller's own mask, in place of the background removal: an http(s) URL, or "
        "data:image/...;base64, with its bytes. A picture in the proportion of the other one; its alpha channel is the "
        "object's opacity; without one, or where it is opaque all over, its brightness, white for the object.",
    ),
]


class ImageUrls(BaseModel):
    """Several pictures of one object, each by the side it shows; one is enough."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    front: ViewUrl = None
    left: ViewUrl = None
    back: ViewUrl = None
    right: ViewUrl = None

    @model_validator(mode="before")
    @classmethod
    def _read_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)  # a form's part
        except (ValueError, RecursionError) as error:
            raise PydanticCustomError("image_urls", "must be a JSON object of views and URLs") from error

    @model_validator(mode="after")
    def _require_one(self) -> ImageUrls:
        if not self.by_view:
            raise PydanticCustomError("missing_view", "name one of {views}", {"views": ", ".join(VIEWS)})
        return self

    @property
    def by_view(self) -> dict[ViewName, str]:
        """The URLs that were given, in the order of VIEWS."""
        urls: dict[ViewName, str | None] = {view: getattr(self, view) for view in VIEWS}
        return {view: url for view, url in urls.items() if url is not None}


def _read_object(value: Any) -> Any:
    """An object that a form's part has as JSON, without its nulls."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise PydanticCustomError("json_object", "must be a JSON object") from error
    if not isinstance(value, dict):
        return value
    return {name: member for name, member in value.items() if member is not None}


def _read_list(value: Any) -> Any:
    """A list that a form's part has as JSON, or as words with commas between them."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [word.strip() for word in value.split(",")]
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise PydanticCustomError("json_list", "must be a JSON list") from error


MeshFormats = Annotated[
    tuple[MeshFormat, ...] | None,
    BeforeValidator(_read_list),
    Field(
        min_length=1,
        max_length=len(MEDIA_TYPES),
        description="In place of `format`: several formats, a file each. The first is delivered and uploaded; `GET "
        "/jobs/{job_id}/mesh?format=` serves each, and the event lists all. In a form: with commas between them.",
        examples=[["stl", "3mf"]],
    ),
]
HollowWish = Annotated[
    Hollow | None,
    BeforeValidator(_read_object),
    Field(
        description="Hollow it out: walls of `wall_mm`, and holes that resin leaves by. `{}` for the defaults; in a "
        "form: as JSON.",
        examples=[{"wall_mm": 2.0}],
    ),
]
BaseWish = Annotated[
    Base | None,
    BeforeValidator(_read_object),
    Field(
        description="Stand it on a pedestal, which it is joined to: `height_mm` of the request stays the object's own.",
        examples=[{"shape": "round", "text": "Ada"}],
    ),
]
AttachWish = Annotated[
    Attach | None,
    BeforeValidator(_read_object),
    Field(
        description="Give it a ring at the top, or a pocket for a disc magnet in its back.",
        examples=[{"kind": "keyring", "diameter_mm": 5.0}],
    ),
]
SliceWish = Annotated[
    Slice | None,
    BeforeValidator(_read_object),
    Field(
        description="Slice the finished mesh too, where the service has PrusaSlicer: `GET /jobs/{job_id}/gcode`, and "
        "exact grams, hours and supports in `print.slicing`. Names are those of the service's profiles.",
        examples=[{"printer": "ender-3", "filament": "pla", "print_settings": "standard"}],
    ),
]
Thumbnail = Annotated[
    bool | None,
    Field(
        description="Draw the picture of the mesh before the delivery: the event names it, a 3MF without max_bytes "
        "holds it. Else it is drawn when first asked for. Unless given: for 3mf alone."
    ),
]


class PictureRequest(BaseModel):
    """What every request with a picture has: each field is checked, and unknown fields are refused by name.

    A null for an optional field counts as no value, as clients in C#, Java and Go send it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        optional = {name for name, field in cls.model_fields.items() if not field.is_required()}
        return {name: value for name, value in fields.items() if value is not None or name not in optional}

    @field_validator("image_url", check_fields=False)
    @classmethod
    def _require_one_picture(cls, url: str | None, info: ValidationInfo) -> str | None:
        ways = [name for name in OTHER_PICTURES if name in cls.model_fields]
        others = [name for name in ways if name not in info.data or info.data[name] is not None]
        if url is None and info.context == NEEDS_IMAGE_URL and not others:
            raise PydanticCustomError("missing", "Field required")
        if url is not None and others:
            raise PydanticCustomError(
                "two_pictures", "give image_url or {other}, not both", {"other": others[0]}
            )
        return url

    @field_validator("image_urls", check_fields=False)
    @classmethod
    def _check_alone(cls, urls: ImageUrls | None, info: ValidationInfo) -> ImageUrls | None:
        if urls is not None and info.data.get("cut_out_id") is not None:
            raise PydanticCustomError("two_pictures", "give image_urls or cut_out_id, not both")
        return urls

    @field_validator("mask_url", "cut_out_id", check_fields=False)
    @classmethod
    def _check_one_outline(cls, value: str | None, info: ValidationInfo) -> str | None:
        others = (info.data.get(name) for name in ("matting_model", "cut_out_id"))
        if value is not None and any(other is not None for other in others):
            raise PydanticCustomError("two_outlines", "give a mask, a matting_model or a cut_out_id alone")
        if value is not None and info.data.get("image_urls") is not None:
            raise PydanticCustomError("two_outlines", "a mask is of one picture, not of several views")
        return value

    @field_validator("formats", check_fields=False)
    @classmethod
    def _check_formats(
        cls, formats: tuple[MeshFormat, ...] | None, info: ValidationInfo
    ) -> tuple[MeshFormat, ...] | None:
        if formats is not None and len(set(formats)) < len(formats):
            raise PydanticCustomError("doubled", "names a format twice")
        if formats is not None and info.data.get("format", "stl") not in ("stl", formats[0]):
            raise PydanticCustomError("two_formats", "give format or formats, not both")
        return formats

    @field_validator("hollow", "base", "attach", check_fields=False)
    @classmethod
    def _check_addition(cls, wish: Hollow | Base | Attach | None, info: ValidationInfo) -> Any:
        if wish is not None and "height_mm" in info.data:
            if info.data["height_mm"] is None and not cls._may_have_size(info):
                raise PydanticCustomError("needs_height", "it has millimetres: give height_mm too")
            refusal = _refusal(wish, info.data)
            if refusal is not None:
                raise PydanticCustomError("senseless", "{reason}", {"reason": refusal})
        return wish

    @field_validator("slice", check_fields=False)
    @classmethod
    def _check_has_unit(cls, wish: Slice | None, info: ValidationInfo) -> Slice | None:
        has_height = info.data.get("height_mm") is not None or cls._may_have_size(info)
        if wish is not None and "height_mm" in info.data and not has_height:
            raise PydanticCustomError("needs_height", "a slicer works in millimetres: give height_mm too")
        return wish

    @classmethod
    def _may_have_size(cls, info: ValidationInfo) -> bool:
        """True for a mesh that may be in millimetres already; what finishes one is checked again as a job's request."""
        return info.context == IS_OF_MESH or issubclass(cls, FinishRequest)


def _refusal(wish: Hollow | Base | Attach, others: Mapping[str, Any]) -> str | None:
    """Why the wish makes no sense beside the other fields; None where it does."""
    if isinstance(wish, Base):
        return wish.refusal() or _text_refusal(wish.text)
    if isinstance(wish, Hollow):
        return wish.refusal(others["height_mm"])
    return wish.refusal(others["height_mm"], others)


def _text_refusal(text: str | None) -> str | None:
    """Which character the font lacks; None where it lacks none."""
    if text is None:
        return None
    from ai_engine.additions.lettering import missing  # Opens a font: most requests have no text.

    lacking = missing(text)
    return f"the font has no {lacking[0]!r} (U+{ord(lacking[0]):04X})" if lacking else None


class CutOutRequest(PictureRequest):
    """What a caller wants to see before any job: a picture's cut-out."""

    remove_background: RemovalWish = "auto"
    matting_model: MattingModelName = None
    image_url: ImageUrl = None
    mask_url: MaskUrl = None


class JobRequest(PictureRequest):
    """What a caller asks for.

    A null for an optional field counts as no value.
    """

    session_id: CallerId = Field(description="The caller's own name for the session.", examples=["s1"])
    asset_id: CallerId = Field(
        description="The caller's own name for the result; becomes the file's name.", examples=["a1"]
    )
    webhook_url: str | None = Field(
        default=None,
        min_length=1,
        max_length=8192,
        description="Where the mesh goes. None: poll the job instead.",
        examples=["https://example.com/webhook"],
    )
    webhook_format: WebhookFormat | None = Field(
        default=None,
        description="Form of the delivery; the service's setting unless given. multipart: a form with the file; "
        "binary: the file's bytes; link: the event alone, with a link to the file.",
    )
    upload_url: str | None = Field(
        default=None,
        min_length=1,
        max_length=8192,
        description="A presigned URL that the file is PUT to; the webhook then carries the event alone.",
        examples=["https://bucket.example.com/a1.stl?X-Amz-Signature=..."],
    )
    upload_headers: UploadHeaders | None = Field(
        default=None,
        description="Headers of that PUT, as its URL was signed: content-type (the format's own unless given), "
        "x-ms-blob-type, cache-control, x-amz-*, x-goog-*. In a form: as JSON.",
        examples=[{"content-type": "model/stl", "x-ms-blob-type": "BlockBlob"}],
    )
    num_inference_steps: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Steps from noise to shape; the model's own number unless given. With euler the published steps, "
        "with adams the calls of the denoiser.",
    )
    speed: Speed | None = Field(
        default=None,
        description="faithful: sampler euler, as the model was published. fast: sampler adams, in a third of the "
        "calls; its shapes lie as near to the exact flow, its latents not at every guidance (`docs/performance.md`). "
        "The service's setting unless given.",
    )
    sampler: Sampler | None = Field(
        default=None,
        description="euler: one call of the denoiser a step, first order. adams: likewise, second order (two-step "
        "Adams-Bashforth on its own grid), 16 calls unless `num_inference_steps` says so; distilled models refuse it. "
        "Wins over speed.",
    )
    guidance_scale: float | None = Field(
        default=None,
        ge=0,
        le=20,
        description="How closely the picture is followed; the model's own unless given.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        le=MAX_SEED,
        description="Same seed, model and options: same mesh. Drawn unless given.",
    )
    quality: Quality = Field(
        default="standard",
        description="Cells per side: 128, 256, 384 or 512. A compact shape then has some 90,000, 360,000, 820,000 "
        "or 1,450,000 faces; as STL 4.5, 18, 41 or 72 MB.",
    )
    octree_resolution: int | None = Field(
        default=None, ge=32, le=1024, description="Cells per side; wins over quality."
    )
    mc_level: float | None = Field(
        default=None,
        ge=-10,
        le=10,
        description="The value of the field at the surface; the model's own unless given.",
    )
    num_chunks: int | None = Field(
        default=None,
        ge=100,
        le=1_000_000,
        description="Most points asked of the field in one call; the service's own number unless given.",
    )
    bounds: float | None = Field(
        default=None,
        ge=0.1,
        le=4,
        description="Half the side of the cube that is searched; the model's own unless given.",
    )
    decode_mode: DecodeMode = Field(
        default="strict",
        description="Both give the dense surface wherever they touch it. strict begins on a lattice so fine that no "
        "separate part can hide between its points, as far as the field shows; fast begins coarser, asks half as "
        "much, and may overlook separate parts smaller than the distance at which the field saturates.",
    )
    remove_background: RemovalWish = "auto"
    matting_model: MattingModelName = None
    format: MeshFormat = Field(
        default="stl",
        description="Format of the mesh file. glb is in metres with Y up, as that format wants it.",
    )
    target_faces: int | None = Field(
        default=None,
        ge=100,
        le=5_000_000,
        description="Most faces wanted. Faces are taken away where they matter least; the surface stays closed.",
    )
    max_bytes: int | None = Field(
        default=None,
        ge=10_000,
        le=1_000_000_000,
        description="Largest file wanted; faces are taken away until it fits.",
    )
    height_mm: float | None = Field(
        default=None,
        ge=1,
        le=2000,
        description="Given: millimetres, Z up, standing on z = 0, this tall. Else raw model units, Y up.",
    )
    flat_base: bool = Field(
        default=False, description="Cut off a little at the bottom, so that it stands flat."
    )
    require_printable: bool = Field(
        default=False, description="Rather fail with not_printable than deliver a mesh that can't be printed."
    )
    priority: int = Field(
        default=0, ge=-10, le=10, description="Lower first, among the jobs of the same API key."
    )
    timeout_s: int | None = Field(
        default=None, ge=1, le=3600, description="Seconds for the whole job, from the start of work."
    )

    cut_out_id: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{32}$",
        description="In place of a picture: a cut-out of `POST /cut-outs` that was made with the same key.",
    )
    # Behind the older ones: the order is part of the digest that an idempotency key is compared by.
    image_urls: ImageUrls | None = Field(
        default=None,
        description="In place of `image_url`: several pictures of the object by the side they show, front, left, back, "
        "right (quarter turns clockwise as seen from above), for models that take several views.",
        examples=[{"front": "https://example.com/front.png", "left": "https://example.com/left.png"}],
    )
    image_url: ImageUrl = None
    mask_url: MaskUrl = None
    thumbnail: Thumbnail = None
    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="The shape model: one of `GET /models`; the service's first unless given.",
    )
    hollow: HollowWish = None
    base: BaseWish = None
    attach: AttachWish = None
    formats: MeshFormats = None
    slice: SliceWish = None

    @property
    def all_formats(self) -> tuple[MeshFormat, ...]:
        """Those that the mesh is written in, the one that is delivered first."""
        return self.formats or (self.format,)

    def options(self, default_speed: Speed = "faithful") -> JobOptions:
        """The request's wishes for the shape, with a seed drawn where none was given."""
        return JobOptions(
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            seed=secrets.randbelow(MAX_DRAWN_SEED + 1) if self.seed is None else self.seed,
            octree_resolution=self.octree_resolution or OCTREE_RESOLUTION[self.quality],
            mc_level=self.mc_level,
            num_chunks=self.num_chunks,
            bounds=self.bounds,
            decode_mode=self.decode_mode,
            sampler=self.sampler or SAMPLER_OF[self.speed or default_speed],
        )

    def print_options(self) -> PrintOptions:
        """The request's wishes for the finished mesh."""
        return PrintOptions(
            height_mm=self.height_mm,
            flat_base=self.flat_base,
            target_faces=self.target_faces,
            max_bytes=self.max_bytes,
            require_printable=self.require_printable,
            thumbnail="3mf" in self.all_formats if self.thumbnail is None else self.thumbnail,
            hollow=self.hollow,
            base=self.base,
            attach=self.attach,
            slice=self.slice,
        )


def _as_in_a_job(name: str) -> Any:
    """The field of that name with its bounds, default and description."""
    return JobRequest.model_fields[name]


class FinishRequest(PictureRequest):
    """What a finish may be asked with that begins with a mesh: what is left out is as in a request for a job."""

    webhook_url: str | None = _as_in_a_job("webhook_url")
    webhook_format: WebhookFormat | None = _as_in_a_job("webhook_format")
    upload_url: str | None = _as_in_a_job("upload_url")
    upload_headers: UploadHeaders | None = _as_in_a_job("upload_headers")
    format: MeshFormat = _as_in_a_job("format")
    formats: MeshFormats = None
    target_faces: int | None = _as_in_a_job("target_faces")
    max_bytes: int | None = _as_in_a_job("max_bytes")
    height_mm: float | None = _as_in_a_job("height_mm")
    flat_base: bool = _as_in_a_job("flat_base")
    require_printable: bool = _as_in_a_job("require_printable")
    thumbnail: Thumbnail = None
    hollow: HollowWish = None
    base: BaseWish = None
    attach: AttachWish = None
    slice: SliceWish = None
    priority: int = _as_in_a_job("priority")
    timeout_s: int | None = _as_in_a_job("timeout_s")


class VariantRequest(FinishRequest):
    """What another finish of a job's mesh may be asked with: what is left out is as in a request for a job, not as in
    the job's own. The names are the job's unless given.
    """

    session_id: CallerId | None = Field(default=None, description="The job's unless given.")
    asset_id: CallerId | None = Field(default=None, description="The job's unless given.")

    def of(self, job: Job) -> JobRequest:
        """The request of a job that asks for this finish of the mesh of `job`."""
        fields = {"session_id": job.session_id, "asset_id": job.asset_id} | self.model_dump(
            exclude_unset=True
        )
        return JobRequest.model_validate(fields, context=None if job.has_picture else IS_OF_MESH)


class MeshCheckRequest(FinishRequest):
    """What the finish of a caller's own mesh may be asked with. `height_mm` is the mesh's own unless given."""

    session_id: CallerId = _as_in_a_job("session_id")
    asset_id: CallerId = _as_in_a_job("asset_id")
    mesh_url: str | None = Field(
        default=None,
        min_length=1,
        validate_default=True,
        description="The mesh, STL, 3MF, OBJ, PLY or GLB: an http(s) URL, or data:...;base64, with its bytes. In "
        "millimetres with Z up, GLB in metres with Y up.",
        examples=["https://example.com/part.stl"],
    )

    @field_validator("mesh_url")
    @classmethod
    def _require_mesh(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None and info.context == NEEDS_IMAGE_URL:
            raise PydanticCustomError("missing", "Field required")
        return url

    def as_job(self) -> JobRequest:
        """The request of a job that asks for this finish."""
        fields = self.model_dump(exclude_unset=True, exclude={"mesh_url"})
        return JobRequest.model_validate(fields, context=IS_OF_MESH)


class Redelivery(BaseModel):
    """Where a delivery goes in place of where its request said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    webhook_url: str | None = Field(
        default=None, min_length=1, max_length=8192, description="A new webhook; the old one unless given."
    )
    upload_url: str | None = Field(
        default=None,
        min_length=1,
        max_length=8192,
        description="A new presigned URL that the file is PUT to; without it an upload that was done stays done.",
    )
    upload_headers: UploadHeaders | None = Field(
        default=None, description="Headers of the new upload; those of the old one do not go with it."
    )


def job_of(request: JobRequest, *, job_id: str, accepted_at_s: float, settings: Settings) -> Job:
    """The job that a checked request asks for, with the service's own values where it names none."""
    return Job(
        job_id=job_id,
        session_id=request.session_id,
        asset_id=request.asset_id,
        image_url=request.image_url,
        image=None,
        webhook_url=request.webhook_url,
        upload_url=request.upload_url,
        upload_headers=request.upload_headers or {},
        webhook_format=request.webhook_format or settings.webhook_format,
        options=request.options(settings.speed),
        print_options=request.print_options(),
        remove_background=request.remove_background,
        mask_url=request.mask_url,
        views={view: View(url) for view, url in request.image_urls.by_view.items()}
        if request.image_urls
        else {},
        matting_model=request.matting_model,
        format=request.all_formats[0],
        more_formats=request.all_formats[1:],
        priority=request.priority,
        model=request.model,
        timeout_s=request.timeout_s or settings.job_timeout_s,
        accepted_at_s=accepted_at_s,
        request_sha256="",
    )
