"""The heartbeat: renews this worker's lease and marks workers whose lease has expired as dead.

What the dead leave behind is taken over in `failover`.
"""

from __future__ import annotations

import logging
import os
import threading
import time

from ai_engine.job_queue.worker_leases import Leases
from ai_engine.monitoring.counters import WorkerFigures
from ai_engine.monitoring.job_metrics import JobMetrics
from ai_engine.pipeline.resources import Resources
from ai_engine.storage.data_folder import DataFolder

BEATS_PER_LEASE = 5
DATA_FOLDER_GONE_STATUS = 74
"""Exit status of a worker whose folder was removed: what it would write is lost."""
LOST_LEASE_STATUS = 70
"""Exit status of a worker that was declared dead while it lived."""

logger = logging.getLogger(__name__)


class Heartbeat(threading.Thread):
    """Renews the lease of one worker, from its start to its end."""

    def __init__(
        self, leases: Leases, executor_id: str, lease_s: float, metrics: JobMetrics, data_folder: DataFolder
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._data_folder = data_folder
        self._leases, self._executor_id, self._lease_s = leases, executor_id, lease_s
        self._metrics = metrics
        self._renewed_at = time.monotonic()
        self._may_bury_at = self._renewed_at + lease_s
        self._loaded_share = 0.0
        self._resources: Resources | None = None
        """None until the models are loaded."""
        self._is_over = threading.Event()

    def run(self) -> None:
        """Beats until `stop`."""
        while not self._is_over.wait(self._lease_s / BEATS_PER_LEASE):
            if self._data_folder.is_gone():
                logger.critical("DATA_DIR was removed or replaced while this worker ran; leaving")
                os._exit(DATA_FOLDER_GONE_STATUS)
            try:
                self._beat()
            except Exception:
                # The database may be away for a while; a lease that runs out meanwhile is noticed afterwards.
                logger.exception("the lease could not be renewed")

    def note_loaded(self, share: float) -> None:
        """Takes note of which share of the weights, 0 to 1, is read; the next beat writes it to the lease."""
        self._loaded_share = share

    def note_ready(self, resources: Resources) -> None:
        """Takes note that the models are loaded; from the next beat on the device's use is reported."""
        self._resources = resources

    def stop(self) -> None:
        """Ends the thread."""
        self._is_over.set()
        self.join(timeout=5)

    def _beat(self) -> None:
        if not self._leases.renew(self._executor_id):
            logger.critical("this worker was declared dead; leaving")
            os._exit(LOST_LEASE_STATUS)
        self._bury_stale()
        if self._resources is None:
            self._leases.note_loaded(self._executor_id, self._loaded_share)
        else:
            self._metrics.worker(_figures_of(self._executor_id, self._resources))

    def _bury_stale(self) -> None:
        """Marks workers with an expired lease as dead.

        Skipped in this worker's first lease period and after it lost the database itself: others may have been
        partitioned too, and need time for a heartbeat.
        """
        now = time.monotonic()
        if now - self._renewed_at > self._lease_s:
            self._may_bury_at = now + self._lease_s
        self._renewed_at = now
        if now >= self._may_bury_at:
            self._leases.bury_stale(self._executor_id, self._lease_s)


def _figures_of(executor_id: str, resources: Resources) -> WorkerFigures:
    busy_s, busy_share = resources.device_clock.read()
    return WorkerFigures(executor_id, busy_s, busy_share, resources.model.peak_memory_bytes)
