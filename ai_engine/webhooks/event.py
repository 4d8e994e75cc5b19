"""The webhook event of a job that has ended: one JSON object, small and the same on every attempt. Sends nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from ai_engine.errors import JobCancelled
from ai_engine.facts import MEDIA_TYPES
from ai_engine.job import Job, rfc3339
from ai_engine.stage_result import JobResult
from ai_engine.webhooks.event_schema import ArtifactFacts, FileFacts, GcodeFile, PictureFacts
from ai_engine.webhooks.upload import UploadFacts

MAX_EVENT_BYTES = 4096
MAX_DETAIL_CHARS = 300
_LEAST_NEEDED = ("print", "timings_s", "options", "cutout", "cutouts", "model", "gcode", "artifacts")


@dataclass(frozen=True)
class EventText:
    """An event as it is sent: written once, for the signature, the body and the headers."""

    text: str
    """Compact ASCII JSON below 4 kB: what is signed."""
    data: Mapping[str, Any]
    """What `data` is in it."""


@dataclass(frozen=True)
class JobEvent:
    """The webhook event of a job that has ended; the same on every attempt until a redelivery is asked for."""

    type: str
    """generation.succeeded, generation.failed or generation.cancelled."""
    timestamp: str
    """When the job ended, RFC 3339 in UTC."""
    data: dict[str, Any]

    @classmethod
    def of(cls, job: Job, result: JobResult, ended_at_s: float) -> JobEvent:
        """The event for `result`."""
        about = {"job_id": job.job_id, "session_id": job.session_id, "asset_id": job.asset_id}
        if job.variant_of is not None:
            about["variant_of"] = job.variant_of
        if result.failure is not None:
            kind = "cancelled" if result.failure.code == JobCancelled.code else "failed"
            error = asdict(result.failure) | {"detail": result.failure.detail[:MAX_DETAIL_CHARS]}
            ending: dict[str, Any] = {"status": kind, "error": error}
        else:
            kind, ending = "succeeded", {"status": "completed", **_describe(job, result)}
        cutout: dict[str, Any] = {"cutout": asdict(result.cutout)} if result.cutout else {}
        if result.cutouts:
            cutout = {"cutouts": {view: asdict(facts) for view, facts in result.cutouts.items()}}
        options = result.options.to_dict() if result.options else {}
        facts = {"timings_s": result.timings_s, "options": options, "model": result.model}
        return cls(f"generation.{kind}", rfc3339(ended_at_s), about | ending | cutout | facts)

    def write(
        self,
        url: str | None = None,
        *,
        urls: Mapping[str, str] = MappingProxyType({}),
        upload: UploadFacts | None = None,
    ) -> EventText:
        """The event as it is sent; `url` is where the file is had, `urls` by filename where all files are.

        What would not fit is left out, the least needed first, and named in `left_out`.
        """
        data = dict(self.data)
        if url is not None and "artifact" in data:
            data["artifact"] = data["artifact"] | {"url": url}
        if urls and "artifacts" in data:
            data["artifacts"] = [file | {"url": urls[file["filename"]]} for file in data["artifacts"]]
        if urls and "gcode" in data:
            data["gcode"] = data["gcode"] | {"url": urls[data["gcode"]["filename"]]}
        if upload is not None:
            data["upload"] = asdict(upload)
        for name in (None, *_LEAST_NEEDED):
            if name is not None and data.pop(name, None):
                data["left_out"] = [*data.get("left_out", []), name]
            text = json.dumps(asdict(self) | {"data": data}, separators=(",", ":"))
            if len(text) < MAX_EVENT_BYTES:
                break
        return EventText(text, data)

    def to_json(self) -> str:
        """The event as the job engine keeps it: `write` without a link."""
        return self.write().text

    @classmethod
    def from_json(cls, text: str) -> JobEvent:
        """The event that `to_json` wrote."""
        return cls(**json.loads(text))


def _describe(job: Job, result: JobResult) -> dict[str, Any]:
    artifact = artifact_facts(job, result)
    if artifact is None or result.mesh is None:
        return {}
    files = [file.model_dump(mode="json", exclude_none=True) for file in file_facts(job, result)]
    gcode = gcode_file(job, result)
    return {
        "artifact": artifact.model_dump(mode="json", exclude_none=True),
        **({"artifacts": files} if len(files) > 1 else {}),
        **({"gcode": gcode.model_dump(mode="json", exclude_none=True)} if gcode else {}),
        "print": asdict(result.mesh.print),
    }


def file_facts(job: Job, result: JobResult) -> list[FileFacts]:
    """The mesh file in each format as callers read them, without links; none when there is no mesh."""
    found = [(one, result.file(one)) for one in job.formats]
    return [
        FileFacts(format=one, size=file.size, sha256=file.sha256, filename=job.file_name_in(one))
        for one, file in found
        if file is not None
    ]


def gcode_file(job: Job, result: JobResult) -> GcodeFile | None:
    """The G-code as callers read it, without a link; None when there is none."""
    found = result.gcode
    if found is None:
        return None
    return GcodeFile(size=found.size, sha256=found.sha256, filename=job.file_name_in("gcode"))


def artifact_facts(job: Job, result: JobResult) -> ArtifactFacts | None:
    """The mesh file and its picture as callers read them, without links; None when there is no mesh."""
    if result.artifact is None or result.mesh is None:
        return None
    mesh, preview = result.mesh, result.preview
    x, y, z = mesh.bbox
    return ArtifactFacts(
        format=mesh.format,
        media_type=MEDIA_TYPES[mesh.format],
        size=result.artifact.size,
        sha256=result.artifact.sha256,
        filename=job.file_name_in(job.format),
        faces=mesh.faces,
        units=mesh.units,
        bbox=(round(x, 4), round(y, 4), round(z, 4)),
        preview=PictureFacts(media_type="image/png", size=preview.size, sha256=preview.sha256)
        if preview
        else None,
    )
