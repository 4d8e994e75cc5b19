from __future__ import annotations

import pytest

from ai_engine.pipeline.device_usage import BusyClock


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_share_is_that_of_the_last_minute_and_the_seconds_are_all() -> None:
    clock = Clock()
    busy = BusyClock(clock)
    with busy:
        clock.now = 100
    for _ in range(10):
        clock.now += 6
        busy.read()

    clock.now += 30
    with busy:
        clock.now += 30

    assert busy.read() == pytest.approx((130, 0.5), abs=0.06)


def test_what_still_runs_counts_already() -> None:
    clock = Clock()
    busy = BusyClock(clock)
    clock.now = 10
    with busy:
        clock.now = 20
        assert busy.read() == (10, 0.5)


def test_before_any_time_has_passed_the_share_is_nothing() -> None:
    assert BusyClock(Clock()).read() == (0, 0)
