from __future__ import annotations

import threading

import pytest

from ai_engine.pipeline import lanes
from ai_engine.pipeline.lanes import BusyClock, Clock, Lanes, turn


class StopWaiting(Exception):
    pass


def refuse() -> None:
    raise StopWaiting


def test_one_job_at_a_time_is_on_the_device_and_several_download() -> None:
    one = Lanes()
    with turn(one.device, refuse):
        assert not one.device.acquire(blocking=False)
    with turn(one.download, refuse), turn(one.download, refuse):
        pass


def test_a_turn_is_given_back_whatever_happens_in_it() -> None:
    one = Lanes()
    with pytest.raises(KeyError), turn(one.device, refuse):
        raise KeyError
    assert one.device.acquire(blocking=False)


def test_a_job_that_waits_may_give_up_and_takes_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "TURN_LOOK_S", 0.01)
    one = Lanes()
    with turn(one.device, refuse):
        with pytest.raises(StopWaiting), turn(one.device, refuse):
            pytest.fail("there was no turn to have")
        assert not one.device.acquire(blocking=False)


def test_a_turn_that_is_waited_for_comes_when_the_one_before_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "TURN_LOOK_S", 0.01)
    one, waited, had = Lanes(), threading.Event(), threading.Event()

    def second() -> None:
        with turn(one.device, waited.set):
            had.set()

    thread = threading.Thread(target=second)
    with turn(one.device, refuse):
        thread.start()
        assert waited.wait(60)
        assert not had.is_set()
    thread.join(60)
    assert had.is_set()


def test_a_clock_counts_from_when_its_block_was_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 103.5])
    monkeypatch.setattr(lanes.time, "monotonic", lambda: next(now))  # type: ignore[attr-defined]
    with Clock() as clock:
        assert clock.seconds == 3.5


class Now:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_share_is_that_of_the_last_minute_and_the_seconds_are_all() -> None:
    clock = Now()
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
    clock = Now()
    busy = BusyClock(clock)
    clock.now = 10
    with busy:
        clock.now = 20
        assert busy.read() == (10, 0.5)


def test_before_any_time_has_passed_the_share_is_nothing() -> None:
    assert BusyClock(Now()).read() == (0, 0)
