from __future__ import annotations

from collections.abc import Mapping

import pytest
from dbos import WorkflowStatus

from ai_engine.job_queue.queue_estimate import usual_seconds
from ai_engine.stage import Stage


def row(timings_s: Mapping[Stage, float] | None) -> WorkflowStatus:
    one = WorkflowStatus()
    one.output = None if timings_s is None else {"timings_s": dict(timings_s)}
    return one


JOB = {Stage.QUEUE: 900.0, Stage.DOWNLOAD: 1.0, Stage.DENOISE: 20.0, Stage.DECODE: 4.0, Stage.FINISH: 3.0}


def test_the_device_is_what_jobs_wait_for_and_the_rest_comes_once() -> None:
    assert usual_seconds([row(JOB)], 1) == (24.0, 4.0)


def test_the_time_in_the_queue_does_not_count() -> None:
    assert usual_seconds([row(JOB)], 1) == usual_seconds([row(JOB | {Stage.QUEUE: 0.0})], 1)


def test_workers_share_the_device_time_and_not_the_rest() -> None:
    assert usual_seconds([row(JOB)], 3) == (8.0, 4.0)


def test_several_jobs_are_averaged_and_those_without_timings_left_out() -> None:
    quick = {Stage.DENOISE: 4.0, Stage.FINISH: 2.0}
    found = usual_seconds([row(JOB), row(None), row({}), row(quick)], 1)
    assert found == pytest.approx((14.0, 3.0))


def test_nothing_measured_is_no_estimate() -> None:
    assert usual_seconds([], 1) is None
    assert usual_seconds([row(None), row({})], 1) is None
