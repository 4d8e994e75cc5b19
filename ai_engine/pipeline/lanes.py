"""Lanes: how many jobs of one worker may be in each stage at once, a job's turn in one, and clocks that count it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TURN_LOOK_S = 1.0
WINDOW_S = 60.0
"""Over which the busy share of a device is measured."""


@dataclass(frozen=True)
class Lanes:
    """How many jobs of one worker may be in each stage at once."""

    download: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(3))
    cutout: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(1))
    device: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(1))
    finish: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(2))


@contextmanager
def turn(lane: threading.Semaphore, on_wait: Callable[[], None]) -> Iterator[None]:
    """One turn in a lane; `on_wait` is called now and then while it is waited for, and raises to stop that."""
    while not lane.acquire(timeout=TURN_LOOK_S):
        on_wait()
    try:
        yield
    finally:
        lane.release()


class Clock:
    """Seconds since a `with` block was entered, after everything it waited for before."""

    def __enter__(self) -> Clock:
        self._began_at = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def seconds(self) -> float:
        """Since the block was entered."""
        return time.monotonic() - self._began_at


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
