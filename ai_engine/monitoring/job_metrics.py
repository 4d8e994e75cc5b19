"""Job metrics, their names and histogram buckets: the one list that writers and readers of numbers share.

Counting never harms what it counts: a database that is away costs a number, not a job.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ai_engine.errors import GpuOutOfMemory
from ai_engine.job import JobStatus
from ai_engine.monitoring.counters import Counters, Figure, WorkerFigures
from ai_engine.stage import Stage
from ai_engine.stage_result import JobResult

JOBS = "jobs"
MODEL_JOBS = "model_jobs"
MODEL_SECONDS = "model_seconds"
STAGE_SECONDS_SUM = "stage_seconds_sum"
STAGE_SECONDS_BUCKET = "stage_seconds_bucket"
OUT_OF_MEMORY = "out_of_memory"
DELIVERIES = "deliveries"
DELIVERIES_POSTPONED = "deliveries_postponed"
TAKEOVERS = "takeovers"
REFUSALS = "requests_refused"
BUCKETS_S = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
"""Upper bounds of the buckets that stages' seconds fall into; what takes longer falls into the last, without one."""
NO_BOUND = "+Inf"

ON_DEVICE = (Stage.DENOISE, Stage.DECODE)

logger = logging.getLogger(__name__)


class JobMetrics:
    """Counts for one process."""

    def __init__(self, figures: Counters) -> None:
        self._figures = figures

    def count_job(self, job_id: str, status: JobStatus, result: JobResult) -> bool:
        """Counts how a job ended, once however often it is reported; True if it was counted now."""
        try:
            return self._figures.add_once(job_id, of_job(status, result))
        except Exception:
            logger.exception("the end of a job could not be counted")
            return False

    def count_delivery(self, result: str) -> None:
        """Counts an attempt to deliver: accepted, failed, or dead, when no attempt follows."""
        self._add({Figure.of(DELIVERIES, result=result): 1})

    def count_postponed(self, owner: str | None) -> None:
        """Counts an attempt that went behind others because its host was slow lately."""
        self._add({Figure.of(DELIVERIES_POSTPONED, owner=owner or ""): 1})

    def count_taken_over(self, num_jobs: int) -> None:
        """Counts jobs that this worker took from a dead one."""
        if num_jobs:
            self._add({Figure.of(TAKEOVERS): num_jobs})

    def worker(self, figures: WorkerFigures) -> None:
        """Notes how a worker's device fares."""
        try:
            self._figures.put_worker(figures)
        except Exception:
            logger.exception("the worker's figures could not be noted")

    def _add(self, amounts: Mapping[Figure, float]) -> None:
        try:
            self._figures.add(amounts)
        except Exception:
            logger.exception("something could not be counted")


def of_job(status: JobStatus, result: JobResult) -> Mapping[Figure, float]:
    """What one finished job adds to the numbers."""
    code = result.failure.code if result.failure else ""
    amounts = {Figure.of(JOBS, outcome=status.value, code=code): 1.0}
    for stage, seconds in result.timings_s.items():
        amounts[Figure.of(STAGE_SECONDS_SUM, stage=stage)] = seconds
        amounts[Figure.of(STAGE_SECONDS_BUCKET, stage=stage, le=_bucket(seconds))] = 1
    if "id" in result.model:
        model, device_s = result.model["id"], (result.timings_s.get(one, 0.0) for one in ON_DEVICE)
        amounts[Figure.of(MODEL_JOBS, model=model, outcome=status.value)] = 1
        amounts[Figure.of(MODEL_SECONDS, model=model)] = sum(device_s)
    times_short = (len(result.options.degraded) if result.options else 0) + (code == GpuOutOfMemory.code)
    return amounts | ({Figure.of(OUT_OF_MEMORY): times_short} if times_short else {})


def _bucket(seconds: float) -> str:
    return next((str(bound) for bound in BUCKETS_S if seconds <= bound), NO_BOUND)
