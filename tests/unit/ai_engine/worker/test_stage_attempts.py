from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ai_engine.errors import WorkerLost
from ai_engine.stage import Stage
from ai_engine.worker.stage_attempts import CrashAttempts

AT_WORK = frozenset({"download", "cutout", "denoise"})
"""The stages that a job reported which had the device."""
WAITED = frozenset({"download", "cutout"})


def taken_up(times: int, **tries: int) -> Any:
    attributes = {f"tries_of_{stage}": number for stage, number in tries.items()}
    return SimpleNamespace(workflow_id="job", recovery_attempts=times, attributes=attributes)


def test_a_stage_that_killed_its_worker_as_often_as_allowed_goes_to_work_no_more() -> None:
    CrashAttempts(taken_up(2, denoise=2), Stage.DENOISE, lambda: AT_WORK).check(3)
    with pytest.raises(WorkerLost, match="3 times"):
        CrashAttempts(taken_up(3, denoise=3), Stage.DENOISE, lambda: AT_WORK).check(3)


def test_the_first_time_of_a_job_counts_though_it_is_not_written_down() -> None:
    CrashAttempts(taken_up(1), Stage.DENOISE, lambda: AT_WORK).check(1)
    with pytest.raises(WorkerLost):
        CrashAttempts(taken_up(2), Stage.DENOISE, lambda: AT_WORK).check(1)


def test_a_stage_that_only_waited_when_its_worker_died_is_not_to_blame() -> None:
    CrashAttempts(taken_up(2), Stage.DENOISE, lambda: WAITED).check(1)
    CrashAttempts(taken_up(2, denoise=2), Stage.FINISH, lambda: AT_WORK).check(1)


def test_the_reports_of_a_job_that_was_never_recovered_are_not_read() -> None:
    CrashAttempts(taken_up(1), Stage.DENOISE, lambda: pytest.fail("they were read")).check(1)


def test_attempts_that_the_version_before_counted_are_counted_on() -> None:
    with pytest.raises(WorkerLost, match="3 times"):
        CrashAttempts(taken_up(3, shape=3), Stage.DENOISE, lambda: AT_WORK).check(3)
