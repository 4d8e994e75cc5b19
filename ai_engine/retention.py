"""What has been kept long enough goes: files of jobs, then their rows, and files that belong to no job.

A job's files go `RETENTION_HOURS` after it ended, never while a delivery of it waits; its row goes a day later, so
that who comes late is told that the file is gone. Everything here may be done twice or by two at once: the second
finds nothing left to do. Knows no process and no schedule.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ai_engine.job_queue.dbos_setup import DELIVER, GENERATE
from ai_engine.job_queue.workflow_table import EndedRow, JobRows
from ai_engine.storage.store import ArtifactStore

ROW_OUTLIVES_FILES_S = 24 * 3600.0
"""Also longer than a cancelled job's row is looked at to tell its caller."""
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

    rows: JobRows
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
        busy = {delivery.rpartition(f":{DELIVER}:")[0] for delivery in self.rows.active(DELIVER)}
        return Swept(
            self._take_files(now_s - self.retention_s, busy),
            self._delete_rows(now_s - self.retention_s - ROW_OUTLIVES_FILES_S, busy),
            self._take_orphans(now_s - self.retention_s),
        )

    def _take_files(self, before_s: float, busy: set[str]) -> int:
        num_taken = 0
        for batch in self._ended(before_s, with_files=GENERATE):
            for row in batch:
                if row.workflow_id not in busy:
                    self.store.remove(row.workflow_id)
                    self.rows.note_files_gone(row.workflow_id)
                    num_taken += 1
        return num_taken

    def _delete_rows(self, before_s: float, busy: set[str]) -> int:
        """Deletes jobs and attempts of deliveries; those of a job that still delivers stay."""
        num_deleted = 0
        for batch in self._ended(before_s):
            ids = [row.workflow_id for row in batch if row.workflow_id.partition(":")[0] not in busy]
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
            for job_id in set(batch) - self.rows.known(batch):
                self.store.remove(job_id)
                num_taken += 1
        return num_taken

    def _ended(self, before_s: float, with_files: str | None = None) -> Iterator[Sequence[EndedRow]]:
        last: EndedRow | None = None
        while batch := self.rows.ended_before(int(before_s * 1000), BATCH, after=last, with_files=with_files):
            yield batch
            last = batch[-1]


def _batches(ids: Iterable[str], size: int) -> Iterator[list[str]]:
    source = iter(ids)
    while batch := list(itertools.islice(source, size)):
        yield batch
