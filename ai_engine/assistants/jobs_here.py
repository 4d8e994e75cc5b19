"""Jobs of one session in this process, one after the other: the device takes one at a time."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ai_engine.api.request_schema import JobRequest
from ai_engine.assistants.mesh_jobs import MeshJob, Step, UnknownJob, write_files
from ai_engine.engine.engine import Backend
from ai_engine.engine.generated import Generated, GenerationFailed, Pictures
from ai_engine.errors import JobError
from ai_engine.job import JobStatus
from ai_engine.stage import Stage, overall_progress

LOOK_EVERY_S = 0.05


class _Stopped(Exception):
    """Raised between two steps of a job that was cancelled."""


@dataclass
class _Running:
    """A job, which the thread of the device changes and others look at."""

    job: MeshJob
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass
class JobsHere:
    """The jobs of this session."""

    engine: Backend
    look_every_s: float = LOOK_EVERY_S
    _jobs: dict[str, _Running] = field(default_factory=dict)
    _device: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "device"))

    def begin(self, request: JobRequest, pictures: Pictures, file: Path) -> str:
        """The id of a new job, which waits for those before it."""
        job_id = uuid.uuid4().hex
        first = (Step(Stage.QUEUE.value, 0.0),)
        running = self._jobs[job_id] = _Running(MeshJob(job_id, request.asset_id, JobStatus.QUEUED, first))
        self._device.submit(self._run, running, request, pictures, file)
        return job_id

    def look(self, job_id: str) -> MeshJob:
        """The job as it stands; raises UnknownJob."""
        return self._find(job_id).job

    def cancel(self, job_id: str) -> None:
        """Stops a job that waits, or that runs, before its next step; raises UnknownJob."""
        self._find(job_id).stop.set()

    def latest(self, status: JobStatus | None, limit: int) -> list[dict[str, Any]]:
        """The latest jobs of this session, newest first."""
        jobs = [running.job for running in reversed(self._jobs.values())]
        return [job.as_dict() for job in jobs if status in (None, job.status)][:limit]

    def close(self) -> None:
        """Stops all jobs and waits for that."""
        for running in self._jobs.values():
            running.stop.set()
        self._device.shutdown()

    def _find(self, job_id: str) -> _Running:
        if job_id not in self._jobs:
            raise UnknownJob(f"There is no job {job_id} in this session.")
        return self._jobs[job_id]

    def _run(self, running: _Running, request: JobRequest, pictures: Pictures, file: Path) -> None:
        def note(stage: str, done: int, total: int) -> None:
            if running.stop.is_set():
                raise _Stopped
            step = Step(stage, overall_progress(Stage(stage), done, total))
            running.job = replace(running.job, status=JobStatus.RUNNING, steps=(*running.job.steps, step))

        try:
            note(Stage.DOWNLOAD.value, 0, 1)
            made = self.engine.generate(request, pictures, note)
            write_files(file, made.data, made.gcode)
            made.release()
        except _Stopped:
            running.job = replace(running.job, status=JobStatus.CANCELLED)
        except Exception as error:  # of any kind, our own faults too: whoever waits hears of it
            said = {"code": _code(error), "detail": str(error)}
            running.job = replace(running.job, status=JobStatus.FAILED, error=said)
        else:
            running.job = replace(
                running.job,
                status=JobStatus.SUCCEEDED,
                steps=(*running.job.steps, Step(Stage.FINISH.value, 1.0)),
                file=str(file),
                facts=_facts(made),
            )


def _facts(made: Generated) -> dict[str, Any]:
    """What is known of a mesh, as a tool answers."""
    return {"seed": made.seed, "model": made.model, "timings_s": made.timings_s} | asdict(made.facts)


def _code(error: Exception) -> str:
    if isinstance(error, GenerationFailed):
        return error.failure.code
    return error.code if isinstance(error, JobError) else "failed"
