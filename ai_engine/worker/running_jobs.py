"""Workflows executing in this process; finds orphans that the database lists as PENDING here but no thread runs.

DBOS drops a workflow whose end it could not write, when the disk was full for instance: its row stays PENDING under
this worker. Knows no database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager


class RunningJobs:
    """The workflows that run in this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._running: set[str] = set()
        self._idle_since: dict[str, float] = {}

    @contextmanager
    def running(self, workflow_id: str) -> Iterator[None]:
        """The entry is at work while the block runs."""
        with self._lock:
            self._running.add(workflow_id)
        try:
            yield
        finally:
            with self._lock:
                self._running.discard(workflow_id)

    def strays(self, workflow_ids: Collection[str], patience_s: float) -> list[str]:
        """Those of this worker's entries that were not at work here for so long, whenever it was asked.

        Patience is for those that were just taken and have not begun, and for those that are just being ended.
        """
        now = self._clock()
        with self._lock:
            idle = set(workflow_ids) - self._running
        self._idle_since = {one: self._idle_since.get(one, now) for one in idle}
        return [one for one, since in self._idle_since.items() if now - since >= patience_s]
