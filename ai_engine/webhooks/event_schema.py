"""A webhook's event as the API document describes it: what `JobEvent` says, field by field. Sends nothing."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ai_engine.facts import CutOutFacts, DecodeMode, MeshFormat, ModelLabel, PrintFacts, Sampler, ViewName
from ai_engine.stage_result import JobFailure
from ai_engine.webhooks.upload import UploadFacts
from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.slicing import Slice

EventType = Literal["generation.succeeded", "generation.failed", "generation.cancelled", "webhook.test"]


class _Open(BaseModel):
    """More members may come in later versions: receivers ignore what they don't know."""

    model_config = ConfigDict(extra="allow")


class PictureFacts(_Open):
    """A picture of the mesh; `GET /jobs/{id}/preview.png` has it."""

    media_type: str
    size: int | None = Field(
        default=None, description="In bytes; null where the picture is drawn when it is first asked for."
    )
    sha256: str | None = Field(default=None, description="Null likewise.")
    url: str | None = None


class ArtifactFacts(_Open):
    """The mesh file."""

    format: MeshFormat
    media_type: str
    size: int = Field(description="In bytes.")
    sha256: str = Field(description="Of the whole file, 64 hex digits.")
    filename: str
    faces: int
    units: Literal["mm", "model"]
    bbox: tuple[float, float, float] = Field(description="Side lengths along x, y, z.")
    url: str | None = Field(
        default=None, description="Where it is had; in a webhook a signed link, where PUBLIC_URL is set."
    )
    preview: PictureFacts | None = Field(
        default=None, description="In an event only where `thumbnail` had it drawn before."
    )


class FileFacts(_Open):
    """The mesh in one format."""

    format: MeshFormat
    size: int = Field(description="In bytes.")
    sha256: str = Field(description="Of the whole file, 64 hex digits.")
    filename: str
    url: str | None = Field(default=None, description="Where it is had, as that of `artifact`.")


class GcodeFile(_Open):
    """What the slicer made of the mesh."""

    size: int = Field(description="In bytes.")
    sha256: str = Field(description="Of the whole file, 64 hex digits.")
    filename: str
    url: str | None = Field(default=None, description="Where it is had, as that of `artifact`.")


class OptionsFacts(_Open):
    """The options as used: what the request asked for, with everything that was left open filled in."""

    seed: int | None = Field(default=None, description="As given, or as drawn.")
    num_inference_steps: int | None = Field(default=None, description="Steps from noise to shape.")
    sampler: Sampler | None = Field(
        default=None, description="euler: the published steps. adams: the two-step method."
    )
    network_calls: int | None = Field(
        default=None,
        description="How often the denoiser is asked about the picture; null until that is known.",
    )
    guidance_scale: float | None = Field(default=None, description="How closely the picture is followed.")
    octree_resolution: int | None = Field(default=None, description="Cells per side.")
    mc_level: float | None = Field(default=None, description="The value of the field at the surface.")
    num_chunks: int | None = Field(default=None, description="Points asked of the field in one call.")
    bounds: float | None = Field(default=None, description="Half the side of the cube that is searched.")
    decode_mode: DecodeMode | None = None
    height_mm: float | None = Field(
        default=None,
        description="Null: raw model units, Y up; of a caller's own mesh in millimetres its own height.",
    )
    flat_base: bool | None = None
    target_faces: int | None = None
    max_bytes: int | None = Field(default=None, description="Of the file.")
    require_printable: bool | None = None
    thumbnail: bool | None = Field(default=None, description="The picture was drawn before the delivery.")
    hollow: Hollow | None = None
    base: Base | None = None
    attach: Attach | None = None
    slice: Slice | None = None
    degraded: list[str] | None = Field(
        default=None, description="What was lowered because the device's memory ran short."
    )


class EventData(_Open):
    """What the event is about."""

    job_id: str
    session_id: str
    asset_id: str
    status: Literal["completed", "failed", "cancelled", "test"]
    variant_of: str | None = Field(
        default=None,
        description="The job_id of the job whose mesh this one finishes again; absent in others.",
    )
    artifact: ArtifactFacts | None = None
    artifacts: list[FileFacts] | None = Field(
        default=None, description="The files in all formats, the first included, where there are several."
    )
    gcode: GcodeFile | None = Field(default=None, description="Where the request asked for `slice`.")
    cutout: CutOutFacts | None = Field(
        default=None, description="Where the object's outline comes from, and what is suspicious about it."
    )
    cutouts: dict[ViewName, CutOutFacts] | None = Field(
        default=None, description="The same of each of several views, in place of `cutout`."
    )
    print: PrintFacts | None = Field(default=None, description="What a slicer will find.")
    error: JobFailure | None = None
    upload: UploadFacts | None = Field(
        default=None, description="What became of the upload; absent where the request named no `upload_url`."
    )
    timings_s: dict[str, float] | None = Field(default=None, description="Seconds per stage.")
    options: OptionsFacts | None = None
    model: ModelLabel | None = Field(default=None, description="Its id and its licence.")
    left_out: list[str] | None = Field(
        default=None, description="Members that would have made the event larger than 4 kB."
    )


class WebhookEvent(_Open):
    """What is signed: compact ASCII JSON below 4 kB."""

    type: EventType
    timestamp: str = Field(description="When the job ended, RFC 3339 in UTC.")
    data: EventData
