"""Entries of the job engine: their ids and the words of their status. Opens no database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DELIVER = "deliver"
PREVIEW = "preview"


class EngineStatus(StrEnum):
    """The status of a workflow in DBOS's words."""

    ENQUEUED = "ENQUEUED"
    """Waits for a worker."""
    DELAYED = "DELAYED"
    """Waits for its time."""
    PENDING = "PENDING"
    """A worker has it, or died with it."""
    SUCCESS = "SUCCESS"
    """It returned; a job that failed with a code did so too."""
    ERROR = "ERROR"
    """It raised: a fault of ours."""
    CANCELLED = "CANCELLED"
    OUT_OF_ATTEMPTS = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"
    """It was recovered as often as is allowed."""


WAITING = frozenset({EngineStatus.ENQUEUED, EngineStatus.DELAYED})
ACTIVE = WAITING | {EngineStatus.PENDING}
BROKEN = frozenset({EngineStatus.ERROR, EngineStatus.OUT_OF_ATTEMPTS})
"""Ended without a result of the workflow's own."""


@dataclass(frozen=True)
class EntryId:
    """The id of an entry: of a job, of one attempt of its delivery, or of the picture of its mesh."""

    job_id: str
    attempt: int | None = None
    """Of the delivery, counted from 1; None: the job itself, or its picture."""
    is_preview: bool = False

    @classmethod
    def parse(cls, text: str) -> EntryId:
        """The id that `str` wrote."""
        job_id, _, rest = text.partition(":")
        if rest == PREVIEW:
            return cls(job_id, is_preview=True)
        return cls(job_id, int(rest.removeprefix(f"{DELIVER}:")) if rest else None)

    @property
    def is_job(self) -> bool:
        """True for the job itself."""
        return self.attempt is None and not self.is_preview

    def __str__(self) -> str:
        if self.is_preview:
            return f"{self.job_id}:{PREVIEW}"
        return self.job_id if self.attempt is None else f"{self.job_id}:{DELIVER}:{self.attempt}"
