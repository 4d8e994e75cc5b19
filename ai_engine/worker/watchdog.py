"""Watches the stages at work. One that hangs, or whose device broke, costs its own job and a restart, nothing else.

    a stage goes on, silent, for GRACE after its job was cancelled      the job stays cancelled
    a stage goes on, silent, for GRACE after its job's time was over    the job ends as generation_timeout
    a GPU gives no sign of life for SILENCE                             the job ends as generation_timeout
    the device broke (CUDA fault)                                       the job is begun again once, then worker_lost

A thread can't be ended from outside, so the whole process leaves and is started again. Knows no database and no
process: `Exits` does the leaving.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ai_engine.errors import GenerationTimeout, JobError, WorkerLost
from ai_engine.logs import event
from ai_engine.stage import Stage

HUNG_STATUS = 71
"""Exit status of a worker that left because a stage hung."""
DEVICE_FAULT_STATUS = 72
"""Exit status of a worker that left because its device broke."""
MAX_DEVICE_FAULTS = 2
"""A job in whose hands the device broke so often is not begun again."""
LOOKS_PER_GRACE = 10
ON_DEVICE = (Stage.DENOISE, Stage.DECODE)

logger = logging.getLogger(__name__)


class Exits(Protocol):
    """What the watchdog needs done."""

    def find_cancelled(self, job_ids: Sequence[str]) -> Mapping[str, float]:
        """Those of the jobs that were cancelled, and when, in seconds since 1970."""

    def count_device_fault(self, job_id: str) -> int:
        """Notes that the device broke while it had this job; how often that happened by now."""

    def leave(self, status: int, job_id: str, ending: JobError | None) -> None:
        """Ends this process. `job_id` ends with `ending` if there is one; all other jobs go on elsewhere."""


@dataclass
class Work:
    """A stage of a job, at work in this process."""

    job_id: str
    ends_at_s: float
    """When the job's time is over."""
    sign_at_s: float
    """Its last sign of life."""
    stage: Stage = Stage.QUEUE
    """Where that came from."""


class Watchdog:
    """Knows the stages at work and when each gave its last sign of life; all moments in seconds since 1970."""

    def __init__(
        self,
        exits: Exits,
        *,
        grace_s: float,
        silence_s: float | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._exits, self._clock = exits, clock
        self._grace_s, self._silence_s = grace_s, silence_s
        self._lock = threading.Lock()
        self._works: dict[str, Work] = {}

    def start(self) -> None:
        """Looks now and then, as long as the process lives."""
        threading.Thread(target=self._keep_looking, name="watchdog", daemon=True).start()

    @contextmanager
    def watching(self, job_id: str, ends_at_s: float) -> Iterator[None]:
        """A stage of the job is at work while the block runs."""
        with self._lock:
            self._works[job_id] = Work(job_id, ends_at_s, self._clock())
        try:
            yield
        finally:
            with self._lock:
                self._works.pop(job_id, None)

    def sign(self, job_id: str, stage: Stage) -> None:
        """The job's stage lives."""
        with self._lock:
            work = self._works.get(job_id)
            if work is not None:
                work.sign_at_s, work.stage = self._clock(), stage

    def device_broke(self, job_id: str, detail: str) -> None:
        """Leaves: nothing works on a broken device, and only a new process gets it back."""
        count = self._exits.count_device_fault(job_id)
        event(
            logger,
            "the device broke; leaving",
            level=logging.CRITICAL,
            job_id=job_id,
            detail=detail,
            count=count,
        )
        is_last = count >= MAX_DEVICE_FAULTS
        ending = WorkerLost("The device failed each time it had this job.", stage=Stage.DENOISE)
        self._exits.leave(DEVICE_FAULT_STATUS, job_id, ending if is_last else None)

    def look(self) -> None:
        """Leaves when a stage hangs."""
        with self._lock:
            works = list(self._works.values())
        now = self._clock()
        silent = [work for work in works if now - work.sign_at_s > self._grace_s]
        if not silent:
            return
        cancelled = self._exits.find_cancelled([work.job_id for work in silent])
        for work in silent:
            if self._hangs_cancelled(work, cancelled.get(work.job_id), now):
                self._leave(work, None, now)
            elif (ending := self._overdue(work, now)) is not None:
                self._leave(work, ending, now)

    def _hangs_cancelled(self, work: Work, cancelled_at_s: float | None, now: float) -> bool:
        return cancelled_at_s is not None and now - cancelled_at_s > self._grace_s

    def _overdue(self, work: Work, now: float) -> JobError | None:
        if now - work.ends_at_s > self._grace_s:
            return GenerationTimeout(
                "The job's time was over, and its stage did not answer.", stage=work.stage
            )
        is_silent = self._silence_s is not None and now - work.sign_at_s > self._silence_s
        if is_silent and work.stage in ON_DEVICE:
            return GenerationTimeout("The device gave no sign of life any more.", stage=work.stage)
        return None

    def _leave(self, work: Work, ending: JobError | None, now: float) -> None:
        event(
            logger,
            "a stage hangs; leaving",
            level=logging.CRITICAL,
            job_id=work.job_id,
            stage=str(work.stage),
            silent_s=round(now - work.sign_at_s, 1),
        )
        self._exits.leave(HUNG_STATUS, work.job_id, ending)

    def _keep_looking(self) -> None:
        while True:
            time.sleep(self._grace_s / LOOKS_PER_GRACE)
            try:
                self.look()
            except Exception:
                # The database may be away for a while; the next look comes anyway.
                logger.exception("could not look after the stages at work")
