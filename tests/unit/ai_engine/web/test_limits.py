from __future__ import annotations

import pytest

from ai_engine.errors import RateExceeded, TooManyStreams
from ai_engine.web import limits as rate
from ai_engine.web.limits import OpenPlaces, RefusalCounts, TokenBuckets, too_many_answers, too_many_streams


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_caller_may_ask_as_often_as_a_minute_allows_and_is_told_when_it_may_again() -> None:
    clock = Clock()
    buckets = TokenBuckets(3, clock)

    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == pytest.approx(20)


def test_tokens_come_back_evenly_and_never_more_than_a_minutes_worth() -> None:
    clock = Clock()
    buckets = TokenBuckets(3, clock)
    while buckets.take("a") == 0:
        pass

    clock.now += 20
    assert (buckets.take("a"), buckets.take("a") > 0) == (0, True)
    clock.now += 3600
    assert [buckets.take("a") > 0 for _ in range(4)] == [False, False, False, True]


def test_refused_requests_do_not_prolong_the_wait() -> None:
    clock = Clock()
    buckets = TokenBuckets(1, clock)
    buckets.take("a")
    for _ in range(50):
        clock.now += 1
        buckets.take("a")

    clock.now += 10
    assert buckets.take("a") == 0


def test_callers_do_not_share_a_bucket() -> None:
    buckets = TokenBuckets(1, Clock())
    buckets.take("a")

    assert buckets.take("b") == 0


def test_a_flood_of_callers_is_forgotten_but_not_those_who_asked_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate, "MAX_BUCKETS", 100)
    buckets = TokenBuckets(2, Clock())
    while buckets.take("greedy") == 0:
        pass

    for n in range(1000):
        buckets.take(f"caller {n}")

    assert len(buckets._buckets) <= 100
    assert buckets.take("greedy") > 0


def test_a_caller_has_so_many_places_and_takes_nobody_elses() -> None:
    places = OpenPlaces(2, too_many_answers)
    give_back, _ = places.take("a"), places.take("a")
    with pytest.raises(RateExceeded, match="2 of your requests") as caught:
        places.take("a")
    assert caught.value.retry_after_s
    places.take("b")
    give_back()
    places.take("a")


def test_places_without_a_limit_are_never_refused_and_streams_by_their_own_name() -> None:
    boundless, streams = OpenPlaces(0, too_many_streams), OpenPlaces(1, too_many_streams)
    for _ in range(100):
        boundless.take("a")
    streams.take("a")
    with pytest.raises(TooManyStreams):
        streams.take("a")


def test_refusals_are_counted_by_key_and_code_until_they_are_taken() -> None:
    counts = RefusalCounts()
    for owner, code in (("shop", "rate_limited"), (None, "unavailable"), ("shop", "rate_limited")):
        counts.note(owner, code)

    assert counts.take() == {("shop", "rate_limited"): 2, ("", "unavailable"): 1}
    assert counts.take() == {}
