"""The one thread of a process that uses the device; other threads hand it their work and wait.

CUDA graphs, cuDNN's plans and cuBLAS's handles belong to the thread that made them: what is warmed up on one thread is
cold on another. Progress is called on the thread that waits, so a database write never delays the device. Knows no
torch and no model.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from ai_engine.errors import DeviceFault
from ai_engine.job import Progress
from ai_engine.stage import Stage

T = TypeVar("T")


class Stopped(Exception):
    """Raised on the device's thread between two steps, after `progress` raised on the waiting one."""


class DeviceThread:
    """Runs work one after the other on a thread of its own, in the context (log fields, spans) of the caller."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="device")

    def call(self, work: Callable[[], T]) -> T:
        """What `work` gives, or raises."""
        return self._submit(work).result()

    def call_reporting(self, work: Callable[[Progress], T], progress: Progress) -> T:
        """What `work` gives, or raises. What it reports is passed on to `progress` here, on the caller's thread.

        Where `progress` raises, the work's next report raises `Stopped`; when the work has ended its error goes on.
        """
        reports: SimpleQueue[tuple[Stage, int, int] | None] = SimpleQueue()
        is_stopped = threading.Event()

        def report(stage: Stage, done: int, total: int) -> None:
            if is_stopped.is_set():
                raise Stopped
            reports.put((stage, done, total))

        running = self._submit(lambda: work(report))
        running.add_done_callback(lambda _: reports.put(None))
        try:
            while (step := reports.get()) is not None:
                progress(*step)
        except BaseException:
            is_stopped.set()
            _wait_for_stop(running)
            raise
        return running.result()

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        return self._pool.submit(contextvars.copy_context().run, work)


def _wait_for_stop(running: Future[T]) -> None:
    """Waits until the device is free. A device that broke meanwhile is the graver news."""
    error = running.exception()
    if isinstance(error, DeviceFault):
        raise error
