"""Jobs at a service, followed by polling: its list has also those that other programs began with the same key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ai_engine.api.request_schema import JobRequest
from ai_engine.assistants.mesh_jobs import MeshJob, Step, write_files
from ai_engine.engine.generated import Pictures
from ai_engine.engine.remote import RemoteEngine
from ai_engine.job import JobStatus

LOOK_EVERY_S = 0.5
OF_MESH = ("format", "faces", "units", "bbox")


@dataclass
class JobsThere:
    """The jobs of one key at a service."""

    engine: RemoteEngine
    look_every_s: float = LOOK_EVERY_S
    _files: dict[str, Path] = field(default_factory=dict)
    """Where the meshes of this session's jobs are to lie."""
    _steps: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    """What was seen of each job."""
    _written: set[str] = field(default_factory=set)
    """The jobs whose mesh lies there."""

    def begin(self, request: JobRequest, pictures: Pictures, file: Path) -> str:
        """The id of a new job; raises ServerRefused if the service does not take it."""
        job_id = self.engine.begin(request, pictures)
        self._files[job_id] = file
        return job_id

    def look(self, job_id: str) -> MeshJob:
        """The job as it stands; the mesh of one of this session is written once it is there.

        Raises:
            ServerRefused: it is not there for this key, or the service can't be asked.
            OSError: the file can't be written.
        """
        job = self.engine.job(job_id)
        steps, latest = self._steps.get(job_id, ()), Step(job["stage"], job["progress"])
        if latest not in steps[-1:]:
            steps = self._steps[job_id] = (*steps, latest)
        file = self._files.get(job_id) if job["status"] == JobStatus.SUCCEEDED else None
        if file is not None and job_id not in self._written:
            write_files(file, self.engine.mesh(job), self.engine.gcode(job))
            self._written.add(job_id)
        return MeshJob(
            *(job_id, job["asset_id"], JobStatus(job["status"]), steps),
            file=None if file is None else str(file),
            error=job["error"],
            facts=_facts(job),
        )

    def cancel(self, job_id: str) -> None:
        """Stops a job that waits or runs; raises ServerRefused if it is not there for this key."""
        self.engine.cancel(job_id)

    def latest(self, status: JobStatus | None, limit: int) -> list[dict[str, Any]]:
        """The latest jobs of the key, newest first; raises ServerRefused if the service can't be asked."""
        wanted = {} if status is None else {"status": status.value}
        found: list[dict[str, Any]] = self.engine.jobs(limit=limit, **wanted)["jobs"]
        return found

    def close(self) -> None:
        """Lets the jobs go on at the service."""


def _facts(job: dict[str, Any]) -> dict[str, Any]:
    if job["artifact"] is None:
        return {}
    facts = {"seed": job["options"]["seed"], "model": job["model"], "timings_s": job["timings_s"]}
    return facts | {name: job["artifact"][name] for name in OF_MESH} | {"print": job["print"]}
