"""`GET /metrics`: the numbers of the whole service in Prometheus' form, from the job database alone.

Any API process answers the same, whichever machine the workers are on; each adds what it refused.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from ai_engine import __version__
from ai_engine.delivery_tables.slow_hosts import SlowHosts
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.dbos_setup import (
    DELIVERY_QUEUES,
    JOB_QUEUES,
    SLOW_DELIVERY_QUEUE,
    is_job_queue,
    model_of,
)
from ai_engine.job_queue.worker_leases import Leases, WorkerLease, WorkerState
from ai_engine.job_queue.workflow_table import RUNNING, WAITING, OwnerDepth, QueueDepth, WorkflowTable
from ai_engine.monitoring import job_metrics as job_metrics
from ai_engine.monitoring.counters import Counters, Figure, WorkerFigures

Numbers = Mapping[Figure, float]


class Metrics(Collector):
    """Everything that is measured, read anew for each scrape."""

    def __init__(self, database: Database) -> None:
        self._rows = WorkflowTable(database)
        self._figures = Counters(database)
        self._leases = Leases(database)
        self._slow_hosts = SlowHosts(database, 0.0)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """The text and its media type, in the form that the scraper prefers."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type

    def add_refusals(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Adds requests that this process refused, by owner and code."""
        refused = {
            Figure.of(job_metrics.REFUSALS, owner=owner, code=code): number
            for (owner, code), number in counts.items()
        }
        if refused:
            self._figures.add(refused)

    def describe(self) -> Iterator[Metric]:
        """Nothing: the registry need not read the database once more just to learn the names."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """The numbers as they are now."""
        numbers = self._figures.all()
        yield InfoMetricFamily("ai_engine_build", "The service's version.", {"version": __version__})
        yield from _queues(self._rows.depths(), self._rows.num_delayed(DELIVERY_QUEUES))
        yield from _open_jobs(self._rows.by_owner(JOB_QUEUES))
        yield from _deliveries(self._rows.by_owner(DELIVERY_QUEUES), self._slow_hosts.count())
        yield from _jobs(numbers)
        yield from _models(numbers)
        yield _counter(
            numbers,
            job_metrics.REFUSALS,
            "requests_refused",
            "Requests answered 429 or 503, by API key and error code.",
            ("owner", "code"),
        )
        yield _stages(numbers)
        yield from _workers(self._leases.workers(), self._figures.workers())


def _queues(depths: Sequence[QueueDepth], num_delayed: int) -> Iterator[Metric]:
    found = {(depth.queue, depth.state): depth for depth in depths}

    def num(queue: str, state: str) -> int:
        depth = found.get((queue, state))
        return depth.num_entries if depth else 0

    def num_jobs(state: str) -> int:
        return sum(
            depth.num_entries for depth in depths if is_job_queue(depth.queue) and depth.state == state
        )

    yield _gauge("jobs_queued", "Jobs that wait for a worker.", num_jobs(WAITING))
    yield _gauge("jobs_running", "Jobs that a worker has.", num_jobs(RUNNING))
    waiting_jobs = (depth for depth in depths if is_job_queue(depth.queue) and depth.state == WAITING)
    oldest = min(waiting_jobs, key=lambda depth: depth.oldest_at_s, default=None)
    age_s = max(0.0, time.time() - oldest.oldest_at_s) if oldest else 0.0
    yield _gauge(
        "oldest_queued_job_age_seconds", "How long the oldest of the waiting jobs has waited.", age_s
    )
    waiting = sum(num(queue, WAITING) for queue in DELIVERY_QUEUES) + num_delayed
    yield _gauge("deliveries_waiting", "Attempts at a delivery that are due now or later.", waiting)


def _open_jobs(depths: Sequence[OwnerDepth]) -> Iterator[Metric]:
    """Whose jobs wait, and whose are worked on; and likewise of each shape model."""
    by_owner: Counter[tuple[str, str]] = Counter()
    by_model: Counter[tuple[str, str]] = Counter()
    for depth in depths:
        state = "running" if depth.state == RUNNING else "queued"
        by_owner[depth.owner, state] += depth.num_entries
        by_model[model_of(depth.queue) or "", state] += depth.num_entries
    for name, about, label, numbers in (
        ("ai_engine_jobs_open", "Jobs by API key: queued, or running.", "owner", by_owner),
        ("ai_engine_model_jobs_open", "Jobs by the shape model that they name: likewise.", "model", by_model),
    ):
        family = GaugeMetricFamily(name, about, labels=(label, "state"))
        for values, number in sorted(numbers.items()):
            family.add_metric(values, number)
        yield family


def _deliveries(depths: Sequence[OwnerDepth], slow_hosts: Mapping[str, int]) -> Iterator[Metric]:
    """Whose deliveries are due or being made, in which lane, and whose hosts are slow."""
    labels = ("owner", "lane", "state")
    family = GaugeMetricFamily(
        "ai_engine_deliveries_open",
        "Attempts at deliveries that are due: waiting for a place, or sending.",
        labels=labels,
    )
    open_ones: Counter[tuple[str, ...]] = Counter()
    for depth in depths:
        lane = "slow" if depth.queue == SLOW_DELIVERY_QUEUE else "usual"
        state = "sending" if depth.state == RUNNING else "waiting"
        open_ones[depth.owner, lane, state] += depth.num_entries
    for values, number in sorted(open_ones.items()):
        family.add_metric(values, number)
    yield family
    hosts = GaugeMetricFamily(
        "ai_engine_slow_hosts", "Hosts that lately let an attempt hang.", labels=["owner"]
    )
    for owner, number in sorted(slow_hosts.items()):
        hosts.add_metric([owner], number)
    yield hosts


def _models(numbers: Numbers) -> Iterator[Metric]:
    yield _counter(
        numbers,
        job_metrics.MODEL_JOBS,
        "model_jobs_ended",
        "Jobs by the id of the shape model that they had, and how they ended.",
        ("model", "outcome"),
    )
    yield _counter(
        numbers,
        job_metrics.MODEL_SECONDS,
        "model_device_seconds",
        "Seconds that the jobs of a shape model had a device.",
        ("model",),
    )


def _jobs(numbers: Numbers) -> Iterator[Metric]:
    yield _counter(
        numbers,
        job_metrics.JOBS,
        "jobs_ended",
        "Jobs by how they ended; code: the error's.",
        ("outcome", "code"),
    )
    yield _counter(
        numbers, job_metrics.OUT_OF_MEMORY, "out_of_memory", "Times that a device had not room enough."
    )
    yield _counter(
        numbers,
        job_metrics.DELIVERIES,
        "delivery_attempts",
        "Attempts at deliveries: accepted; failed, with another to follow; dead, with none.",
        ("result",),
    )
    yield _counter(
        numbers,
        job_metrics.DELIVERIES_POSTPONED,
        "deliveries_postponed",
        "Attempts that went behind others because their host was slow lately.",
        ("owner",),
    )
    dead = numbers.get(Figure.of(job_metrics.DELIVERIES, result="dead"), 0)
    yield CounterMetricFamily("ai_engine_dead_deliveries", "Deliveries that were given up.", value=dead)
    yield _counter(numbers, job_metrics.TAKEOVERS, "takeovers", "Jobs that a worker took from a dead one.")


def _stages(numbers: Numbers) -> Metric:
    family = HistogramMetricFamily(
        "ai_engine_stage_seconds", "Seconds per stage of finished jobs.", labels=["stage"]
    )
    bounds = [*map(str, job_metrics.BUCKETS_S), job_metrics.NO_BOUND]
    sums = {dict(figure.labels)["stage"]: value for figure, value in numbers.items()
            if figure.name == job_metrics.STAGE_SECONDS_SUM}  # fmt: skip
    for stage, total_s in sorted(sums.items()):
        so_far, buckets = 0.0, []
        for bound in bounds:
            so_far += numbers.get(Figure.of(job_metrics.STAGE_SECONDS_BUCKET, stage=stage, le=bound), 0)
            buckets.append((bound, so_far))
        family.add_metric([stage], buckets, sum_value=total_s)
    return family


def _workers(leases: Sequence[WorkerLease], device: Sequence[WorkerFigures]) -> Iterator[Metric]:
    alive = {lease.executor_id: lease for lease in leases if lease.is_alive}
    states = GaugeMetricFamily("ai_engine_workers", "Workers by state.", labels=["state"])
    for state in WorkerState:
        states.add_metric([state.value], sum(lease.state == state for lease in alive.values()))
    yield states
    busy_s = CounterMetricFamily(
        "ai_engine_worker_device_busy_seconds",
        "Seconds that jobs had the worker's device.",
        labels=["worker"],
    )
    share = GaugeMetricFamily(
        "ai_engine_worker_device_busy_share", "The same, as a share of the last minute.", labels=["worker"]
    )
    peak = GaugeMetricFamily(
        "ai_engine_worker_device_memory_peak_bytes",
        "The most device memory in use so far.",
        labels=["worker"],
    )
    for figures in device:
        lease = alive.get(figures.executor_id)
        if lease is None:
            continue
        busy_s.add_metric([lease.slot], figures.busy_s)
        share.add_metric([lease.slot], figures.busy_share)
        if figures.memory_peak_bytes is not None:
            peak.add_metric([lease.slot], figures.memory_peak_bytes)
    yield from (busy_s, share, peak)


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"ai_engine_{name}", about, value=value)


def _counter(numbers: Numbers, figure: str, name: str, about: str, labels: Sequence[str] = ()) -> Metric:
    """The counter of all numbers called `figure`; one without labels is there from the start, as 0."""
    family = CounterMetricFamily(f"ai_engine_{name}", about, labels=list(labels))
    for found, value in sorted(numbers.items()):
        if found.name == figure:
            kinds = dict(found.labels)
            family.add_metric([kinds[label] for label in labels], value)
    if not labels and not family.samples:
        family.add_metric([], 0)
    return family
