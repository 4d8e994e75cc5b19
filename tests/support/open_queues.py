"""A job queue with a database of its own, as one process has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from ai_engine.job_queue.dbos_setup import open_database
from ai_engine.job_queue.queue import JobQueue, open_queue
from ai_engine.settings import Settings


@contextmanager
def opened_queue(settings: Settings) -> Iterator[JobQueue]:
    """The queue; it and its database are closed when the block ends."""
    with closing(open_database(settings)) as database, closing(open_queue(settings, database)) as queue:
        yield queue
