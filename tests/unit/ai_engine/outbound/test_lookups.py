from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from ai_engine.outbound.lookups import LookupPlaces


def places(count: int) -> LookupPlaces:
    return LookupPlaces(threading.Semaphore(count))


def test_an_answer_comes_and_leaves_its_place() -> None:
    one = places(1)
    for _ in range(3):
        lookup = one.begin(lambda: ["192.0.2.1"], timeout_s=60, wait_s=60)
        assert lookup is not None
        assert lookup.answer() == ["192.0.2.1"]


def test_names_that_do_not_answer_take_no_more_threads_than_there_are_places() -> None:
    may_answer, two = threading.Event(), places(2)

    def hang() -> Sequence[str]:
        may_answer.wait(60)
        return ["192.0.2.1"]

    begun = [two.begin(hang, timeout_s=60, wait_s=0.0) for _ in range(10)]

    assert [lookup is not None for lookup in begun] == [True] * 2 + [False] * 8
    may_answer.set()
    assert [lookup.answer() for lookup in begun if lookup] == [["192.0.2.1"]] * 2


def test_a_late_answer_is_an_error_in_time() -> None:
    may_answer = threading.Event()
    lookup = places(1).begin(lambda: ["192.0.2.1"] if may_answer.wait(60) else [], timeout_s=0.0, wait_s=0.0)
    assert lookup is not None
    with pytest.raises(TimeoutError, match="in time"):
        lookup.answer()
    may_answer.set()


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("no name")])
def test_the_error_of_the_resolver_is_an_os_error(error: Exception) -> None:
    def fail() -> Sequence[str]:
        raise error

    lookup = places(1).begin(fail, timeout_s=60, wait_s=0.0)
    assert lookup is not None
    with pytest.raises(OSError, match="no"):
        lookup.answer()


def test_a_name_without_addresses_is_an_error() -> None:
    lookup = places(1).begin(list, timeout_s=60, wait_s=0.0)
    assert lookup is not None
    with pytest.raises(OSError, match="no address"):
        lookup.answer()
