"""Many callers at once: what is answered 202 is done, what is not leaves no trace, and nothing is answered 5xx.

`pytest -m slow -s tests/service/test_load.py` runs the full size and prints what benchmarks/RESULTS.md tells.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from service.house import Answer, House, Outside, wait_for

Open = Callable[..., House]


@dataclass(frozen=True)
class Submission:
    """One request and what came of it."""

    asset_id: str
    answer: Answer
    seconds: float


@pytest.fixture
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Starts an API with these settings, and no worker yet."""
    houses = []

    def open_house(**settings: str) -> House:
        house = House(tmp_path_factory.mktemp("loaded"), {"LOG_LEVEL": "warning", "LEASE_S": "30"} | settings)
        houses.append(house)
        house.start("api")
        wait_for(house.is_open, "the port is open")
        wait_for(lambda: house.ask("GET", "/jobs").status == 200, "it is connected")
        return house

    yield open_house
    for house in houses:
        house.close()


def submitted(house: House, outside: Outside, num_jobs: int, num_clients: int) -> list[Submission]:
    """All that was answered to `num_jobs` submissions from `num_clients` at once."""

    def submit(number: int) -> Submission:
        request = {
            "session_id": "load",
            "asset_id": f"a{number}",
            "image_url": outside.url("/a.png"),
            "webhook_url": outside.url("/loaded"),
        }
        begun_at = time.monotonic()
        return Submission(
            f"a{number}", house.ask("POST", "/generate-3d", request), time.monotonic() - begun_at
        )

    with ThreadPoolExecutor(num_clients) as clients:
        return list(clients.map(submit, range(num_jobs)))


def listed(house: House, **wanted: str) -> list[dict[str, Any]]:
    """Every job that the service knows of."""
    jobs: list[dict[str, Any]] = []
    query = "&".join(f"{name}={value}" for name, value in wanted.items())
    cursor = ""
    while True:
        page = house.ask("GET", f"/jobs?limit=200&{query}{cursor}").json
        jobs += page["jobs"]
        if not page.get("next_cursor"):
            return jobs
        cursor = f"&cursor={page['next_cursor']}"


def num_succeeded(house: House) -> int:
    """Asked of the numbers, which cost the same however many jobs there are."""
    line = 'ai_engine_jobs_ended_total{code="",outcome="succeeded"} '
    text = house.ask("GET", "/metrics").body.decode()
    return int(sum(float(word.removeprefix(line)) for word in text.splitlines() if word.startswith(line)))


def check_none_is_lost(house: House, outside: Outside, num_jobs: int, num_clients: int) -> list[Submission]:
    answers = submitted(house, outside, num_jobs, num_clients)
    assert Counter(one.answer.status for one in answers) == {202: num_jobs}
    ids = {one.answer.json["job_id"] for one in answers}
    assert len(ids) == num_jobs
    assert {job["job_id"] for job in listed(house)} == ids
    print(f"\n{num_jobs} submissions, {num_clients} callers: {told(answers)}")

    house.start("worker")
    wait_for(lambda: num_succeeded(house) == num_jobs, "all jobs succeeded", deadline_s=3600)
    # A job is counted in its last step, a moment before its row says that it is over.
    wait_for(
        lambda: {job["job_id"] for job in listed(house, status="succeeded")} == ids, "the list says so too"
    )
    wait_for(
        lambda: ids <= {post.headers["webhook-id"].split(":")[0] for post in outside.posts("/loaded")},
        "all were delivered",
    )
    return answers


def check_a_full_queue_takes_no_half_job(
    house: House, outside: Outside, num_jobs: int, num_clients: int, room: int
) -> None:
    answers = submitted(house, outside, num_jobs, num_clients)
    by_status = Counter(one.answer.status for one in answers)
    print(f"\n{num_jobs} submissions, {num_clients} callers, room for {room}: {dict(by_status)}")
    refused = [one.answer for one in answers if one.answer.status == 429]

    assert set(by_status) == {202, 429}
    # Those that were looked at in the same moment may pass the limit together.
    assert room <= by_status[202] <= room + num_clients
    assert {answer.json["code"] for answer in refused} == {"queue_full"}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    accepted = {one.answer.json["job_id"] for one in answers if one.answer.status == 202}
    assert {job["job_id"] for job in listed(house)} == accepted
    folder = house.folder / "data" / "jobs"
    assert not folder.exists() or {path.name for path in folder.iterdir()} <= accepted


def told(answers: list[Submission]) -> str:
    seconds = sorted(one.seconds for one in answers)
    p99 = seconds[int(0.99 * len(seconds))]
    return f"p50 {statistics.median(seconds):.3f} s, p99 {p99:.3f} s, longest {seconds[-1]:.3f} s"


def test_of_many_submissions_at_once_none_is_lost(opened: Open, outside: Outside) -> None:
    check_none_is_lost(opened(), outside, num_jobs=30, num_clients=10)


def test_a_full_queue_refuses_and_leaves_nothing_half_made(opened: Open, outside: Outside) -> None:
    check_a_full_queue_takes_no_half_job(
        opened(MAX_QUEUED_JOBS="20"), outside, num_jobs=80, num_clients=16, room=20
    )


@pytest.mark.slow
def test_of_a_thousand_submissions_from_32_callers_none_is_lost(opened: Open, outside: Outside) -> None:
    begun_at = time.monotonic()

    answers = check_none_is_lost(opened(), outside, num_jobs=1000, num_clients=32)

    print(
        f"\n1,000 submissions, 32 callers: {told(answers)}; all done after {time.monotonic() - begun_at:.0f} s"
    )


@pytest.mark.slow
def test_a_full_queue_refuses_the_rest_of_a_thousand(opened: Open, outside: Outside) -> None:
    check_a_full_queue_takes_no_half_job(
        opened(MAX_QUEUED_JOBS="300"), outside, num_jobs=1000, num_clients=32, room=300
    )
