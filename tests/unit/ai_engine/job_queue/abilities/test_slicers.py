"""What workers announce of their slicers, in the job database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import sqlalchemy as sa

from ai_engine.job_queue.abilities import slicers as module
from ai_engine.job_queue.abilities.slicers import Slicers
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.worker_leases import Leases
from ai_engine.slicing.offer import SlicerOffer
from ai_engine.slicing.profiles import SHIPPED
from ai_engine.wishes.slicing import Slice

OFFER = SlicerOffer.of_folder(SHIPPED)


@pytest.fixture
def leases(each_database_url: str) -> Iterator[Leases]:
    with closing(Database(each_database_url)) as database:
        yield Leases(database)


@pytest.fixture
def slicers(leases: Leases) -> Slicers:
    return Slicers(leases._database, leases)


def has_slicer(slicers: Slicers) -> bool:
    offer = slicers.common()
    assert offer is not None
    return offer.refusal(Slice()) is None


def test_every_living_worker_counts_and_the_last_one_while_none_lives(
    leases: Leases, slicers: Slicers
) -> None:
    assert slicers.common() is None
    for name, offer in (("with", OFFER), ("without", SlicerOffer())):
        leases.take(name, name)
        slicers.announce(name, offer)
    assert not has_slicer(slicers)

    leases.give_up("without")
    assert has_slicer(slicers)

    leases.give_up("with")
    assert not has_slicer(slicers), "the one that announced last"


def test_announcements_of_the_dead_are_forgotten(
    leases: Leases, slicers: Slicers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FORGOTTEN_S", -60.0)
    for name in ("dead", "living"):
        leases.take(name, name)
        slicers.announce(name, OFFER)
    leases.give_up("dead")

    slicers.announce("new", OFFER)

    with leases._database.read() as connection:
        assert set(connection.execute(sa.select(module._SLICER.c.executor_id)).scalars()) == {"living", "new"}
