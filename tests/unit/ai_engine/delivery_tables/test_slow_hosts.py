from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import pytest
import sqlalchemy as sa

from ai_engine.delivery_tables.slow_hosts import SlowHosts
from ai_engine.job_queue.database import Database


@pytest.fixture
def hosts(each_database_url: str) -> Iterator[Callable[[float], SlowHosts]]:
    with closing(Database(each_database_url)) as database:
        yield partial(SlowHosts, database)


def test_a_slow_host_is_one_owners_until_a_quick_attempt(hosts: Callable[[float], SlowHosts]) -> None:
    slow, seen = hosts(600.0), hosts(600.0)
    slow.note("shop", "hook.example.com", is_slow=True)
    slow.note("shop", "hook.example.com", is_slow=True)
    slow.note(None, "hook.example.com", is_slow=True)

    assert seen.has("shop", "hook.example.com")
    assert seen.has(None, "hook.example.com")
    assert not seen.has("press", "hook.example.com"), "what one key does costs another nothing"
    assert not seen.has("shop", "other.example.com")
    assert seen.count() == {"shop": 1, "": 1}

    slow.note("shop", "hook.example.com", is_slow=False)
    assert not seen.has("shop", "hook.example.com")


def test_a_host_is_forgotten_when_its_time_is_over(hosts: Callable[[float], SlowHosts]) -> None:
    passed, kept = hosts(-1.0), hosts(600.0)
    passed.note("shop", "old.example.com", is_slow=True)
    assert not kept.has("shop", "old.example.com")

    kept.note("shop", "new.example.com", is_slow=True)

    with kept._database.read() as connection:
        rows = connection.execute(sa.text("SELECT host FROM ai_engine_slow_host")).scalars()
        assert list(rows) == ["new.example.com"]


def test_a_database_that_is_away_costs_the_order_alone(hosts: Callable[[float], SlowHosts]) -> None:
    away = hosts(600.0)
    with away._database.write() as connection:
        connection.execute(sa.text("DROP TABLE ai_engine_slow_host"))

    away.note("shop", "hook.example.com", is_slow=True)
    assert not away.has("shop", "hook.example.com")
