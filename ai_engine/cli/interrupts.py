"""Lets SIGTERM stop a command as Ctrl-C does."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager

EXIT_INTERRUPTED = 130
"""As a shell reports a program that Ctrl-C ended."""


@contextmanager
def sigterm_interrupts() -> Generator[None]:
    """Raises KeyboardInterrupt at SIGTERM while the block runs: what was started is stopped, files are removed."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
