"""Which entries of the job engine are worked on in this process, and which only seem to be.

The engine forgets an entry whose end it could not write down, when the disk was full for instance: the row says
that this worker has it, and nobody does. Knows no database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager


class RunningJobs:
    """The entries at work here."""

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
