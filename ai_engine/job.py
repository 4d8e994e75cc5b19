"""The vocabulary of a job: what is asked for, how far it is, what came out, what is told to the caller.

Values only. Knows no HTTP, no database, no file and no tensor.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ai_engine.errors import JobCancelled, JobError

MAX_SEED = 2**63 - 1
MAX_DRAWN_SEED = 2**53 - 1
"""JavaScript reads it back unharmed."""
MAX_REQUEST_BYTES = 64 * 1024
"""A request without an embedded picture."""

OCTREE_RESOLUTION = {"draft": 128, "standard": 256, "high": 384, "max": 512}
"""Cells per side that each quality asks for."""

MEDIA_TYPES = {
    "stl": "model/stl",
    "3mf": "model/3mf",
    "glb": "model/gltf-binary",
    "obj": "model/obj",
    "ply": "application/octet-stream",  # none is registered
}

CallerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:\-]{1,128}$")]
RemoveBackground = Literal["auto", "always", "never"]
Quality = Literal["draft", "standard", "high", "max"]
MeshFormat = Literal["stl", "3mf", "glb", "obj", "ply"]
WebhookFormat = Literal["multipart", "binary", "link"]
DecodeMode = Literal["strict", "fast"]


class JobStatus(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    """Accepted and safe on disk; no worker has begun."""
    RUNNING = "running"
    """A worker is on one of its stages, or died there and another will take over."""
    SUCCEEDED = "succeeded"
    """The mesh exists. Its delivery may still be under way."""
    FAILED = "failed"
    """It ended with an error that has a code."""
    CANCELLED = "cancelled"
    """The caller stopped it."""


class Stage(StrEnum):
    """The stations of a job, in their order."""

    QUEUE = "queue"
    """Waiting for a worker."""
    DOWNLOAD = "download"
    """URL to image bytes."""
    CUTOUT = "cutout"
    """Image to object on transparent ground."""
    DENOISE = "denoise"
    """Noise to latents, one network call per step."""
    DECODE = "decode"
    """Latents to field to mesh."""
    FINISH = "finish"
    """Mesh to file."""


_SHARE = {
    Stage.DOWNLOAD: (0.0, 0.05),
    Stage.CUTOUT: (0.05, 0.1),
    Stage.DENOISE: (0.1, 0.7),
    Stage.DECODE: (0.7, 0.95),
    Stage.FINISH: (0.95, 1.0),
}
"""Which part of the whole each stage is, from 0 to 1: a rule of thumb for progress bars."""


def overall_progress(stage: Stage, done: int, total: int) -> float:
    """How far the whole job is, 0 to 1, when `stage` is at `done` of `total`."""
    begin, end = _SHARE.get(stage, (0.0, 0.0))
    return round(begin + (end - begin) * min(1.0, done / max(1, total)), 3)


Progress = Callable[[Stage, int, int], None]
"""Called as `progress(stage, done, total)` between two steps of a stage; raises a JobError to stop there."""


class JobWishes(BaseModel):
    """What a caller asks for, but for the picture. Checked; unknown fields are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    num_inference_steps: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Steps from noise to shape; the model's own number unless given.",
    )
    guidance_scale: float = Field(
        default=5.0, ge=0, le=20, description="How closely the picture is followed."
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
    mc_level: float = Field(
        default=-1 / 512, ge=-10, le=10, description="The value of the field at the surface."
    )
    num_chunks: int = Field(
        default=8000, ge=100, le=1_000_000, description="Points asked of the field in one call."
    )
    bounds: float = Field(
        default=1.01, ge=0.1, le=4, description="Half the side of the cube that is searched."
    )
    decode_mode: DecodeMode = Field(
        default="strict",
        description="Both give the dense surface wherever they touch it. strict begins on a lattice so fine that no "
        "separate part can hide between its points, as far as the field tells; fast begins coarser, asks half as "
        "much, and may overlook separate parts smaller than the distance at which the field saturates.",
    )
    remove_background: RemoveBackground = Field(
        default="auto", description="auto: not where the picture brings a useful alpha channel."
    )
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
    priority: int = Field(default=0, ge=-10, le=10, description="Lower first.")
    timeout_s: int | None = Field(
        default=None, ge=1, le=3600, description="Seconds for the whole job, from the start of work."
    )

    def options(self) -> JobOptions:
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
        )

    def print_options(self) -> PrintOptions:
        """The request's wishes for the finished mesh."""
        return PrintOptions(
            height_mm=self.height_mm,
            flat_base=self.flat_base,
            target_faces=self.target_faces,
            max_bytes=self.max_bytes,
            require_printable=self.require_printable,
        )


class JobRequest(JobWishes):
    """What a caller asks for, with the picture's URL."""

    image_url: str = Field(
        min_length=1,
        description="The picture: an http(s) URL, or data:image/...;base64, with its bytes.",
        examples=["https://example.com/chair.png"],
    )

    @property
    def has_embedded_picture(self) -> bool:
        """True when the URL is the picture."""
        return self.image_url[:5].lower() == "data:"


@dataclass(frozen=True)
class JobOptions:
    """What the shape model is asked for."""

    seed: int
    num_inference_steps: int | None = None
    """None: the model's own number."""
    guidance_scale: float = 5.0
    octree_resolution: int = 256
    """Cells per side."""
    mc_level: float = -1 / 512
    num_chunks: int = 8000
    """Points asked of the field in one call."""
    bounds: float = 1.01
    """Half the side of the cube that is searched, in model units."""
    decode_mode: DecodeMode = "strict"


@dataclass(frozen=True)
class PrintOptions:
    """What is asked of the finished mesh."""

    height_mm: float | None = None
    """None: raw model units, Y up. Set: millimetres, Z up, standing on z = 0."""
    flat_base: bool = False
    target_faces: int | None = None
    max_bytes: int | None = None
    """Of the file."""
    require_printable: bool = False

    @property
    def is_mm(self) -> bool:
        """True when the result is in millimetres with Z up."""
        return self.height_mm is not None


@dataclass(frozen=True)
class Artifact:
    """A file of a job: small enough a record to live in the job engine, unlike the bytes."""

    uri: str
    """Where the store finds it; never shown to a caller."""
    sha256: str
    """Of the whole file, 64 lower-case hex digits."""
    size: int
    """In bytes."""


@dataclass(frozen=True)
class Job:
    """An accepted request: what the worker is given."""

    job_id: str
    session_id: str
    asset_id: str
    image_url: str | None
    """None when the picture came inside the request."""
    image: Artifact | None
    """The picture that came inside the request."""
    webhook_url: str | None
    webhook_format: WebhookFormat
    options: JobOptions
    remove_background: RemoveBackground
    format: MeshFormat
    priority: int
    timeout_s: float
    accepted_at_s: float
    """Seconds since 1970."""
    request_sha256: str
    """Of the request as it was checked: tells whether an idempotency key comes with another request."""
    print_options: PrintOptions = PrintOptions()
    owner: str | None = None
    """The name of the API key that it came with, the only one that may see it; None where keys were off."""
    traceparent: str | None = None
    """The caller's trace, as their request named it (W3C Trace Context)."""
    attempt: int = 1
    """How often the caller had it run: 2 is the first retry."""
    retry_of: str | None = None
    """The id of the first attempt; None when this is it."""
    upload_url: str | None = None
    """Where the mesh is PUT."""

    @property
    def is_delivered(self) -> bool:
        """True when somebody is told, or given, what comes out."""
        return self.webhook_url is not None or self.upload_url is not None

    @property
    def first_id(self) -> str:
        """The id of the first attempt."""
        return self.retry_of or self.job_id

    def again(self, accepted_at_s: float) -> Job:
        """The next attempt: a job of its own, the same in all but its id and its time.

        Its id follows from the first attempt's and its number, so that two who ask at once get one job.
        """
        number = self.attempt + 1
        job_id = hashlib.sha256(f"attempt {number} of {self.first_id}".encode()).hexdigest()[:32]
        return replace(
            self, job_id=job_id, attempt=number, retry_of=self.first_id, accepted_at_s=accepted_at_s
        )

    @property
    def file_name(self) -> str:
        """The mesh file's name as the caller sees it."""
        return f"{self.asset_id}.{self.format}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Job:
        """The job that `to_dict` wrote."""
        image = fields["image"]
        values = {
            "options": JobOptions(**fields["options"]),
            "print_options": PrintOptions(**fields.get("print_options", {})),
            "image": Artifact(**image) if image else None,
        }
        return cls(**fields | values)


@dataclass(frozen=True)
class MeshFacts:
    """What is known of the mesh without opening its file."""

    format: MeshFormat
    faces: int
    units: str
    """`mm`: Z up. `model`: the searched cube's side is `2 * bounds`; Y up."""
    bbox: tuple[float, float, float]
    """Side lengths along x, y, z."""
    print: dict[str, Any]
    """What a slicer will find: the report, as plain JSON values."""


@dataclass(frozen=True)
class DecodeFacts:
    """How the field was searched for its surface, and how far that is warranted to be all of it."""

    mode: DecodeMode
    coarse_resolution: tuple[int, int, int]
    """Cells along x, y, z of the lattice that the search began on."""
    saturation_distance: float | None
    """How far from the surface the field saturates, in model units; None when none was found to measure at."""
    is_covered: bool
    """True when no separate part can hide between the first points, as far as the field tells. False: parts
    smaller than about `saturation_distance` may be absent."""
    num_queries: int
    """Points asked of the field."""


@dataclass(frozen=True)
class JobFailure:
    """Why a job ended without a mesh, as the caller is told."""

    code: str
    title: str
    detail: str
    stage: str
    retryable: bool

    @classmethod
    def of(cls, error: JobError) -> JobFailure:
        """What the caller may know of `error`."""
        return cls(error.code, error.title, error.detail, str(error.stage), error.retryable)


@dataclass(frozen=True)
class JobResult:
    """How a job ended: with an artifact, or with a failure."""

    timings_s: dict[str, float] = field(default_factory=dict)
    """Seconds per stage."""
    options: dict[str, Any] = field(default_factory=dict)
    """As used, with the seed drawn and the number of steps taken."""
    model: dict[str, str] = field(default_factory=dict)
    """Its id and its licence."""
    artifact: Artifact | None = None
    preview: Artifact | None = None
    """A picture of the mesh."""
    mesh: MeshFacts | None = None
    decode: DecodeFacts | None = None
    failure: JobFailure | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> JobResult:
        """The result that `to_dict` wrote."""
        kinds: dict[str, Callable[..., Any]] = {
            "artifact": Artifact,
            "preview": Artifact,
            "mesh": MeshFacts,
            "decode": DecodeFacts,
            "failure": JobFailure,
        }
        values = {name: kinds[name](**fields[name]) if fields.get(name) else None for name in kinds}
        return cls(**fields | values)


MAX_EVENT_BYTES = 4096
MAX_DETAIL_CHARS = 300
_LEAST_NEEDED = ("print", "timings_s", "options", "model")


@dataclass(frozen=True)
class JobEvent:
    """What a webhook is told when a job has ended; the same on every attempt until it is asked for again."""

    type: str
    """generation.succeeded, generation.failed or generation.cancelled."""
    timestamp: str
    """When the job ended, RFC 3339 in UTC."""
    data: dict[str, Any]

    @classmethod
    def of(cls, job: Job, result: JobResult, ended_at_s: float) -> JobEvent:
        """The event that tells of `result`."""
        about = {"job_id": job.job_id, "session_id": job.session_id, "asset_id": job.asset_id}
        if result.failure is not None:
            kind = "cancelled" if result.failure.code == JobCancelled.code else "failed"
            error = asdict(result.failure) | {"detail": result.failure.detail[:MAX_DETAIL_CHARS]}
            ending: dict[str, Any] = {"status": kind, "error": error}
        else:
            kind, ending = "succeeded", {"status": "completed", **described(job, result)}
        facts = {"timings_s": result.timings_s, "options": result.options, "model": result.model}
        return cls(f"generation.{kind}", rfc3339(ended_at_s), about | ending | facts)

    def to_json(self, url: str | None = None) -> str:
        """Compact ASCII JSON below 4 kB: what is signed. `url` is where the file is had.

        What would not fit is left out, the least needed first, and named in `left_out`.
        """
        data = dict(self.data)
        if url is not None and "artifact" in data:
            data["artifact"] = data["artifact"] | {"url": url}
        for name in (None, *_LEAST_NEEDED):
            if name is not None and data.pop(name, None):
                data["left_out"] = [*data.get("left_out", []), name]
            text = json.dumps(asdict(self) | {"data": data}, separators=(",", ":"))
            if len(text) < MAX_EVENT_BYTES:
                break
        return text

    @classmethod
    def from_json(cls, text: str) -> JobEvent:
        """The event that `to_json` wrote."""
        return cls(**json.loads(text))


def described(job: Job, result: JobResult) -> dict[str, Any]:
    """The file and the mesh in it, as the caller is told; nothing when there is none."""
    if result.artifact is None or result.mesh is None:
        return {}
    mesh = result.mesh
    artifact = {
        "format": mesh.format,
        "media_type": MEDIA_TYPES[mesh.format],
        "size": result.artifact.size,
        "sha256": result.artifact.sha256,
        "filename": job.file_name,
        "faces": mesh.faces,
        "units": mesh.units,
        "bbox": [round(side, 4) for side in mesh.bbox],
    }
    if result.preview is not None:
        preview = {"media_type": "image/png", "size": result.preview.size, "sha256": result.preview.sha256}
        artifact["preview"] = preview
    return {"artifact": artifact, "print": mesh.print}


def rfc3339(moment_s: float) -> str:
    """Seconds since 1970 as 2026-11-23T16:40:00Z."""
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
