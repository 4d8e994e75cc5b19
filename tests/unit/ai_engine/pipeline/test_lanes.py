from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest

from ai_engine.pipeline import lanes
from ai_engine.pipeline.lanes import BusyClock, Claim, Clock, Lane, Lanes, turn

ANYBODY = Claim()


class StopWaiting(Exception):
    pass


@dataclass
class Impatient:
    """Gives up at the first look."""

    claim: Claim = ANYBODY

    def waits(self) -> None:
        raise StopWaiting


@dataclass
class Patient:
    claim: Claim = ANYBODY
    has_waited: threading.Event = field(default_factory=threading.Event)

    def waits(self) -> None:
        self.has_waited.set()


def is_free(lane: Lane, claim: Claim = ANYBODY) -> bool:
    ticket = lane.enter(claim)
    if not lane.wait(ticket, 0):
        lane.give_up(ticket)
        return False
    lane.leave(claim)
    return True


def served(lane: Lane, claims: list[Claim]) -> list[Claim]:
    """The order in which `claims`, all waiting, have their turns."""
    tickets = {lane.enter(claim): claim for claim in claims}
    order = []
    while tickets:
        ticket = next(ticket for ticket in tickets if lane.wait(ticket, 0))
        order.append(tickets.pop(ticket))
        lane.leave(order[-1])
    return order


def test_one_job_at_a_time_is_on_the_device_and_several_download() -> None:
    one = Lanes()
    with turn(one.device, Impatient()):
        assert not is_free(one.device)
    with turn(one.download, Impatient()), turn(one.download, Impatient()):
        pass


def test_a_turn_is_given_back_whatever_happens_in_it() -> None:
    one = Lanes()
    with pytest.raises(KeyError), turn(one.device, Impatient()):
        raise KeyError
    assert is_free(one.device)


def test_a_job_that_waits_may_give_up_and_takes_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "TURN_LOOK_S", 0.01)
    one = Lanes()
    with turn(one.device, Impatient()):
        with pytest.raises(StopWaiting), turn(one.device, Impatient()):
            pytest.fail("there was no turn to have")
        assert not is_free(one.device)
    assert is_free(one.device)


def test_a_turn_that_is_waited_for_comes_when_the_one_before_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "TURN_LOOK_S", 0.01)
    one, second, had = Lanes(), Patient(), threading.Event()

    def wait() -> None:
        with turn(one.device, second):
            had.set()

    thread = threading.Thread(target=wait)
    with turn(one.device, Impatient()):
        thread.start()
        assert second.has_waited.wait(60)
        assert not had.is_set()
    thread.join(60)
    assert had.is_set()


def test_owners_take_turns_however_many_jobs_one_of_them_has() -> None:
    flood, late = [Claim("shop")] * 5, [Claim("press")] * 2

    assert [claim.owner for claim in served(Lane(1), flood + late)] == [
        "shop", "press", "shop", "press", "shop", "shop", "shop",
    ]  # fmt: skip


def test_an_owner_that_comes_anew_waits_for_one_job_of_the_other() -> None:
    lane, shop = Lane(1), Claim("shop")
    running = lane.enter(shop)
    assert lane.wait(running, 0)
    waiting = [lane.enter(shop) for _ in range(3)]
    newcomer = lane.enter(Claim("press"))

    lane.leave(shop)

    assert not any(lane.wait(ticket, 0) for ticket in waiting)
    assert lane.wait(newcomer, 0)


def test_priority_orders_an_owners_own_jobs_alone() -> None:
    urgent, usual, others = Claim("shop", -5), Claim("shop", 0), Claim("press", 9)

    assert served(Lane(1), [usual, usual, urgent, others]) == [urgent, others, usual, usual]


def test_an_owner_holds_no_more_than_its_places_and_leaves_the_rest_to_others() -> None:
    lane, shop, press = Lane(3, per_owner=2), Claim("shop"), Claim("press")
    for _ in range(2):
        assert lane.wait(lane.enter(shop), 0)

    assert not is_free(lane, shop)
    assert is_free(lane, press)


def test_a_lane_forgets_whom_it_served_once_it_is_idle() -> None:
    lane = Lane(1)
    for number in range(20):
        assert is_free(lane, Claim(f"key {number}"))
    assert not lane._served_at


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
