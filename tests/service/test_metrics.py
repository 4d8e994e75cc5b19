"""What `GET /metrics` tells after jobs that succeeded, failed, were cancelled, taken over and not delivered."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ai_engine.web.api_keys import new_key, setting_entry
from service.house import House, Outside, wait_for

KEY = new_key()
BEARER = {"Authorization": f"Bearer {KEY}"}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = {"LEASE_S": "3", "WEBHOOK_DELAYS_S": "0,0.1", "STAND_IN_STEP_S": "0.1"}
    house = House(tmp_path_factory.mktemp("measured"), settings)
    house.start("api")
    house.start("worker")
    house.wait_until_ready()
    yield house
    house.close()


def is_answered(house: House) -> bool:
    return house.ask("GET", "/metrics", headers=BEARER).status == 200


def scraped(house: House) -> Samples:
    text = house.ask("GET", "/metrics").body.decode()
    families = text_string_to_metric_families(text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def number(house: House, name: str, **labels: str) -> float:
    return scraped(house).get((f"ai_engine_{name}", frozenset(labels.items())), 0.0)


def test_one_scrape_tells_how_jobs_ended_and_how_long_their_stages_took(house: House, world: Outside) -> None:
    done = house.submit(image_url=world.url("/a.png"), webhook_url=world.url("/ok"))
    failed = house.submit(image_url=world.url("/none"), webhook_url=world.url("/ok"))
    house.wait_until(done, "succeeded")
    house.wait_until(failed, "failed")

    wait_for(lambda: number(house, "delivery_attempts_total", result="accepted") == 2, "both were counted")
    assert number(house, "jobs_ended_total", outcome="succeeded", code="") == 1
    assert number(house, "jobs_ended_total", outcome="failed", code="image_download_failed") == 1
    for stage in ("queue", "download", "cutout", "denoise", "decode", "finish"):
        assert number(house, "stage_seconds_bucket", stage=stage, le="+Inf") >= 1
        assert number(house, "stage_seconds_count", stage=stage) >= 1
    assert number(house, "stage_seconds_sum", stage="denoise") >= 0.4
    assert number(house, "stage_seconds_bucket", stage="denoise", le="0.3") == 0
    assert number(house, "workers", state="ready") == 1
    assert [value for (name, _), value in scraped(house).items() if name == "ai_engine_build_info"] == [1]


def test_the_device_is_seen_to_be_busy_while_it_is(house: House, world: Outside) -> None:
    (slot,) = {
        dict(labels)["worker"]
        for name, labels in scraped(house)
        if name == "ai_engine_worker_device_busy_share"
    }
    before = number(house, "worker_device_busy_seconds_total", worker=slot)
    job_id = house.submit(image_url=world.url("/a.png"), num_inference_steps=30)

    wait_for(
        lambda: number(house, "worker_device_busy_seconds_total", worker=slot) > before + 1.0,
        "a job that still runs is counted",
    )
    assert 0 < number(house, "worker_device_busy_share", worker=slot) <= 1
    assert house.job(job_id)["status"] in ("running", "succeeded")
    house.wait_until(job_id, "succeeded")


def test_a_delivery_that_is_given_up_is_a_dead_one(house: House, world: Outside) -> None:
    world.answers["/broken"] = [(500, {})] * 2
    house.submit(image_url=world.url("/a.png"), webhook_url=world.url("/broken"))

    wait_for(lambda: number(house, "dead_deliveries_total") == 1, "it was given up")
    assert number(house, "delivery_attempts_total", result="failed") == 1
    assert number(house, "delivery_attempts_total", result="dead") == 1


def test_jobs_that_wait_are_counted_with_the_age_of_the_oldest(house: House, world: Outside) -> None:
    house.kill("worker")
    waiting = [house.submit(image_url=world.url("/a.png")) for _ in range(3)]

    assert number(house, "jobs_queued") == 3
    wait_for(lambda: number(house, "oldest_queued_job_age_seconds") > 0.5, "the oldest has waited")
    for job_id in waiting:
        house.ask("DELETE", f"/jobs/{job_id}")
    assert number(house, "jobs_queued") == 0
    assert number(house, "oldest_queued_job_age_seconds") == 0
    house.start("worker")
    wait_for(
        lambda: number(house, "jobs_ended_total", outcome="cancelled", code="cancelled") == 3,
        "the worker counted what was cancelled while it was away, once each",
    )


def test_a_job_taken_from_a_dead_worker_is_counted_and_ends_once(house: House, world: Outside) -> None:
    house.wait_until_ready()
    before = number(house, "jobs_ended_total", outcome="succeeded", code="")
    job_id = house.submit(image_url=world.url("/a.png"), num_inference_steps=40)
    wait_for(lambda: house.job(job_id)["stage"] == "denoise", "the job is on the device")
    assert number(house, "jobs_running") == 1
    house.kill("worker")
    house.start("worker")

    house.wait_until(job_id, "succeeded")

    assert number(house, "takeovers_total") == 1
    assert number(house, "jobs_ended_total", outcome="succeeded", code="") == before + 1
    assert [line["job_id"] for line in house.log("worker") if line["message"] == "job taken over"] == [job_id]


def test_every_line_of_the_log_that_is_about_a_job_names_it(house: House) -> None:
    lines = [
        line
        for line in house.log("worker")
        if line["logger"] in ("ai_engine.pipeline.pipeline", "ai_engine.worker.workflows")
    ]

    assert lines
    assert all("job_id" in line for line in lines)


def test_where_there_are_keys_the_numbers_need_one_too_unless_they_are_open(
    house: House, tmp_path_factory: pytest.TempPathFactory
) -> None:
    statuses = {}
    for is_open in ("0", "1"):
        settings = {"API_KEYS": setting_entry("shop", KEY), "METRICS_OPEN": is_open}
        guarded = House(tmp_path_factory.mktemp("guarded"), settings)
        guarded.start("api")
        wait_for(guarded.is_open, "the port is open")
        wait_for(partial(is_answered, guarded), "it is connected")
        statuses[is_open] = guarded.ask("GET", "/metrics").status
        guarded.close()

    assert statuses == {"0": 401, "1": 200}
