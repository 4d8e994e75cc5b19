"""How DBOS is set up: names of workflows and queues, migrations, and the options each entry is queued with."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from dbos import DBOS, EnqueueOptions

from ai_engine.errors import (
    StartupError,
)
from ai_engine.job import Job
from ai_engine.job_queue.database import provide_unixepoch
from ai_engine.job_queue.entries import DELIVER, EntryId
from ai_engine.settings import Settings

APPLICATION = "ai-engine"
APPLICATION_VERSION = "1"
"""Kept by hand, raised only when the sequence of a workflow's steps changes: a worker of another version leaves
the jobs of this one alone."""

GENERATE = "generate"
PIPELINE_QUEUE = "pipeline"
WEBHOOK_QUEUE = "webhook"
PROGRESS = "progress"
"""The stream of a job that tells how far it is."""

MAX_DELIVERIES_IN_FLIGHT = 32
_FIRST_PRIORITY = 11
"""The engine counts priorities from 1; callers from -10."""


def prepare_database(settings: Settings) -> None:
    """Makes the database and its tables, or brings them up to date. Any process may come first.

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


def _prepare_sqlite(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        # Readers and writers no longer wait for each other; the file remembers it. DBOS does not set it.
        connection.execute("PRAGMA journal_mode=WAL")


def register_queues(register: Callable[..., object], settings: Settings) -> None:
    """Makes the two queues, or brings them up to date with the settings; `register` is DBOS's own function."""
    sizes = {PIPELINE_QUEUE: settings.jobs_in_flight, WEBHOOK_QUEUE: MAX_DELIVERIES_IN_FLIGHT}
    for name, size in sizes.items():
        register(
            name,
            worker_concurrency=size,
            polling_interval_sec=settings.queue_poll_s,
            on_conflict="always_update",
        )


def delivery_options(entry: EntryId, delay_s: float) -> EnqueueOptions:
    """How an attempt of a delivery is queued. Twice the same attempt is one."""
    options = EnqueueOptions(
        workflow_name=DELIVER,
        queue_name=WEBHOOK_QUEUE,
        workflow_id=str(entry),
        app_version=APPLICATION_VERSION,
        application_name=APPLICATION,
    )
    if delay_s > 0:
        options["delay_seconds"] = delay_s
    return options


def generate_options(job: Job) -> EnqueueOptions:
    """How a job is queued. A second job of the same id is refused."""
    options = EnqueueOptions(
        workflow_name=GENERATE,
        queue_name=PIPELINE_QUEUE,
        workflow_id=job.job_id,
        workflow_id_reuse_policy="reject",
        app_version=APPLICATION_VERSION,
        application_name=APPLICATION,
        priority=job.priority + _FIRST_PRIORITY,
    )
    if job.owner is not None:
        options["authenticated_user"] = job.owner
    return options
