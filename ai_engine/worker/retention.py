"""Retention: which files and rows are kept how long, and the sweep that removes the others."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ai_engine.errors import StoreUnavailable
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.dbos_setup import CUT_OUT, GENERATE
from ai_engine.job_queue.delivery_index import DeliveryIndex
from ai_engine.job_queue.entries import DELIVER, EntryId
from ai_engine.job_queue.job_index import JobIndex
from ai_engine.job_queue.on_demand import KEPT_S
from ai_engine.job_queue.worker_leases import Leases
from ai_engine.job_queue.workflow_table import EndedRow, WorkflowTable
from ai_engine.logs import event
from ai_engine.settings import Settings
from ai_engine.storage.store import ArtifactStore

ROW_OUTLIVES_FILES_S = 24 * 3600.0
"""Also longer than a cancelled job's row is looked at to queue its webhook."""
BATCH = 200
ORPHAN_BATCH = 500


@dataclass(frozen=True)
class Swept:
    """What one round took away."""

    num_jobs_without_files: int
    num_rows: int
    num_orphans: int

    def __bool__(self) -> bool:
        return self != Swept(0, 0, 0)


@dataclass(frozen=True)
class Retention:
    """Takes away what is older than the setting."""

    rows: WorkflowTable
    store: ArtifactStore
    retention_s: float
    delete_rows: Callable[[list[str]], None]
    """The engine's own way to delete workflows by their ids."""

    def sweep(self, now_s: float) -> Swept:
        """One round over everything there is.

        Raises:
            StoreUnavailable: files can't be taken away now; what was done stays done.
        """
        # Looked up once: a delivery that is queued later than this belongs to a job that is not old.
        busy = {EntryId.parse(delivery).job_id for delivery in self.rows.active(DELIVER)}
        return Swept(
            self._take_files(GENERATE, now_s - self.retention_s, busy)
            + self._take_files(CUT_OUT, now_s - min(self.retention_s, KEPT_S), busy),
            self._delete_rows(now_s - self.retention_s - ROW_OUTLIVES_FILES_S, busy),
            self._take_orphans(now_s - self.retention_s),
        )

    def _take_files(self, name: str, before_s: float, busy: set[str]) -> int:
        """Takes the files of the workflows called `name`."""
        num_taken = 0
        for batch in self._ended_batches(before_s, with_files=name):
            for row in batch:
                if row.workflow_id not in busy:
                    self.store.remove(row.workflow_id)
                    self.rows.note_files_gone(row.workflow_id)
                    num_taken += 1
        return num_taken

    def _delete_rows(self, before_s: float, busy: set[str]) -> int:
        """Deletes jobs and attempts of deliveries; those of a job that still delivers stay."""
        num_deleted = 0
        for batch in self._ended_batches(before_s):
            ids = [row.workflow_id for row in batch if EntryId.parse(row.workflow_id).job_id not in busy]
            if ids:
                self.rows.forget(ids)
                self.delete_rows(ids)
                num_deleted += len(ids)
        return num_deleted

    def _take_orphans(self, before_s: float) -> int:
        """Takes files away whose job there is no row of: a crash came between the two."""
        old = (job_id for job_id, written_s in self.store.jobs() if written_s < before_s)
        num_taken = 0
        for batch in _batches(old, ORPHAN_BATCH):
            for job_id in set(batch) - self.rows.existing_ids(batch):
                self.store.remove(job_id)
                num_taken += 1
        return num_taken

    def _ended_batches(self, before_s: float, with_files: str | None = None) -> Iterator[Sequence[EndedRow]]:
        last: EndedRow | None = None
        while batch := self.rows.ended_before(int(before_s * 1000), BATCH, after=last, with_files=with_files):
            yield batch
            last = batch[-1]


def _batches(ids: Iterable[str], size: int) -> Iterator[list[str]]:
    source = iter(ids)
    while batch := list(itertools.islice(source, size)):
        yield batch


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
        database: Database,
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
        self._pause_s = min(
            LONGEST_PAUSE_S, max(SHORTEST_PAUSE_S, min(retention_s, KEPT_S) / ROUNDS_PER_RETENTION)
        )
        rows, index, deliveries = WorkflowTable(database), JobIndex(database), DeliveryIndex(database)

        def delete_everywhere(workflow_ids: list[str]) -> None:
            # The engine last: what is still in it is found again if this breaks off.
            index.forget(workflow_ids)
            deliveries.forget(workflow_ids)
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
