"""One execution of a job: finished stages are remembered, progress goes to the job's stream."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dbos import DBOS, StepOptions, WorkflowSerializationFormat, WorkflowStatus
from dbos import error as dbos_error
from dbos._context import get_local_dbos_context
from dbos._dbos import _get_dbos_instance

from ai_engine.errors import (
    DeviceFault,
    GenerationTimeout,
    InternalError,
    JobCancelled,
    JobError,
)
from ai_engine.job import Job
from ai_engine.job_queue.dbos_setup import EARLIER_STEPS, PROGRESS
from ai_engine.job_queue.entries import EngineStatus
from ai_engine.logs import event
from ai_engine.monitoring.tracing import Trace, Tracer
from ai_engine.pipeline.lanes import Claim
from ai_engine.stage import Stage
from ai_engine.stage_result import StageResult
from ai_engine.worker.handover import check_ending
from ai_engine.worker.stage_attempts import CrashAttempts
from ai_engine.worker.watchdog import Watchdog

PROGRESS_EVERY_S = 0.25
DOWNLOADING = "downloading"
"""Where the engine counts a job that takes no place of its queue; there is no queue of this name."""

logger = logging.getLogger(__name__)


class DurableRun:
    """One execution of a job: finished steps are remembered, progress goes to the job's stream."""

    def __init__(
        self, job: Job, began_at_s: float, max_tries: int, watchdog: Watchdog, tracer: Tracer
    ) -> None:
        self._job, self._watchdog, self._tracer = job, watchdog, tracer
        self._ends_at_s = began_at_s + job.timeout_s
        self._max_tries = max_tries
        self._tries: CrashAttempts | None = None
        """Of the stage at work; None before the first."""
        self._stage = Stage.QUEUE
        self._published_at = float("-inf")
        self.claim = Claim(job.owner, job.priority)

    def step(self, stage: Stage, work: Callable[[], StageResult]) -> StageResult:
        """What `work` gives back; from memory when it was finished in an earlier execution."""
        options = StepOptions(name=_step_name(self._job.job_id, stage))
        fields: dict[str, Any] = DBOS.run_step(options, self._work, stage, work)
        return StageResult.from_dict(fields)

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Publishes how far the stage is; DBOS raises here if the job was cancelled.

        Raises:
            GenerationTimeout: the job's time is over.
        """
        is_new_stage, self._stage = stage != self._stage, stage
        self._watchdog.sign(self._job.job_id, stage)
        self._check_time()
        if self._tries is not None:
            self._tries.count()
        now = time.monotonic()
        if is_new_stage or now - self._published_at >= PROGRESS_EVERY_S:
            self._published_at = now
            report_progress(stage, done, total)

    def waits(self) -> None:
        """Raises if the job that waits for its turn should stop.

        Raises:
            GenerationTimeout: the job's time is over.
            JobCancelled: it was cancelled.
        """
        job_id = self._job.job_id
        self._watchdog.sign(job_id, Stage.QUEUE)
        self._check_time()
        if DBOS.list_workflows(
            workflow_ids=[job_id], status=EngineStatus.CANCELLED, load_input=False, load_output=False
        ):
            raise JobCancelled("The job was cancelled.", stage=self._stage)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """While the block runs the engine counts this job in no queue, and claims another one in its place."""
        active, job_id = _get_dbos_instance()._active_workflows_set, self._job.job_id
        counted = active._m[job_id][-1]
        uncounted = active.add(job_id, DOWNLOADING)  # First, so that a worker that drains still sees it.
        active._remove(job_id, counted)
        try:
            yield
        finally:
            active.add(job_id, *(counted or ()))
            uncounted.release()

    def _check_time(self) -> None:
        if time.time() > self._ends_at_s:
            raise GenerationTimeout(f"The job took longer than {self._job.timeout_s:g} s.", stage=self._stage)

    def _work(self, stage: Stage, work: Callable[[], StageResult]) -> dict[str, Any]:
        job_id, began = self._job.job_id, time.monotonic()
        row = _row(job_id)
        check_ending(row)
        self._tries = CrashAttempts(row, stage, lambda: reported_stages(job_id))
        self._tries.check(self._max_tries)
        event(logger, "stage started", job_id=job_id, stage=stage)
        try:
            with (
                self._watchdog.watching(job_id, self._ends_at_s),
                self._tracer.span(stage, Trace.of(self._job)),
            ):
                result = work()
        except JobError as error:
            event(logger, "stage stopped", job_id=job_id, stage=stage, code=error.code)
            raise
        except DeviceFault as fault:
            self._watchdog.device_broke(job_id, str(fault))
            raise
        except Exception as error:
            logger.exception("stage broke", extra={"event_fields": {"job_id": job_id, "stage": stage}})
            raise InternalError(f"Something went wrong on our side; the log names job {job_id}.") from error
        seconds, lowered = round(time.monotonic() - began, 3), list(result.degraded) or None
        event(logger, "stage finished", job_id=job_id, stage=stage, seconds=seconds, lowered=lowered)
        return result.to_dict()


def _step_name(job_id: str, stage: Stage) -> str:
    """The name of the step that begins with `stage`: that of the version before where the job has it finished so."""
    earlier, context = EARLIER_STEPS.get(stage), get_local_dbos_context()
    if earlier is None or context is None:
        return stage
    history = _get_dbos_instance()._sys_db
    finished = history.get_checkpoint_name(workflow_id=job_id, function_id=context.function_id + 1)
    return earlier if finished == earlier else stage


def _row(job_id: str) -> WorkflowStatus:
    (row,) = DBOS.list_workflows(workflow_ids=[job_id], load_input=False, load_output=False)
    return row


def report_progress(stage: Stage, done: int, total: int) -> None:
    """Appends to the job's progress stream; DBOS stops a cancelled job here."""
    event_fields = {"stage": str(stage), "done": done, "total": total}
    DBOS.write_stream(PROGRESS, event_fields, serialization_type=WorkflowSerializationFormat.PORTABLE)


def reported_stages(job_id: str) -> set[str]:
    """The stages that the job went to work on, in this execution or an earlier one."""
    stages: set[str] = set()
    try:
        for progress in DBOS.read_stream(job_id, PROGRESS, timeout_seconds=0):
            stages.add(progress["stage"])
    except dbos_error.DBOSStreamTimeoutError:
        pass  # The stream of a job at work has no end yet.
    return stages
