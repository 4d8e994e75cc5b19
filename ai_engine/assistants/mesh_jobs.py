"""Jobs as the tools over standard streams begin and follow them: what one is, and what carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ai_engine.api.request_schema import JobRequest
from ai_engine.engine.generated import Pictures, write_whole
from ai_engine.job import JobStatus

OVER = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


@dataclass(frozen=True)
class Step:
    """How far a job was."""

    stage: str
    progress: float
    """Of the whole job, 0 to 1."""


@dataclass(frozen=True)
class MeshJob:
    """A job as it stands."""

    job_id: str
    name: str
    """As the mesh is called."""
    status: JobStatus
    steps: tuple[Step, ...]
    """All that was heard of, one at least, the latest last."""
    file: str | None = None
    """Where the mesh lies, once it is written."""
    error: Mapping[str, Any] | None = None
    """`code` and `detail` of the failure."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Of the mesh that is there."""

    @property
    def is_over(self) -> bool:
        """True when nothing of it will change."""
        return self.status in OVER

    def as_dict(self) -> dict[str, Any]:
        """As a tool answers."""
        return {
            "job_id": self.job_id,
            "name": self.name,
            "status": self.status.value,
            "stage": self.steps[-1].stage,
            "progress": self.steps[-1].progress,
            "file": self.file,
            "error": None if self.error is None else dict(self.error),
            **self.facts,
        }


class UnknownJob(Exception):
    """No job has that id."""


class MeshJobs(Protocol):
    """What carries jobs out: models in this process, or a service."""

    look_every_s: float

    def begin(self, request: JobRequest, pictures: Pictures, file: Path) -> str:
        """The id of a new job, whose mesh is written to `file`; raises ServerRefused if a service does not take it."""

    def look(self, job_id: str) -> MeshJob:
        """The job as it stands; where it has succeeded its file is written.

        Raises:
            UnknownJob, ServerRefused: there is no such job, or the service can't be asked.
            OSError: the file can't be written.
        """

    def cancel(self, job_id: str) -> None:
        """Stops a job that waits or runs; raises as `look`."""

    def latest(self, status: JobStatus | None, limit: int) -> list[dict[str, Any]]:
        """The latest jobs, newest first; raises ServerRefused if a service can't be asked."""

    def close(self) -> None:
        """Stops what runs in this process."""


def gcode_path(file: Path) -> Path:
    """Where the G-code of the mesh in `file` lies."""
    return file.with_suffix(".gcode")


def write_files(file: Path, mesh: bytes, gcode: bytes | None) -> None:
    """Writes the mesh, and the G-code beside it where there is any, each whole or not at all; raises OSError."""
    write_whole(file, mesh)
    if gcode is not None:
        write_whole(gcode_path(file), gcode)
