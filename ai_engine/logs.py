"""Log lines: events with the job's id in front, for a person at a terminal or as JSON for a collector.

`event(logger, "stage finished", job_id=..., stage=...)` is the one way the service logs what happens to jobs. Inside
`with about(job_id=...)` every line names the job, libraries' lines included. No line holds a secret, or of a URL
more than where it leads: what comes after `?` may be a permission.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

FIELDS = "event_fields"
"""The attribute of a log record that holds an event's fields."""
MASK = "***"
_ABOUT: ContextVar[dict[str, object] | None] = ContextVar("about", default=None)
_URL = re.compile(r"""(?P<scheme>\b[a-z][a-z0-9+.\-]*://)(?P<user>[^\s/?#"'<>@]*@)?(?P<where>[^\s?#"'<>]*)"""
                  r"""(?P<rest>[?#][^\s"'<>]*)?""", re.IGNORECASE)  # fmt: skip
_DATA_URL = re.compile(r"(data:[a-z0-9.+/\-]*;base64,)[A-Za-z0-9+/=%_\-]{16,}", re.IGNORECASE)


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Every log line of this thread or task carries `fields` while the block runs."""
    token = _ABOUT.set((_ABOUT.get() or {}) | fields)
    try:
        yield
    finally:
        _ABOUT.reset(token)


def add_about(**fields: object) -> None:
    """Adds `fields` to what the innermost `about` says."""
    known = _ABOUT.get()
    if known is not None:
        known.update({name: value for name, value in fields.items() if value is not None})


def set_up_logging(
    log_format: Literal["auto", "text", "json"], level: str, process: str, secrets: Sequence[str] = ()
) -> None:
    """Sends every log line of this process to stderr, in the format asked for and without `secrets`."""
    handler = logging.StreamHandler(sys.stderr)
    is_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    handler.setFormatter(_JsonFormatter(process, secrets) if is_json else _TextFormatter(process, secrets))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The job engine logs every queue and version at INFO, and advertises a hosted product there.
    logging.getLogger("dbos").setLevel(max(logging.WARNING, root.level))


def event(logger: logging.Logger, what: str, /, *, level: int = logging.INFO, **fields: object) -> None:
    """Logs that `what` happened, with its facts; None is left out."""
    known = {name: value for name, value in fields.items() if value is not None}
    logger.log(level, what, extra={FIELDS: known})


def without_secrets(text: str, secrets: Sequence[str] = ()) -> str:
    """`text` with its URLs cut short to where they lead, and `secrets` masked."""
    if "://" in text:
        text = _URL.sub(_shorten_url, text)
    if "base64," in text:
        text = _DATA_URL.sub(rf"\1{MASK}", text)
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def _shorten_url(found: re.Match[str]) -> str:
    user = f"{MASK}@" if found["user"] else ""
    rest = f"{found['rest'][0]}{MASK}" if found["rest"] and len(found["rest"]) > 1 else ""
    return f"{found['scheme']}{user}{found['where']}{rest}"


class OncePerSecond(logging.Filter):
    """Lets a line that holds `text` through once a second: a flood of them would fill the disk."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self._last_s = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:
        """Implements `logging.Filter`."""
        if self._text not in record.getMessage():
            return True
        if record.created - self._last_s < 1.0:
            return False
        self._last_s = record.created
        return True


class _TextFormatter(logging.Formatter):
    def __init__(self, process: str, secrets: Sequence[str]) -> None:
        super().__init__()
        self._process = process
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_on_one_line(value)}" for name, value in _fields(record).items())
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()} "
        line = f"{_time(record)} {self._process:<6} {level}{record.getMessage()}{fields}"
        whole = line if not record.exc_info else f"{line}\n{self.formatException(record.exc_info)}"
        return without_secrets(whole, self._secrets)


class _JsonFormatter(logging.Formatter):
    def __init__(self, process: str, secrets: Sequence[str]) -> None:
        super().__init__()
        self._process = process
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "process": self._process,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        cleaned = {name: self._clean(value) for name, value in line.items()}
        return json.dumps(cleaned, default=lambda value: self._clean(str(value)))

    def _clean(self, value: object) -> object:
        return without_secrets(value, self._secrets) if isinstance(value, str) else value


def _on_one_line(value: object) -> str:
    """The value as text that can neither begin a line of its own nor command a terminal: callers choose paths."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in str(value)
    )


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return (_ABOUT.get() or {}) | getattr(record, FIELDS, {})


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
