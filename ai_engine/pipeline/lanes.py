"""Lanes: how many jobs of one worker may be in each stage at once, and a job's turn in one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

TURN_LOOK_S = 1.0


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
