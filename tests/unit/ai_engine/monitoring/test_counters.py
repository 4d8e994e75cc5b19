from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ai_engine.job_queue.database import Database
from ai_engine.monitoring.counters import Counters, Figure, WorkerFigures


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/jobs.sqlite"


@pytest.fixture
def figures(url: str) -> Iterator[Counters]:
    with closing(Database(url)) as database:
        yield Counters(database)


def test_numbers_add_up_by_name_and_kind(figures: Counters) -> None:
    done, failed = Figure.of("jobs", outcome="done"), Figure.of("jobs", outcome="failed")

    figures.add({done: 1, failed: 2})
    figures.add({done: 1.5})

    assert figures.all() == {done: 2.5, failed: 2}


def test_an_event_counts_once_however_often_and_from_wherever_it_is_told(figures: Counters, url: str) -> None:
    database = Database(url)
    other = Counters(database)
    told = []

    def tell(book: Counters) -> None:
        told.append(book.add_once("job 1", {Figure.of("jobs"): 1}))

    threads = [threading.Thread(target=tell, args=(book,)) for book in (figures, other) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()

    assert figures.all() == {Figure.of("jobs"): 1}
    assert sorted(told) == [False] * 7 + [True]


def test_two_processes_that_add_at_once_lose_nothing(figures: Counters, url: str) -> None:
    database = Database(url)
    other = Counters(database)

    def add(book: Counters) -> None:
        for _ in range(50):
            book.add({Figure.of("a"): 1, Figure.of("b", kind="x"): 1})

    threads = [threading.Thread(target=add, args=(book,)) for book in (figures, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.close()

    assert figures.all() == {Figure.of("a"): 100, Figure.of("b", kind="x"): 100}


def test_of_a_worker_the_last_word_counts(figures: Counters) -> None:
    figures.put_worker(WorkerFigures("w#1", 1.0, 0.5, None))
    figures.put_worker(WorkerFigures("w#1", 2.0, 0.25, 123))
    figures.put_worker(WorkerFigures("w#2", 0.0, 0.0, None))

    told = sorted(figures.workers(), key=lambda worker: worker.executor_id)
    assert told == [WorkerFigures("w#1", 2.0, 0.25, 123), WorkerFigures("w#2", 0.0, 0.0, None)]
