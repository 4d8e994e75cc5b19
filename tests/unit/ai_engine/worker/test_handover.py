from __future__ import annotations

import os
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from dbos import DBOS

from ai_engine.job_queue.worker_leases import Leases
from ai_engine.worker import handover
from ai_engine.worker.handover import QUEUE_THREADS, Handover


class Left(Exception):
    """In place of the end of the process."""


class Engine:
    """A job engine that is just claiming an entry when it is asked to stop."""

    def __init__(self) -> None:
        stop = threading.Event()
        self.background_thread_stop_events = [stop]
        self.claimed: list[str] = []
        self._thread = threading.Thread(target=self._claim, args=(stop,), name=f"{QUEUE_THREADS}pipeline")
        self._thread.start()

    def _claim(self, stop: threading.Event) -> None:
        stop.wait()
        self.claimed.append("job")

    def list_workflows(self, **_: Any) -> list[SimpleNamespace]:
        return [SimpleNamespace(workflow_id=job_id, queue_name="jobs") for job_id in self.claimed]


def test_a_leaving_worker_claims_nothing_after_it_has_handed_back_its_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine, handed_back, given_up = Engine(), list[str](), list[str]()

    def end(status: int) -> None:
        raise Left(status)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(handover, "_leave_anyway_after", lambda *_: None)
    monkeypatch.setattr(DBOS, "list_workflows", engine.list_workflows)
    monkeypatch.setattr(DBOS, "resume_workflow", lambda job_id, **_: handed_back.append(job_id))
    leases = cast(Leases, SimpleNamespace(give_up=given_up.append))

    with pytest.raises(Left):
        Handover(leases, "this worker", cast(DBOS, engine)).leave(71, "job", None)

    assert handed_back == ["job"]
    assert given_up == ["this worker"]
