"""The queues of cut-outs and of pictures on each kind of database; no worker takes any."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.open_queues import opened_queue

from ai_engine.errors import JobNotFound, NotReady, QueueFull, RequestRefused, TooManyJobs
from ai_engine.facts import CutOutFacts
from ai_engine.job import Artifact, CutOut, PictureSource
from ai_engine.job_queue.dbos_setup import PREVIEW_QUEUE
from ai_engine.job_queue.entries import EntryId
from ai_engine.job_queue.on_demand import (
    MAX_WAITING,
    CutOutOutcome,
    CutOuts,
    CutOutTask,
    PreviewOutcome,
    PreviewTask,
)
from ai_engine.job_queue.queue import JobQueue
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from ai_engine.stage_result import JobFailure

FILE = Artifact("x/cutout.png", "0" * 64, 5)


@pytest.fixture
def queue(tmp_path: Path, each_database_url: str) -> Iterator[JobQueue]:
    settings = Settings(data_dir=tmp_path, database_url=each_database_url, max_open_jobs_per_key=2)
    with opened_queue(settings) as queue:
        yield queue


@pytest.fixture
def cut_outs(queue: JobQueue) -> CutOuts:
    return queue.cut_outs


def task(owner: str | None = None) -> CutOutTask:
    source = PictureSource(uuid.uuid4().hex, None, FILE, "https://example.com/m.png", None, "tiny", "auto")
    return CutOutTask(source, owner, 1.0, 61.0)


def test_a_task_waits_until_a_worker_has_an_outcome(cut_outs: CutOuts) -> None:
    asked = task("shop")

    cut_outs.submit(asked)

    record = cut_outs.get(asked.source.entry_id)
    assert (record.task, record.outcome) == (asked, None)


def test_a_task_that_nobody_waits_for_is_over_and_has_failed(cut_outs: CutOuts) -> None:
    asked = task()
    cut_outs.submit(asked)

    cut_outs.cancel(asked.source.entry_id)

    outcome = cut_outs.get(asked.source.entry_id).outcome
    assert outcome is not None
    assert outcome.failure is not None
    assert outcome.failure.code == "internal"


def test_a_cut_out_is_no_job_and_the_other_way_round(queue: JobQueue) -> None:
    asked = task()
    queue.cut_outs.submit(asked)

    with pytest.raises(JobNotFound):
        queue.get(asked.source.entry_id)
    with pytest.raises(JobNotFound):
        queue.cut_outs.get("0" * 32)


def test_open_cut_outs_of_a_key_are_limited_with_its_jobs(cut_outs: CutOuts) -> None:
    for _ in range(2):
        cut_outs.check_room("shop")
        cut_outs.submit(task("shop"))

    with pytest.raises(TooManyJobs):
        cut_outs.check_room("shop")
    cut_outs.check_room("press")
    with pytest.raises(QueueFull):
        replace(cut_outs, settings=Settings(max_queued_jobs=2)).check_room("press")


def test_outcomes_come_back_from_json_as_they_were() -> None:
    made = CutOutOutcome(CutOut(FILE, CutOutFacts("tiny", 0.5, ("left",), 1, ("touches_border",))))
    failed = CutOutOutcome(failure=JobFailure("no_foreground", "t", "d", Stage.CUTOUT, False))

    for outcome in (made, failed):
        assert CutOutOutcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome


def preview_task() -> PreviewTask:
    return PreviewTask(uuid.uuid4().hex, FILE, is_z_up=True)


def test_a_picture_is_queued_once_however_often_it_is_asked_for(queue: JobQueue) -> None:
    asked = preview_task()

    assert [queue.previews.ask(asked, None) for _ in range(3)] == [None] * 3

    assert queue.previews.rows.num_waiting(PREVIEW_QUEUE) == 1


def test_a_picture_that_could_not_be_drawn_is_drawn_anew_for_the_next_request(queue: JobQueue) -> None:
    asked = preview_task()
    queue.previews.ask(asked, None)
    queue.previews.client.cancel_workflow(str(EntryId(asked.job_id, is_preview=True)))

    with pytest.raises(RequestRefused) as refusal:
        queue.previews.ask(asked, None)

    assert refusal.value.status == 500
    assert queue.previews.ask(asked, None) is None


def test_pictures_that_wait_are_limited(queue: JobQueue) -> None:
    for _ in range(MAX_WAITING):
        queue.previews.ask(preview_task(), None)

    with pytest.raises(NotReady):
        queue.previews.ask(preview_task(), None)


def test_tasks_and_pictures_come_back_from_json_as_they_were() -> None:
    asked, drawn, gone = preview_task(), PreviewOutcome(FILE), PreviewOutcome(None)

    assert PreviewTask.from_dict(json.loads(json.dumps(asked.to_dict()))) == asked
    assert PreviewOutcome.from_dict(json.loads(json.dumps(drawn.to_dict()))) == drawn
    assert PreviewOutcome.from_dict(json.loads(json.dumps(gone.to_dict()))) == gone
