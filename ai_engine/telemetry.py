"""Log lines: events with the job's id in front, for a person at a terminal or as JSON for a collector.

`event(logger, "stage finished", job_id=..., stage=...)` is the one way the service logs what happens to jobs.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

FIELDS = "event_fields"
"""The attribute of a log record that holds an event's fields."""


def set_up_logging(log_format: Literal["text", "json"], level: str, process: str) -> None:
    """Sends every log line of this process to stderr, in the format asked for."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter(process) if log_format == "json" else _TextFormatter(process))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # The job engine tells of every queue and version at INFO, and advertises a hosted product there.
    logging.getLogger("dbos").setLevel(max(logging.WARNING, root.level))


def event(logger: logging.Logger, what: str, /, *, level: int = logging.INFO, **fields: object) -> None:
    """Logs that `what` happened, with its facts; None is left out."""
    known = {name: value for name, value in fields.items() if value is not None}
    logger.log(level, what, extra={FIELDS: known})


class _TextFormatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()} "
        line = f"{_time(record)} {self._process:<6} {level}{record.getMessage()}{fields}"
        return line if not record.exc_info else f"{line}\n{self.formatException(record.exc_info)}"


class _JsonFormatter(logging.Formatter):
    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

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
        return json.dumps(line, default=str)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return getattr(record, FIELDS, {})


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
