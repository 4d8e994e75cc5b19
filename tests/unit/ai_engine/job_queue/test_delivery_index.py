from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from support.sample_job import job

from ai_engine.job import Job
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.delivery_index import DeliveryFilter, DeliveryIndex
from ai_engine.job_queue.job_index import Place


@pytest.fixture
def index(each_database_url: str) -> Iterator[DeliveryIndex]:
    with closing(Database(each_database_url)) as database:
        yield DeliveryIndex(database)


def noted(index: DeliveryIndex, status: Any, **fields: Any) -> Job:
    one = job(**fields)
    index.note(one, 1, status)
    return one


def ids(index: DeliveryIndex, **wanted: Any) -> list[str]:
    return [found.place.job_id for found in index.page(DeliveryFilter(**wanted), 100)]


def test_deliveries_are_filtered_by_status_session_and_owner_the_newest_first(index: DeliveryIndex) -> None:
    old = noted(index, "dead", accepted_at_s=1.0, owner="shop")
    new = noted(index, "dead", accepted_at_s=2.0, owner="shop", session_id="s2")
    other = noted(index, "dead", accepted_at_s=3.0, owner="press")
    noted(index, "accepted", accepted_at_s=4.0, owner="shop")

    assert ids(index, status="dead") == [other.job_id, new.job_id, old.job_id]
    assert ids(index, status="dead", owner="shop") == [new.job_id, old.job_id]
    assert ids(index, session_id="s2") == [new.job_id]
    assert ids(index, owner="nobody") == []


def test_pages_of_one_moment_leave_nothing_out_and_nothing_comes_twice(index: DeliveryIndex) -> None:
    jobs = {noted(index, "dead", accepted_at_s=5.0).job_id for _ in range(7)}
    seen: list[str] = []
    after: Place | None = None

    while page := index.page(DeliveryFilter(status="dead"), 3, after):
        seen += [found.place.job_id for found in page]
        after = page[-1].place

    assert (len(seen), set(seen)) == (7, jobs)


def test_the_note_of_an_earlier_attempt_that_comes_late_changes_nothing(index: DeliveryIndex) -> None:
    one = noted(index, "waiting")
    index.note(one, 2, "dead")
    index.note(one, 3, "waiting")
    index.note(one, 2, "dead")
    index.note(one, 1, "waiting")

    (found,) = index.page(DeliveryFilter(), 10)
    assert (found.status, found.entry) == ("waiting", 3)


def test_a_forgotten_job_is_listed_no_more(index: DeliveryIndex) -> None:
    one, kept = noted(index, "dead"), noted(index, "dead")

    index.forget([one.job_id])

    assert ids(index) == [kept.job_id]
