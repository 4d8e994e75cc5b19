"""How a command ends: its exit status, one line for what went wrong, and what Ctrl-C, SIGTERM or a closed pipe do."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from pydantic import ValidationError

from ai_engine.engine.generated import GenerationFailed, ServerRefused
from ai_engine.errors import JobError, StartupError

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_NOT_PRINTABLE = 0, 1, 2, 3
FLAGS = {"image_url": "PICTURE", "image_urls": "views", "mask_url": "--mask"}
"""Of the fields whose flags are called otherwise."""
EXIT_INTERRUPTED = 130
"""As a shell reports a program that Ctrl-C ended."""
EXIT_BROKEN_PIPE = 141
"""As a shell reports a program whose reader went away (`ai-engine check *.stl | head -1`)."""


class UsageError(StartupError):
    """The command line makes no sense; the message says why."""

    exit_status = EXIT_USAGE


def run_interruptibly(work: Callable[[], int]) -> int:
    """The exit status of `work`, or that of an interruption; what `work` cleans up is cleaned up."""
    try:
        with signals_interrupt():
            return work()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes at its end what could not be written.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


@contextmanager
def signals_interrupt() -> Generator[None]:
    """Raises KeyboardInterrupt at SIGTERM while the block runs: what was started is stopped, files are removed.

    At SIGINT too, which a shell's background jobs would ignore.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def exit_at_signals(clean_up: Callable[[], None]) -> None:
    """From now on SIGTERM and SIGINT end the process after `clean_up`, whatever its threads wait for."""

    def end(*_: object) -> None:
        clean_up()
        os._exit(EXIT_INTERRUPTED)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def code_of(error: Exception) -> str:
    """Of a job's failure its own; `internal` where the fault is ours."""
    if isinstance(error, GenerationFailed):
        return error.failure.code
    if isinstance(error, JobError):
        return error.code
    known = ServerRefused | StartupError | OSError | ValueError
    return "failed" if isinstance(error, known) else "internal"


def sentence(error: Exception, *, about: str | None = None) -> str:
    """What went wrong, in one line for the person at the terminal; it does not name the file that the line is about."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_input=False)
        return "; ".join(f"{_flag(one['loc'])}: {one['msg']}" for one in found)
    if isinstance(error, OSError) and error.strerror:
        is_named = error.filename is not None and str(error.filename) != about
        return f"{error.filename}: {error.strerror}" if is_named else error.strerror
    return f"{type(error).__name__}: {error}" if code_of(error) == "internal" else str(error)


def _flag(place: tuple[int | str, ...]) -> str:
    """The flag of a field, and where in its JSON."""
    field, *inside = (str(part) for part in place)
    flag = FLAGS.get(field) or f"--{field.replace('_', '-')}"
    return ".".join((flag, *inside))
