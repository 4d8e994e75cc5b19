"""When things are cleared away: rounds of `retention.py` in the background of a worker, by one worker at a time.

Knows no job and no file.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from ai_engine.errors import StoreUnavailable
from ai_engine.job_queue.job_index import JobIndex
from ai_engine.job_queue.worker_leases import Leases
from ai_engine.job_queue.workflow_table import JobRows
from ai_engine.logs import event
from ai_engine.retention import Retention
from ai_engine.settings import Settings
from ai_engine.storage.store import ArtifactStore

LONGEST_PAUSE_S = 3600.0
ROUNDS_PER_RETENTION = 10
SHORTEST_PAUSE_S = 1.0
COPIES_KEPT_S = 2 * 3600.0
"""Longer than any job works: its copies are dropped when it has no use for them."""
SECONDS_PER_HOUR = 3600.0

logger = logging.getLogger(__name__)


class Housekeeper(threading.Thread):
    """Clears away what was kept long enough; every worker has one, the first of the living does the work."""

    def __init__(
        self,
        settings: Settings,
        store: ArtifactStore,
        leases: Leases,
        executor_id: str,
        delete_rows: Callable[[list[str]], None],
    ) -> None:
        super().__init__(name="housekeeper", daemon=True)
        self._leases = leases
        self._executor_id = executor_id
        self._lease_s = settings.lease_s
        self._store = store
        retention_s = settings.retention_hours * SECONDS_PER_HOUR
        self._pause_s = min(LONGEST_PAUSE_S, max(SHORTEST_PAUSE_S, retention_s / ROUNDS_PER_RETENTION))
        rows = JobRows(settings.jobs_database_url)
        index = JobIndex(settings.jobs_database_url)

        def delete_everywhere(workflow_ids: list[str]) -> None:
            # The engine last: what is still in it is found again if this breaks off.
            index.forget(workflow_ids)
            delete_rows(workflow_ids)

        self._retention = Retention(rows, store, retention_s, delete_everywhere)
        self._is_over = threading.Event()

    def run(self) -> None:
        """Goes round until it is stopped."""
        while not self._is_over.wait(self._pause_s):
            try:
                self._round()
            except StoreUnavailable as error:
                event(logger, "files can't be cleared away now", level=logging.WARNING, detail=error.detail)
            except Exception:
                # The database may be away for a while; the next round finds what this one left.
                logger.exception("clearing away broke off")

    def stop(self) -> None:
        """Ends the thread after the round it is in."""
        self._is_over.set()

    def _round(self) -> None:
        num_copies = self._store.drop_old_copies(time.time() - COPIES_KEPT_S)
        if num_copies:
            event(logger, "copies dropped", jobs=num_copies)
        if self._is_first():
            swept = self._retention.sweep(time.time())
            if swept:
                event(
                    logger,
                    "cleared away",
                    jobs=swept.num_jobs_without_files,
                    rows=swept.num_rows,
                    orphans=swept.num_orphans,
                )

    def _is_first(self) -> bool:
        """True for one worker of the living; two may think so for a moment, and do no harm."""
        living = [lease for lease in self._leases.workers() if lease.is_alive and lease.age_s < self._lease_s]
        return min((lease.executor_id for lease in living), default="") == self._executor_id
