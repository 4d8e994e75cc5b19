"""Entries of the job engine: their ids and the words of their status. Opens no database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

DELIVER = "deliver"


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
    """The id of an entry: of a job, or of one attempt of its delivery."""

    job_id: str
    attempt: int | None = None
    """Of the delivery, counted from 1; None: the job itself."""

    @classmethod
    def parse(cls, text: str) -> EntryId:
        """The id that `str` wrote."""
        job_id, _, number = text.partition(f":{DELIVER}:")
        return cls(job_id, int(number) if number else None)

    def __str__(self) -> str:
        return self.job_id if self.attempt is None else f"{self.job_id}:{DELIVER}:{self.attempt}"
