"""The vocabulary of a job: what is asked for, and how far it is. Values only: no HTTP, database, file or tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from ai_engine import facts
from ai_engine.facts import VIEWS, CutOutFacts, DecodeFacts, DecodeMode, MeshFormat, Sampler, ViewName
from ai_engine.stage import Stage
from ai_engine.wishes.print_options import PrintOptions

CallerId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:\-]{1,128}$")]
RemoveBackground = Literal["auto", "always", "never"]
WebhookFormat = Literal["multipart", "binary", "link"]


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


JobKind = Literal["generation", "variant", "mesh_check"]
Progress = Callable[[Stage, int, int], None]
"""Called as `progress(stage, done, total)` between two steps of a stage; raises a JobError to stop there."""


@dataclass(frozen=True)
class JobOptions:
    """What the shape model is asked for; None is the model's own value."""

    seed: int
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    octree_resolution: int = 256
    """Cells per side."""
    mc_level: float | None = None
    num_chunks: int | None = None
    """Points asked of the field in one call."""
    bounds: float | None = None
    """Half the side of the cube that is searched, in model units."""
    decode_mode: DecodeMode = "strict"
    sampler: Sampler = "euler"
    network_calls: int | None = None
    """How often the denoiser is asked about the picture: as used, never asked for."""


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
class CutOut:
    """A cut-out that was made: its file and its facts."""

    artifact: Artifact
    facts: CutOutFacts

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> CutOut:
        """The cut-out that `dataclasses.asdict` and JSON made plain values of."""
        return cls(Artifact(**fields["artifact"]), CutOutFacts.from_dict(fields["facts"]))


@dataclass(frozen=True)
class PictureSource:
    """A picture and how its object is found: what the stages need that make a cut-out."""

    entry_id: str
    """Of the job, or of what else has files in the store."""
    image_url: str | None
    image: Artifact | None
    mask_url: str | None
    mask: Artifact | None
    matting_model: str | None
    remove_background: RemoveBackground
    cut_out: CutOut | None = None
    """One that was made before: there is nothing to do."""
    view: ViewName | None = None
    """The side of the object that it shows; None where there is one picture."""

    def file_name(self, name: str) -> str:
        """The name in the store of one of its files."""
        return name if self.view is None else f"{self.view}-{name}"

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> PictureSource:
        """The source that `dataclasses.asdict` and JSON made plain values of."""
        files = {name: Artifact(**fields[name]) if fields[name] else None for name in ("image", "mask")}
        return cls(**fields | files)


@dataclass(frozen=True)
class View:
    """One of several pictures of an object."""

    image_url: str | None
    """None when it came inside the request."""
    image: Artifact | None = None
    """The picture that came inside the request."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> View:
        """The view that `dataclasses.asdict` and JSON made plain values of."""
        return cls(fields["image_url"], Artifact(**fields["image"]) if fields["image"] else None)


@dataclass(frozen=True)
class DecodedShape:
    """What a variant begins with: its own copy of the mesh that the shape model gave to another job."""

    job_id: str
    """Of the other job."""
    mesh: Artifact
    """In model units, as it was decoded."""
    outline: Artifact | None
    """The cut-out that the shape was made from; of several views the first; None for a caller's own mesh."""
    model: facts.ModelLabel
    """The id and the licence of the shape model."""
    decode: DecodeFacts | None = None
    degraded: tuple[str, ...] = ()
    cutout: CutOutFacts | None = None
    cutouts: dict[ViewName, CutOutFacts] = field(default_factory=dict)
    mm_per_unit: float | None = None
    """Of a caller's own mesh whose file knows its unit."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> DecodedShape:
        """The shape that `dataclasses.asdict` and JSON made plain values of."""
        decode, cutout = fields["decode"], fields["cutout"]
        values = {
            "mesh": Artifact(**fields["mesh"]),
            "outline": Artifact(**fields["outline"]) if fields["outline"] else None,
            "decode": DecodeFacts.from_dict(decode) if decode else None,
            "degraded": tuple(fields["degraded"]),
            "cutout": CutOutFacts.from_dict(cutout) if cutout else None,
            "cutouts": {name: CutOutFacts.from_dict(one) for name, one in fields["cutouts"].items()},
        }
        return cls(**fields | values)


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
    """Of the request as it was checked: an idempotency key that comes with another one is refused."""
    print_options: PrintOptions = field(default_factory=PrintOptions)
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
    mask_url: str | None = None
    """Where the caller's mask is; None when it came inside the request, and when there is none."""
    mask: Artifact | None = None
    """The caller's mask that came inside the request."""
    matting_model: str | None = None
    """What finds the object; None: the service's own."""
    upload_headers: dict[str, str] = field(default_factory=dict)
    """Sent with that PUT, by lower-case name."""
    cut_out: CutOut | None = None
    """The one that the caller accepted before."""
    views: dict[ViewName, View] = field(default_factory=dict)
    """Several pictures of the object, in place of the one."""
    model: str | None = None
    """The shape model that is asked for, by its name in MODELS; None: the worker's first."""
    more_formats: tuple[MeshFormat, ...] = ()
    """Besides `format`: the mesh is written in each of them."""
    decoded: DecodedShape | None = None
    """Where the job is a variant of another: the mesh that it begins with."""
    mesh_url: str | None = None
    """Where a caller's own mesh is, which is finished in place of a picture's."""
    mesh: Artifact | None = None
    """A caller's own mesh that came inside the request."""
    pedestal: Artifact | None = None
    """The file of `base.mesh_url` where it came inside the request, or was fetched for an earlier job."""

    @property
    def kind(self) -> JobKind:
        """What it begins with."""
        if self.decoded is not None:
            return "variant"
        return "generation" if self.mesh_url is None and self.mesh is None else "mesh_check"

    @property
    def has_picture(self) -> bool:
        """True where a shape model made the mesh from a picture, for this job or for the one that it varies."""
        return self.decoded.outline is not None if self.decoded else self.kind == "generation"

    @property
    def formats(self) -> tuple[MeshFormat, ...]:
        """Those that the mesh is written in; the first is delivered."""
        return (self.format, *self.more_formats)

    @property
    def variant_of(self) -> str | None:
        """The id of the job whose mesh this one finishes again; None when it is no variant."""
        return self.decoded.job_id if self.decoded else None

    @property
    def sources(self) -> tuple[PictureSource, ...]:
        """The picture and how its object is found; one for each view, in the order of VIEWS, where there are views."""
        files = (self.image_url, self.image, self.mask_url, self.mask)
        one = PictureSource(self.job_id, *files, self.matting_model, self.remove_background, self.cut_out)
        shown = [(name, self.views[name]) for name in VIEWS if name in self.views]
        views = (replace(one, view=name, image_url=view.image_url, image=view.image) for name, view in shown)
        return tuple(views) or (one,)

    @property
    def has_delivery(self) -> bool:
        """True if the job has a webhook or an upload URL."""
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

    def file_name_in(self, file_format: MeshFormat | Literal["gcode"]) -> str:
        """The name of the file in that format, as the caller sees it."""
        return f"{self.asset_id}.{file_format}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Job:
        """The job that `to_dict` wrote."""
        values = {
            "options": JobOptions(**fields["options"]),
            "print_options": PrintOptions.from_dict(fields.get("print_options", {})),
            "cut_out": CutOut.from_dict(fields["cut_out"]) if fields.get("cut_out") else None,
            "more_formats": tuple(fields.get("more_formats", ())),
            "decoded": DecodedShape.from_dict(fields["decoded"]) if fields.get("decoded") else None,
            "views": {name: View.from_dict(view) for name, view in fields.get("views", {}).items()},
        }
        kept = {one: fields[one] for one in ("image", "mask", "mesh", "pedestal") if fields.get(one)}
        return cls(**fields | values | {name: Artifact(**file) for name, file in kept.items()})


def rfc3339(moment_s: float) -> str:
    """Seconds since 1970 as 2026-11-23T16:40:00Z."""
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
