"""Records the ends of jobs and deliveries in their indexes, the counters and the traces."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from ai_engine.job import Job, JobStatus
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.delivery_index import DeliveryIndex
from ai_engine.job_queue.job_index import JobIndex
from ai_engine.monitoring.counters import Counters
from ai_engine.monitoring.job_metrics import JobMetrics
from ai_engine.monitoring.tracing import NoTracer, Tracer
from ai_engine.settings import Settings
from ai_engine.stage_result import JobResult

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recorder:
    """What one worker records with."""

    index: JobIndex
    deliveries: DeliveryIndex
    job_metrics: JobMetrics
    tracer: Tracer

    def close_job(self, job: Job, status: JobStatus, result: JobResult, ended_at_s: float) -> None:
        """Counts and traces the end of a job; a second call for the same job changes nothing."""
        if self.job_metrics.count_job(job.job_id, status, result):
            self.tracer.job(job, status, result, ended_at_s)


def open_recorder(settings: Settings, database: Database) -> Recorder:
    """The recorder, in the job database."""
    tables = JobIndex(database), DeliveryIndex(database), JobMetrics(Counters(database))
    return Recorder(*tables, open_tracer(settings))


def open_tracer(settings: Settings) -> Tracer:
    """What records the spans of this process, as the settings say."""
    endpoint = settings.otel_exporter_otlp_endpoint
    if endpoint is None:
        return NoTracer()
    try:
        from ai_engine.monitoring.otel import otlp_tracer
    except ImportError:
        logger.warning("no traces are sent: pip install -r requirements-otel.txt")
        return NoTracer()
    return otlp_tracer(f"{endpoint.rstrip('/')}/v1/traces")
