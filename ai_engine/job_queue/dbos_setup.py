"""DBOS set-up: names of workflows and queues, migrations, and the options each entry is queued with."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import sqlalchemy as sa
from dbos import DBOS, EnqueueOptions

from ai_engine.errors import InvalidField, NotReady, StartupError
from ai_engine.job import Job
from ai_engine.job_queue.database import Database, provide_unixepoch
from ai_engine.job_queue.entries import DELIVER, PREVIEW, EntryId
from ai_engine.settings import DEFAULT_MODEL, Settings
from ai_engine.stage import Stage
from ai_engine.webhooks.task import DeliveryTask

APPLICATION = "ai-engine"
APPLICATION_VERSION = "1"
"""Kept by hand, raised only when the sequence of a workflow's steps changes: a worker of another version leaves
the jobs of this one alone."""

EARLIER_STEPS = {Stage.DENOISE: "shape"}
"""The names that the version before gave to steps. Jobs that it began are finished under them."""

GENERATE = "generate"
CUT_OUT = "cut-out"
PIPELINE_QUEUE = "jobs"
DELIVERY_QUEUE = "delivery"
SLOW_DELIVERY_QUEUE = "slow-delivery"
"""Attempts at hosts that lately let one hang: they wait behind others, in places of their own."""
WEBHOOK_QUEUE = "webhook"
"""Where earlier versions queued deliveries; it is emptied, nothing new is put into it."""
DELIVERY_QUEUES = (DELIVERY_QUEUE, SLOW_DELIVERY_QUEUE, WEBHOOK_QUEUE)
EARLIER_JOB_QUEUE = "pipeline"
"""Where earlier versions queued jobs, without partitions; it is emptied, nothing new is put into it."""
EMPTIED_QUEUES = (WEBHOOK_QUEUE, EARLIER_JOB_QUEUE)
UNNAMED_JOB_QUEUES = (PIPELINE_QUEUE, EARLIER_JOB_QUEUE)
"""Of jobs that name no model: each worker takes them."""
VARIANT_QUEUE = "variants"
"""Of jobs that begin with a mesh, another one's or a caller's: they wait for no device, and any worker takes them."""
JOB_QUEUES = (*UNNAMED_JOB_QUEUES, VARIANT_QUEUE, f"{PIPELINE_QUEUE}.%")
"""Of jobs of all models, known here or not, as patterns of names: a % stands for any text."""
CUT_OUT_QUEUE = "cut-outs"
PREVIEW_QUEUE = "previews"
ON_DEMAND_QUEUES = (CUT_OUT_QUEUE, PREVIEW_QUEUE)
"""Brief work that a caller waits for."""
NO_OWNER = "/"
"""The partition of what no key asked for; no key has such a name."""
PROGRESS = "progress"
"""The stream of a job's progress events."""

MAX_CUT_OUTS_IN_FLIGHT = 3
"""Of one worker and owner: one is cut out while the others are downloaded."""
MAX_VARIANTS_IN_FLIGHT = 2
"""Of one worker and owner, as many as finish at once."""
MAX_PREVIEWS_IN_FLIGHT, MAX_PREVIEWS_PER_OWNER = 2, 1
"""Of one worker: a large mesh takes a processor for a second."""
_SLOW_PER_PARTITION = 1
_EMPTIED_POLL_S = 5.0
"""Least seconds between two polls of a queue that only empties: each poll is a few statements of the database."""
_SLOW_POLL_S = 1.0
"""The same of slow hosts' deliveries: they may take longer than the others."""
_FIRST_PRIORITY = 11
"""The engine counts priorities from 1; callers from -10."""


def pipeline_queue(model: str | None) -> str:
    """The queue of the jobs that name this model."""
    return PIPELINE_QUEUE if model is None else f"{PIPELINE_QUEUE}.{model}"


def queue_of(job: Job) -> str:
    """The queue that the job waits in."""
    return pipeline_queue(job.model) if job.kind == "generation" else VARIANT_QUEUE


def model_of(queue: str) -> str | None:
    """The model that the jobs of this queue name; None where they name none."""
    return queue.partition(".")[2] or None


def is_job_queue(queue: str) -> bool:
    """True for the queues of jobs, of whatever model."""
    return queue.partition(".")[0] in (*UNNAMED_JOB_QUEUES, VARIANT_QUEUE)


def served_queues(settings: Settings) -> tuple[str, ...]:
    """The queues whose jobs a worker takes: those of its models, of jobs that name none, and of variants."""
    return (
        *UNNAMED_JOB_QUEUES,
        VARIANT_QUEUE,
        *(pipeline_queue(place.name) for place in settings.served_models),
    )


def choose_model(wished: str | None, served: Sequence[str], settings: Settings) -> str | None:
    """The model of a job that wishes one: that, or the first of the settings that is served, or of the workers.

    None where all workers have MODEL_PATH's alone.

    Raises:
        InvalidField: no worker serves the one that is wished.
        NotReady: one is wished, and no worker has said yet which ones it serves.
    """
    own = [place.name for place in settings.served_models]
    names = list(dict.fromkeys(served)) or (own if settings.models else [])
    if wished is not None and not names:
        raise NotReady("No worker has said yet which models it serves.", retry_after_s=5)
    if wished is not None and wished not in names:
        raise InvalidField("model", f"served are: {', '.join(names)}", code="model_unknown")
    if wished is None and set(names) - {DEFAULT_MODEL}:
        return next((name for name in own if name in names), names[0])
    return wished


def open_database(settings: Settings) -> Database:
    """The job database, made or brought up to date first. Any process may come first.

    Raises:
        StartupError: it can't be reached or opened.
    """
    provide_unixepoch()
    try:
        if settings.sqlite_path is not None:
            _prepare_sqlite(settings.sqlite_path)
        DBOS.migrate(settings.jobs_database_url)
    except (sa.exc.DBAPIError, sqlite3.Error, OSError) as failure:
        reason = str(getattr(failure, "orig", None) or failure).strip().partition("\n")[0]
        raise StartupError(
            f"the job database {settings.shown_database_url} can't be opened: {reason}"
        ) from failure
    return Database(settings.jobs_database_url)


def _prepare_sqlite(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        # Readers and writers no longer wait for each other; the file remembers it. DBOS does not set it.
        connection.execute("PRAGMA journal_mode=WAL")


def register_queues(register: Callable[..., object], settings: Settings) -> None:
    """Makes the queues, or brings them up to date with the settings; `register` is DBOS's own function.

    The queues are partitioned by owner: a worker takes partitions in random order and few entries of each at once.
    """
    in_flight, slow = settings.deliveries_in_flight, settings.slow_deliveries_in_flight
    owners = settings.owners_in_flight
    per_host = min(settings.deliveries_per_host, settings.deliveries_per_owner, in_flight)
    sizes: dict[str, tuple[int, int | None]] = {
        **dict.fromkeys(served_queues(settings), (owners * settings.jobs_in_flight, settings.jobs_in_flight)),
        EARLIER_JOB_QUEUE: (settings.jobs_in_flight, None),
        VARIANT_QUEUE: (owners * MAX_VARIANTS_IN_FLIGHT, MAX_VARIANTS_IN_FLIGHT),
        CUT_OUT_QUEUE: (owners * MAX_CUT_OUTS_IN_FLIGHT, MAX_CUT_OUTS_IN_FLIGHT),
        PREVIEW_QUEUE: (MAX_PREVIEWS_IN_FLIGHT, MAX_PREVIEWS_PER_OWNER),
        DELIVERY_QUEUE: (in_flight, per_host),
        SLOW_DELIVERY_QUEUE: (slow, _SLOW_PER_PARTITION),
        WEBHOOK_QUEUE: (in_flight, None),
    }
    least_poll_s = {**dict.fromkeys(EMPTIED_QUEUES, _EMPTIED_POLL_S), SLOW_DELIVERY_QUEUE: _SLOW_POLL_S}
    for name, (size, per_partition) in sizes.items():
        register(
            name,
            worker_concurrency=size,
            partition_worker_concurrency=per_partition,
            polling_interval_sec=max(settings.queue_poll_s, least_poll_s.get(name, 0.0)),
            on_conflict="always_update",
        )


@dataclass(frozen=True)
class DeliveryPlace:
    """Where an attempt of a delivery waits for its turn."""

    queue: str
    partition: str
    """Attempts of one partition share DELIVERIES_PER_HOST places of a worker."""
    owner: str | None

    @classmethod
    def of(cls, task: DeliveryTask, settings: Settings) -> DeliveryPlace:
        """The place by owner and host.

        An owner's hosts share as many partitions as DELIVERIES_PER_OWNER has room for; without owners each host has its
        own.
        """
        owner, host = task.job.owner, task.host
        queue = SLOW_DELIVERY_QUEUE if task.is_slow else DELIVERY_QUEUE
        if owner is None:
            return cls(queue, f"/{host}", None)
        num_partitions = max(1, settings.deliveries_per_owner // settings.deliveries_per_host)
        return cls(queue, f"{owner}/{crc32(host.encode()) % num_partitions}", owner)


def delivery_options(entry: EntryId, delay_s: float, place: DeliveryPlace) -> EnqueueOptions:
    """How an attempt of a delivery is queued. Twice the same attempt is one."""
    options = _options(DELIVER, place.queue, str(entry), place.owner)
    options["queue_partition_key"] = place.partition
    if delay_s > 0:
        options["delay_seconds"] = delay_s
    return options


def generate_options(job: Job) -> EnqueueOptions:
    """How a job is queued. A second job of the same id is refused."""
    options = _options(GENERATE, queue_of(job), job.job_id, job.owner)
    options["workflow_id_reuse_policy"] = "reject"
    options["priority"] = job.priority + _FIRST_PRIORITY
    options["queue_partition_key"] = partition_of(job.owner)
    return options


def partition_of(owner: str | None) -> str:
    """The partition that the owner's jobs wait in: owners take turns, priorities order among their own."""
    return owner or NO_OWNER


def cut_out_options(cut_out_id: str, owner: str | None) -> EnqueueOptions:
    """How a cut-out is queued that comes before any job."""
    options = _options(CUT_OUT, CUT_OUT_QUEUE, cut_out_id, owner)
    options["queue_partition_key"] = partition_of(owner)
    return options


def preview_options(job_id: str, owner: str | None) -> EnqueueOptions:
    """How the picture of a job's mesh is queued. Twice the same is one."""
    options = _options(PREVIEW, PREVIEW_QUEUE, str(EntryId(job_id, is_preview=True)), owner)
    options["queue_partition_key"] = partition_of(owner)
    return options


def _options(workflow: str, queue: str, entry_id: str, owner: str | None) -> EnqueueOptions:
    options = EnqueueOptions(
        workflow_name=workflow,
        queue_name=queue,
        workflow_id=entry_id,
        app_version=APPLICATION_VERSION,
        application_name=APPLICATION,
    )
    if owner is not None:
        options["authenticated_user"] = owner
    return options
