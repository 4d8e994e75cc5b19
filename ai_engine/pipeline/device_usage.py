"""How busy a device is: the seconds it was in use, all in all and of the last minute."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 60.0


class BusyClock:
    """Runs while somebody is inside its `with` block; one at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._before_s = 0.0
        self._since: float | None = None
        self._readings = deque([(clock(), 0.0)])

    def __enter__(self) -> None:
        with self._lock:
            self._since = self._clock()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._before_s, self._since = self._busy_s(self._clock()), None

    def read(self) -> tuple[float, float]:
        """The busy seconds so far, and their share of about the last minute, 0 to 1."""
        with self._lock:
            now = self._clock()
            busy_s = self._busy_s(now)
            while len(self._readings) > 1 and self._readings[1][0] <= now - WINDOW_S:
                self._readings.popleft()
            then, busy_then_s = self._readings[0]
            self._readings.append((now, busy_s))
        passed_s = now - then
        return busy_s, min(1.0, (busy_s - busy_then_s) / passed_s) if passed_s > 0 else 0.0

    def _busy_s(self, now: float) -> float:
        return self._before_s + (now - self._since if self._since is not None else 0.0)
