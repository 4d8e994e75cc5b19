"""A webhook's event as the API document describes it: what `JobEvent` says, field by field. Sends nothing."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ai_engine.job import MeshFormat

EventType = Literal["generation.succeeded", "generation.failed", "generation.cancelled", "webhook.test"]


class _Open(BaseModel):
    """More members may come in later versions: receivers ignore what they don't know."""

    model_config = ConfigDict(extra="allow")


class PictureFacts(_Open):
    """A picture of the mesh; `GET /jobs/{id}/preview.png` has it."""

    media_type: str
    size: int = Field(description="In bytes.")
    sha256: str
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
    bbox: list[float] = Field(min_length=3, max_length=3, description="Side lengths along x, y, z.")
    url: str | None = Field(
        default=None, description="Where it is had; in a webhook a signed link, where PUBLIC_URL is set."
    )
    preview: PictureFacts | None = None


class ErrorFacts(_Open):
    """Why a job ended without a mesh."""

    code: str = Field(description="Stable; gpu_out_of_memory, image_invalid, ...")
    title: str
    detail: str = Field(description="One sentence.")
    stage: str
    retryable: bool = Field(description="Another try may help.")


class EventData(_Open):
    """What the event is about."""

    job_id: str
    session_id: str
    asset_id: str
    status: Literal["completed", "failed", "cancelled", "test"]
    artifact: ArtifactFacts | None = None
    print: dict[str, Any] | None = Field(default=None, description="What a slicer will find.")
    error: ErrorFacts | None = None
    timings_s: dict[str, float] | None = Field(default=None, description="Seconds per stage.")
    options: dict[str, Any] | None = Field(default=None, description="As used, with the seed drawn.")
    model: dict[str, str] | None = Field(default=None, description="Its id and its licence.")
    left_out: list[str] | None = Field(
        default=None, description="Members that would have made the event larger than 4 kB."
    )


class WebhookEvent(_Open):
    """What is signed: compact ASCII JSON below 4 kB."""

    type: EventType
    timestamp: str = Field(description="When the job ended, RFC 3339 in UTC.")
    data: EventData
