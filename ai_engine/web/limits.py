"""Limits per caller: a token bucket for requests, a limit on open answers and on open streams."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ai_engine.errors import RateExceeded, RequestRefused, TooManyStreams

MINUTE_S = 60.0
MAX_BUCKETS = 10_000
"""More callers than this within a minute: those whose buckets are fullest are forgotten first."""


@dataclass
class _Bucket:
    tokens: float
    seen_at: float


class TokenBuckets:
    """One bucket per caller, each as large as what it may ask in a minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def take(self, caller: str) -> float:
        """Takes one of the caller's tokens: 0; or, when none is left, the seconds until there is one."""
        with self._lock:
            now = self._clock()
            if len(self._buckets) >= MAX_BUCKETS and caller not in self._buckets:
                self._forget(now)
            bucket = self._buckets.setdefault(caller, _Bucket(self._per_minute, now))
            bucket.tokens, bucket.seen_at = self._refill(bucket, now), now
            if bucket.tokens < 1:
                return (1 - bucket.tokens) * MINUTE_S / self._per_minute
            bucket.tokens -= 1
            return 0.0

    def _refill(self, bucket: _Bucket, now: float) -> float:
        gained = (now - bucket.seen_at) * self._per_minute / MINUTE_S
        return min(float(self._per_minute), bucket.tokens + gained)

    def _forget(self, now: float) -> None:
        """Drops the fuller half of the buckets: a full bucket is what a caller without one starts with."""
        by_room = sorted(self._buckets, key=lambda name: self._refill(self._buckets[name], now))
        for name in by_room[len(by_room) // 2 :]:
            del self._buckets[name]


RETRY_AFTER_S = 5


class OpenPlaces:
    """Counts what each caller has open: requests that are being answered, or event streams."""

    def __init__(self, most: int, refusal: Callable[[int], RequestRefused]) -> None:
        """`most` for each caller, 0 for no limit; `refusal` of that number is raised at one more."""
        self._most, self._refusal = most, refusal
        self._num_open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, caller: str) -> Callable[[], None]:
        """Takes one of the caller's places, and gives back what returns it, to be called once.

        Raises:
            RequestRefused: all of them are taken.
        """
        with self._lock:
            if self._most and self._num_open.get(caller, 0) >= self._most:
                raise self._refusal(self._most)
            self._num_open[caller] += 1
        return partial(self._give_back, caller)

    def _give_back(self, caller: str) -> None:
        with self._lock:
            self._num_open[caller] -= 1
            if not self._num_open[caller]:
                del self._num_open[caller]


class RefusalCounts:
    """Counts what was refused for want of room or time, by key and error code, until the numbers are taken."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def note(self, owner: str | None, code: str) -> None:
        """Counts one; `owner` is None where the request brought no key, or keys are off."""
        with self._lock:
            self._counts[owner or "", code] += 1

    def take(self) -> Counter[tuple[str, str]]:
        """What was counted since the last call, by owner and code."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return taken


def too_many_answers(most: int) -> RateExceeded:
    """The refusal of one more request while `most` are being answered."""
    detail = f"{most} of your requests are still being answered: read their answers first."
    return RateExceeded(detail, retry_after_s=RETRY_AFTER_S)


def too_many_streams(most: int) -> TooManyStreams:
    """The refusal of one more event stream while `most` are open."""
    return TooManyStreams(f"{most} of your streams are open.", retry_after_s=RETRY_AFTER_S)
