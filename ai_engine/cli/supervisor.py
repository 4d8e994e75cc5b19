"""`serve`: the API and the worker as child processes. One that crashes is started again after growing pauses; one
that says that it can't start ends them all. Knows neither's work.

A child reads its standard input until it ends: that is how it learns that its supervisor is gone, however that
came about, on every operating system. A byte that comes before says that all is about to end.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ai_engine.errors import StartupError
from ai_engine.logs import event

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0
"""A child that lived this long is started again without a pause."""
KILL_AFTER_S = 10.0
"""Beyond the time that children are given to finish."""
LOOK_EVERY_S = 0.1
NOTICE = b"."

logger = logging.getLogger(__name__)


@dataclass
class Child:
    """One process that should be running."""

    name: str
    command: Sequence[str]
    stays_to_the_end: bool = False
    """True for the process that answers callers: it is notified first that all ends, and ended last."""
    process: subprocess.Popen[bytes] | None = None
    pause_s: float = FIRST_PAUSE_S
    started_at: float = 0.0
    due_at: float = field(default=0.0)

    @property
    def cannot_start(self) -> bool:
        """True if the process ended with the status of a process that can't start as it is set up."""
        return self.process is not None and self.process.poll() == StartupError.exit_status

    def look_after(self, now: float) -> None:
        """Starts the process if it should run by now and does not."""
        if self.process is not None and self.process.poll() is not None:
            self._plan_restart(now)
        if self.process is None and now >= self.due_at:
            # The pipe ends when this process does.
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE)
            self.started_at = now

    def warn(self) -> None:
        """Notifies the process that all is about to end."""
        assert self.process is not None
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # It may be gone by itself.
            self.process.stdin.write(NOTICE)
            self.process.stdin.flush()

    def _plan_restart(self, now: float) -> None:
        assert self.process is not None
        if now - self.started_at > STEADY_S:
            self.pause_s = FIRST_PAUSE_S
        event(
            logger,
            "process ended, starting it again",
            level=logging.WARNING,
            name=self.name,
            status=self.process.returncode,
            pause_s=self.pause_s,
        )
        _close_pipe(self.process)
        self.process, self.due_at = None, now + self.pause_s
        self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)


def supervise(children: Sequence[Child], stop: threading.Event, *, drain_s: float) -> int:
    """Keeps the children running until `stop` is set or one can't start, then lets them finish for `drain_s`.

    Returns the exit status: 0, or that of the child that can't start.
    """
    status = _watch(children, stop)
    running = [child for child in children if child.process is not None]
    staying = [child for child in running if child.stays_to_the_end]
    for child in staying:
        child.warn()
    _end([child.process for child in running if child not in staying and child.process], drain_s)
    _end([child.process for child in staying if child.process], 0.0)
    return status


def _watch(children: Sequence[Child], stop: threading.Event) -> int:
    while not stop.is_set():
        for child in children:
            if child.cannot_start:
                event(
                    logger, "process can't start, ending the others", level=logging.CRITICAL, name=child.name
                )
                return StartupError.exit_status
            child.look_after(time.monotonic())
        stop.wait(LOOK_EVERY_S)
    return 0


def _end(processes: Sequence[subprocess.Popen[bytes]], drain_s: float) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + drain_s + KILL_AFTER_S
    for process in processes:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
        _close_pipe(process)


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    """Closes the pipe to a process that has ended."""
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()


def stop_on_signal() -> threading.Event:
    """An event that SIGTERM, SIGINT and, for a supervised child, the end of its supervisor set."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def when_orphaned(act: Callable[[], None], *, on_notice: Callable[[], None] = lambda: None) -> None:
    """Calls `act` once this process's supervisor is gone, and `on_notice` when that one is about to end all."""

    def wait() -> None:
        with contextlib.suppress(OSError, ValueError):
            while sys.stdin.buffer.read(1):
                on_notice()
        act()

    threading.Thread(target=wait, name="orphan-watch", daemon=True).start()


def terminate_self() -> None:
    """Asks this very process to end, as SIGTERM would."""
    os.kill(os.getpid(), signal.SIGTERM)
