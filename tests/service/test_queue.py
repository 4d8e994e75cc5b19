"""Jobs in a row: who comes first, what is done at the same time, and what a job that waits is told."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from service.conftest import ON_SQLITE
from service.house import House, Outside, wait_for


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, database: dict[str, str]) -> Iterator[House]:
    settings = {"STAND_IN_STEP_S": "0.3", "JOBS_IN_FLIGHT": "1"}
    house = House(tmp_path_factory.mktemp("queue"), database | settings)
    house.start("api")
    yield house
    house.close()


@pytest.fixture
def idle_house(started: House) -> House:
    """An API whose worker has not come yet."""
    if "worker" in started.running:
        started.stop("worker")
    wait_for(started.is_open, "the port is open")
    wait_for(lambda: started.ask("GET", "/jobs/none").status == 404, "the database is open")
    return started


def begun(house: House, job_ids: list[str]) -> list[str]:
    """The jobs in the order in which a worker took them."""
    starts = [line["job_id"] for line in house.log("worker") if line["message"] == "stage started"]
    return [job_id for job_id in dict.fromkeys(starts) if job_id in job_ids]


def events_of(answer: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and content of each server-sent event, as it comes."""
    kind = ""
    for line in answer:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            kind = value
        if name == "data":
            yield kind, json.loads(value)


def test_jobs_are_taken_by_priority_and_a_cancelled_one_never(idle_house: House, outside: Outside) -> None:
    house, url = idle_house, outside.url("/a.png")
    usual = house.submit(image_url=url, num_inference_steps=1)
    late = house.submit(image_url=url, num_inference_steps=1, priority=5)
    first = house.submit(image_url=url, num_inference_steps=1, priority=-5)
    never = house.submit(image_url=url, num_inference_steps=1, priority=-10)
    house.ask("DELETE", f"/jobs/{never}")
    places = {job_id: house.job(job_id)["queue_position"] for job_id in (first, usual, late, never)}

    house.start("worker")
    for job_id in (usual, late, first):
        assert house.wait_until_over(job_id)["status"] == "succeeded"

    assert list(places.values()) == [1, 2, 3, None]
    assert begun(house, list(places)) == [first, usual, late]
    assert house.job(late)["queue_position"] is None


def test_a_job_that_waits_hears_when_it_moves_up(idle_house: House, outside: Outside) -> None:
    house, url = idle_house, outside.url("/a.png")
    before, mine = (house.submit(image_url=url) for _ in range(2))

    with urllib.request.urlopen(f"http://127.0.0.1:{house.port}/jobs/{mine}/events", timeout=120) as answer:
        told = events_of(answer)
        assert (next(told)[1]["position"], house.job(mine)["queue_position"]) == (2, 2)
        house.ask("DELETE", f"/jobs/{before}")
        kind, place = next(told)
        assert (kind, place["position"], set(place)) == ("queue", 1, {"position", "eta_s"})
        house.ask("DELETE", f"/jobs/{mine}")
        assert [kind for kind, _ in told] == ["done"]


@ON_SQLITE
def test_a_jobs_time_counts_from_the_start_of_work(idle_house: House, outside: Outside) -> None:
    house = idle_house
    job_id = house.submit(image_url=outside.url("/a.png"), num_inference_steps=1, timeout_s=10)
    submitted_at = time.monotonic()
    wait_for(lambda: time.monotonic() - submitted_at > 11, "its time would be over")

    house.start("worker")

    assert house.wait_until_over(job_id)["status"] == "succeeded"


def test_the_device_has_one_job_at_a_time_and_the_rest_is_done_meanwhile(
    idle_house: House, outside: Outside
) -> None:
    house = idle_house
    house.settings["JOBS_IN_FLIGHT"] = "3"
    hook = f"/overlap/{house.port}"
    ids = [
        house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url(hook), num_inference_steps=10)
        for _ in range(4)
    ]
    house.start("worker")
    for job_id in ids:
        house.wait_until(job_id, "succeeded")
    wait_for(lambda: len(outside.posts(hook)) == 4, "all were delivered")
    lines = [line for line in house.log("worker") if line.get("job_id") in ids]

    def when(message: str, job_id: str, stage: str | None = None) -> int:
        wanted = (message, job_id, stage)
        return [(line["message"], line["job_id"], line.get("stage")) for line in lines].index(wanted)

    device = [line["message"] for line in lines if line["message"].startswith("device")]
    assert device == ["device taken", "device free"] * 4
    order = sorted(ids, key=lambda job_id: when("device taken", job_id))
    for before, now, after in zip(order, order[1:], order[2:], strict=False):
        assert when("stage finished", after, "cutout") < when("device free", now)
        assert (
            when("device free", before) < when("stage started", before, "finish") < when("device free", now)
        )
