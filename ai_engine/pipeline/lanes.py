"""Lanes: how many jobs of one worker may be in each stage at once, and whose turn it is (fair queueing).

Owners take turns, round robin, so that one owner's backlog delays another's job by one job of the lane. Among an
owner's own jobs the lower priority number goes first, then the one that came first.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

TURN_LOOK_S = 1.0
WINDOW_S = 60.0
"""Over which the busy share of a device is measured."""


@dataclass(frozen=True)
class Claim:
    """Whose job asks for a turn."""

    owner: str | None = None
    """The name of the API key; None where keys are off."""
    priority: int = 0
    """Among the owner's own jobs; the lowest goes first."""


class Waiter(Protocol):
    """What waits for a turn."""

    @property
    def claim(self) -> Claim:
        """Whose job it is."""

    def waits(self) -> None:
        """Called now and then while it waits. Raises to stop that."""


class Lane:
    """Places in one stage, given to owners in turn."""

    def __init__(self, places: int, per_owner: int | None = None) -> None:
        """`per_owner`: the most places that one owner holds; None: all of them."""
        self._places, self._per_owner = places, min(places, per_owner or places)
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._waiting: dict[int, Claim] = {}
        """By ticket number, in the order in which they came."""
        self._held: Counter[str | None] = Counter()
        self._served_at: dict[str | None, int] = {}
        """The number of each owner's latest turn."""

    def enter(self, claim: Claim) -> int:
        """The ticket of one more that waits."""
        with self._changed:
            ticket = next(self._numbers)
            self._waiting[ticket] = claim
            return ticket

    def wait(self, ticket: int, timeout_s: float) -> bool:
        """True once the ticket has its turn; False when that took longer than `timeout_s`."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._next() == ticket, timeout_s):
                return False
            owner = self._waiting.pop(ticket).owner
            self._held[owner] += 1
            self._served_at[owner] = next(self._numbers)
            self._changed.notify_all()
            return True

    def give_up(self, ticket: int) -> None:
        """Takes a ticket back that waits no longer."""
        with self._changed:
            del self._waiting[ticket]
            self._changed.notify_all()

    def leave(self, claim: Claim) -> None:
        """Ends a turn."""
        with self._changed:
            self._held[claim.owner] -= 1
            self._forget_idle()
            self._changed.notify_all()

    def _next(self) -> int | None:
        """The ticket whose turn it is; None when no place is free for any."""
        if self._held.total() >= self._places:
            return None
        fitting = [
            ticket for ticket in self._waiting if self._held[self._waiting[ticket].owner] < self._per_owner
        ]
        return min(fitting, key=self._rank, default=None)

    def _rank(self, ticket: int) -> tuple[int, int, int, int]:
        claim = self._waiting[ticket]
        return self._held[claim.owner], self._served_at.get(claim.owner, -1), claim.priority, ticket

    def _forget_idle(self) -> None:
        """Drops owners that neither hold nor want a place, once no owner waits: the order is kept while it matters."""
        self._held = +self._held
        if not self._waiting:
            self._served_at = {owner: self._served_at[owner] for owner in self._held}


@dataclass(frozen=True)
class Lanes:
    """How many jobs of one worker may be in each stage at once."""

    download: Lane = field(default_factory=lambda: Lane(8, per_owner=3))
    cutout: Lane = field(default_factory=lambda: Lane(1))
    device: Lane = field(default_factory=lambda: Lane(1))
    finish: Lane = field(default_factory=lambda: Lane(2))


@contextmanager
def turn(lane: Lane, waiter: Waiter) -> Iterator[None]:
    """One turn in a lane; `waiter.waits` is called now and then while it is waited for, and raises to stop that."""
    ticket = lane.enter(waiter.claim)
    try:
        while not lane.wait(ticket, TURN_LOOK_S):
            waiter.waits()
    except BaseException:
        lane.give_up(ticket)
        raise
    try:
        yield
    finally:
        lane.leave(waiter.claim)


class Clock:
    """Seconds since a `with` block was entered, after everything it waited for before."""

    def __enter__(self) -> Clock:
        self._began_at = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def seconds(self) -> float:
        """Since the block was entered."""
        return time.monotonic() - self._began_at


class BusyClock:
    """Runs while somebody is inside its `with` block; one at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._before_s = 0.0
        self._since: float | None = None
        self._readings = deque([(clock(), 0.0)])

    def __enter__(self) -> None:
        with self._lock:
            self._since = self._clock()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._before_s, self._since = self._busy_s(self._clock()), None

    def read(self) -> tuple[float, float]:
        """The busy seconds so far, and their share of about the last minute, 0 to 1."""
        with self._lock:
            now = self._clock()
            busy_s = self._busy_s(now)
            while len(self._readings) > 1 and self._readings[1][0] <= now - WINDOW_S:
                self._readings.popleft()
            then, busy_then_s = self._readings[0]
            self._readings.append((now, busy_s))
        passed_s = now - then
        return busy_s, min(1.0, (busy_s - busy_then_s) / passed_s) if passed_s > 0 else 0.0

    def _busy_s(self, now: float) -> float:
        return self._before_s + (now - self._since if self._since is not None else 0.0)
