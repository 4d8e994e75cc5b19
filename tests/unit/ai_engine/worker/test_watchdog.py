from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from ai_engine.errors import JobError
from ai_engine.stage import Stage
from ai_engine.worker.watchdog import DEVICE_FAULT_STATUS, HUNG_STATUS, Watchdog

GRACE_S, SILENCE_S = 10.0, 100.0


@dataclass
class Noted:
    """Exits that only note who would have left."""

    cancelled_at_s: dict[str, float] = field(default_factory=dict)
    left: list[tuple[int, str, str | None]] = field(default_factory=list)
    faults: int = 0
    asked: list[Sequence[str]] = field(default_factory=list)

    def find_cancelled(self, job_ids: Sequence[str]) -> Mapping[str, float]:
        self.asked.append(job_ids)
        return {job_id: at_s for job_id, at_s in self.cancelled_at_s.items() if job_id in job_ids}

    def count_device_fault(self, job_id: str) -> int:
        self.faults += 1
        return self.faults

    def leave(self, status: int, job_id: str, ending: JobError | None) -> None:
        self.left.append((status, job_id, ending.code if ending else None))


class Watched:
    """A watchdog whose clock is set by hand."""

    def __init__(self, *, has_gpu: bool = False) -> None:
        self.now, self.exits = 1000.0, Noted()
        self.watchdog = Watchdog(
            self.exits, grace_s=GRACE_S, silence_s=SILENCE_S if has_gpu else None, clock=lambda: self.now
        )

    def left_after(self, seconds: float) -> list[tuple[int, str, str | None]]:
        self.now += seconds
        self.watchdog.look()
        return self.exits.left


def test_a_stage_within_its_time_may_be_silent_for_long() -> None:
    watched = Watched()
    with watched.watchdog.watching("job", ends_at_s=2000):
        assert watched.left_after(900) == []


def test_a_stage_that_stays_silent_after_its_time_is_left_with_a_time_out() -> None:
    watched = Watched()
    with watched.watchdog.watching("job", ends_at_s=1001):
        assert watched.left_after(GRACE_S) == []
        assert watched.left_after(2) == [(HUNG_STATUS, "job", "generation_timeout")]


def test_a_stage_that_gives_signs_of_life_is_never_left() -> None:
    watched = Watched()
    with watched.watchdog.watching("job", ends_at_s=1001):
        for _ in range(20):
            watched.watchdog.sign("job", Stage.DENOISE)
            assert watched.left_after(GRACE_S - 1) == []


def test_a_stage_that_stays_silent_after_a_cancel_is_left_and_stays_cancelled() -> None:
    watched = Watched()
    with watched.watchdog.watching("job", ends_at_s=9000):
        watched.now += 500
        watched.exits.cancelled_at_s["job"] = watched.now
        assert watched.left_after(GRACE_S) == []
        assert watched.left_after(1) == [(HUNG_STATUS, "job", None)]


def test_a_stage_that_is_over_is_not_watched_any_more() -> None:
    watched = Watched()
    with watched.watchdog.watching("job", ends_at_s=1001):
        pass
    assert watched.left_after(500) == []


@pytest.mark.parametrize(
    ("has_gpu", "stage", "code"),
    [
        (True, Stage.DENOISE, "generation_timeout"),
        (True, Stage.DECODE, "generation_timeout"),
        (True, Stage.FINISH, None),
        (True, Stage.QUEUE, None),
        (False, Stage.DENOISE, None),
    ],
)
def test_only_a_gpu_is_left_for_its_silence_alone(has_gpu: bool, stage: Stage, code: str | None) -> None:
    watched = Watched(has_gpu=has_gpu)
    with watched.watchdog.watching("job", ends_at_s=9000):
        watched.watchdog.sign("job", stage)
        left = watched.left_after(SILENCE_S + 1)
    assert left == ([(HUNG_STATUS, "job", code)] if code else [])


def test_the_database_is_asked_only_about_stages_that_are_silent() -> None:
    watched = Watched()
    with watched.watchdog.watching("silent", 9000), watched.watchdog.watching("lively", 9000):
        watched.now += GRACE_S + 1
        watched.watchdog.sign("lively", Stage.DENOISE)
        watched.left_after(0)
    assert watched.exits.asked == [["silent"]]


def test_a_device_that_breaks_leaves_at_once_and_blames_the_job_only_the_second_time() -> None:
    watched = Watched()

    watched.watchdog.device_broke("job", "CUDA error: an illegal memory access was encountered")
    watched.watchdog.device_broke("job", "CUDA error: an illegal memory access was encountered")

    assert watched.exits.left == [
        (DEVICE_FAULT_STATUS, "job", None),
        (DEVICE_FAULT_STATUS, "job", "worker_lost"),
    ]
