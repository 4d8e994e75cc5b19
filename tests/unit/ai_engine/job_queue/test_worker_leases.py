from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Barrier, Thread

import pytest

from ai_engine.facts import ModelFacts, PartLicence
from ai_engine.job_queue import worker_leases as lease
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.worker_leases import Leases, WorkerState, new_executor_id, slot_name

SLOT = "machine:cuda"


@pytest.fixture
def leases(each_database_url: str) -> Iterator[Leases]:
    with closing(Database(each_database_url)) as database:
        yield Leases(database)


def test_no_two_incarnations_have_one_id() -> None:
    assert new_executor_id(SLOT) != new_executor_id(SLOT)
    assert new_executor_id(SLOT).startswith(f"{SLOT}#")


def test_workers_with_folders_of_their_own_do_not_share_a_slot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert slot_name("cpu", Path("a")) == slot_name("cpu", tmp_path / "a")
    assert slot_name("cpu", Path("a")) != slot_name("cpu", Path("b"))


def test_who_died_long_ago_is_struck_out_and_counts_as_dead(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "FORGOTTEN_S", -60.0)
    for name in ("dead", "living"):
        leases.take(name, SLOT)
    leases.give_up("dead")

    leases.take("new", SLOT)

    assert {worker.executor_id for worker in leases.workers()} == {"living", "new"}
    assert leases.dead(["dead", "living"]) == ["dead"]


def test_a_worker_that_renews_its_lease_lives(leases: Leases) -> None:
    leases.take("one", SLOT)

    leases.bury_stale("other", 60.0)

    assert leases.renew("one")
    assert leases.dead(["one"]) == []


def test_a_worker_that_gave_no_sign_of_life_is_dead_and_learns_it(leases: Leases) -> None:
    leases.take("one", SLOT)

    leases.bury_stale("other", -1.0)

    assert leases.dead(["one"]) == ["one"]
    assert not leases.renew("one")


def test_a_worker_never_declares_itself_dead_however_slow_its_machine_is(leases: Leases) -> None:
    leases.take("one", SLOT)

    leases.bury_stale("one", -1.0)

    assert leases.renew("one")


def test_a_successor_buries_what_was_in_its_slot_and_nobody_else(leases: Leases) -> None:
    leases.take("old", SLOT)
    leases.take("new", SLOT)
    leases.take("other", "machine:cpu")

    leases.bury_earlier("new", SLOT)

    assert leases.dead(["old", "new", "other"]) == ["old"]
    assert leases.renew("new")
    assert leases.renew("other")


def test_a_worker_that_leaves_gives_its_jobs_free_at_once(leases: Leases) -> None:
    leases.take("one", SLOT)

    leases.give_up("one")

    assert leases.dead(["one"]) == ["one"]


def test_whoever_has_no_lease_is_dead(leases: Leases) -> None:
    leases.take("one", SLOT)

    assert leases.dead(["one", "of another time"]) == ["of another time"]
    assert leases.dead([]) == []


def test_what_a_worker_says_of_itself_can_be_read_by_others(leases: Leases) -> None:
    leases.take("one", SLOT)
    assert [(worker.state, worker.model_id) for worker in leases.workers()] == [(WorkerState.LOADING, None)]

    leases.describe("one", WorkerState.READY, model_id="tiny", licence="free", has_gpu=True)
    leases.describe("one", WorkerState.DRAINING)

    (worker,) = leases.workers()
    assert (worker.executor_id, worker.slot, worker.is_alive) == ("one", SLOT, True)
    assert (worker.state, worker.model_id, worker.licence, worker.has_gpu) == (
        "draining",
        "tiny",
        "free",
        True,
    )
    assert -1.0 < worker.age_s < 600.0


def test_a_worker_that_loads_tells_how_far_it_is_until_it_is_something_else(leases: Leases) -> None:
    leases.take("one", SLOT)
    assert [worker.loaded for worker in leases.workers()] == [0.0]

    for share in (0.25, 0.5):
        leases.note_loaded("one", share)
    assert [(worker.state, worker.loaded) for worker in leases.workers()] == [("loading", 0.5)]

    leases.describe("one", WorkerState.READY)
    assert [(worker.state, worker.loaded) for worker in leases.workers()] == [("ready", 0.0)]


def test_a_request_may_choose_what_every_living_worker_has(leases: Leases) -> None:
    assert leases.matting_models() is None

    for name, models in (("one", ["tiny", "u2net"]), ("two", ["tiny", "isnet-general-use"])):
        leases.take(name, SLOT)
        leases.announce_matting(name, models)
    assert leases.matting_models() == ["tiny"]

    leases.give_up("two")
    assert leases.matting_models() == ["tiny", "u2net"]

    leases.give_up("one")
    assert leases.matting_models() == ["tiny", "isnet-general-use"], "the last to announce, while none lives"


def test_many_processes_may_open_a_new_database_at_once(each_database_url: str) -> None:
    start, opened = Barrier(6), []

    def open_it() -> None:
        database = Database(each_database_url)
        start.wait()
        Leases(database)
        opened.append(database)

    threads = [Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(opened) == 6
    for database in opened:
        database.close()


CARD = ModelFacts(
    "made-up-1", "Made up", (PartLicence("weights", "MIT", "https://example.com", "2026-11-28"),)
)


def test_the_models_of_living_workers_are_listed_with_their_cards_in_their_order(leases: Leases) -> None:
    leases.take("one", "machine:cuda:0@folder")
    leases.take("two", "machine:cuda:1@folder")
    leases.announce_models("one", {"fine": CARD, "fast": None})
    leases.announce_models("two", {"fast": CARD})

    served = leases.served_models()

    assert {(one.executor_id, one.name, one.device) for one in served} == {
        ("one", "fine", "cuda:0"),
        ("one", "fast", "cuda:0"),
        ("two", "fast", "cuda:1"),
    }
    assert [one.name for one in served if one.executor_id == "one"] == ["fine", "fast"]
    assert {one.facts for one in served} == {CARD, None}


def test_a_later_announcement_of_a_worker_takes_the_place_of_its_first(leases: Leases) -> None:
    leases.take("one", SLOT)
    leases.announce_models("one", {"fine": None, "fast": None})

    leases.announce_models("one", {"fine": CARD})

    (only,) = leases.served_models()
    assert (only.name, only.facts, only.state) == ("fine", CARD, WorkerState.LOADING)


def test_a_dead_worker_s_models_count_while_no_other_lives(leases: Leases) -> None:
    leases.take("dead", SLOT)
    leases.announce_models("dead", {"fine": CARD})
    leases.give_up("dead")
    assert [one.name for one in leases.served_models()] == ["fine"]

    leases.take("living", SLOT)
    leases.announce_models("living", {"fast": CARD})

    assert [one.name for one in leases.served_models()] == ["fast"]


def test_a_worker_that_could_not_start_serves_nothing(leases: Leases) -> None:
    leases.take("one", SLOT)
    leases.announce_models("one", {"fine": None})

    leases.describe("one", WorkerState.FAILED)

    assert list(leases.served_models()) == []
