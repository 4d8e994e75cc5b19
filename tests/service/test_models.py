"""Two workers with different shape models on one database: each takes the jobs of its own models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from service.house import House, Outside, wait_for
from service.test_in_flight import enqueue, old_job

DEVICE_OF = {"small": "cuda:0", "large": "cuda:1"}


@pytest.fixture(scope="module")
def houses(tmp_path_factory: pytest.TempPathFactory, database: dict[str, str]) -> Iterator[dict[str, House]]:
    """By model: the one whose worker serves it. The first has the API too, which knows its own model alone."""
    folder = tmp_path_factory.mktemp("models")
    settings = database | {"LEASE_S": "2", "STAND_IN_STEP_S": "0.01"}
    small = House(folder, settings | {"MODELS": "small=stand-in"})
    large = House(folder, settings | {"MODELS": "large=stand-in"}, small.port)
    small.start("api")
    for model, house in (("small", small), ("large", large)):
        house.start(worker_of(model))
    try:
        small.wait_until_ready()
        wait_for(lambda: len(ready_models(small)) == 2, "both workers are ready")
        yield {"small": small, "large": large}
    finally:
        large.close()
        small.close()


def worker_of(model: str) -> str:
    return f"worker-{DEVICE_OF[model]}"


def ready_models(house: House) -> list[str]:
    """The models that a living worker serves, ready for jobs."""
    listed: list[dict[str, Any]] = house.ask("GET", "/models").json["models"]
    return [one["name"] for one in listed if any(worker["state"] == "ready" for worker in one["workers"])]


def worked_by(houses: dict[str, House], job_id: str) -> list[str]:
    """The models whose worker began a stage of the job."""
    return [
        model
        for model, house in houses.items()
        if house.events("stage started", job_id, name=worker_of(model))
    ]


@pytest.mark.parametrize(("named", "served_by"), [("small", "small"), ("large", "large"), (None, "small")])
def test_a_job_goes_to_the_worker_of_its_model_and_without_one_to_the_first(
    houses: dict[str, House], outside: Outside, named: str | None, served_by: str
) -> None:
    fields = {} if named is None else {"model": named}
    job_id = houses["small"].submit(image_url=outside.url("/a.png"), **fields)
    houses["small"].wait_until(job_id, "succeeded")
    assert worked_by(houses, job_id) == [served_by]


def test_the_models_are_listed_with_their_cards_and_workers(houses: dict[str, House]) -> None:
    listed = houses["small"].ask("GET", "/models").json
    models = {one["name"]: one for one in listed["models"]}
    assert listed["default"] == "small"
    assert set(models) == {"small", "large"}
    assert models["large"]["workers"] == [{"device": "cuda:1", "state": "ready"}]
    assert models["large"]["card"]["licences"][0]["name"] == "Apache-2.0"
    assert models["large"]["card"]["num_inference_steps"] == 5


def test_a_model_that_nobody_serves_is_refused_with_the_list(
    houses: dict[str, House], outside: Outside
) -> None:
    body = {"session_id": "s", "asset_id": "a", "image_url": outside.url("/a.png"), "model": "huge"}
    answer = houses["small"].ask("POST", "/generate-3d", body)
    assert answer.status == 422
    (error,) = answer.json["errors"]
    assert (error["field"], error["code"]) == ("model", "model_unknown")
    assert sorted(error["detail"].removeprefix("served are: ").split(", ")) == ["large", "small"]


def test_a_job_that_the_version_before_accepted_is_done(houses: dict[str, House], outside: Outside) -> None:
    fields = old_job(outside, "/old-job-of-models")
    enqueue(houses["small"], "generate", "pipeline", fields["job_id"], fields)
    houses["small"].wait_until(fields["job_id"], "succeeded")


def test_jobs_are_counted_by_model(houses: dict[str, House], outside: Outside) -> None:
    job_id = houses["small"].submit(image_url=outside.url("/a.png"), model="large")
    houses["small"].wait_until(job_id, "succeeded")
    numbers = houses["small"].ask("GET", "/metrics").body.decode()
    assert 'ai_engine_model_jobs_ended_total{model="stand-in",outcome="succeeded"}' in numbers
    assert 'ai_engine_model_device_seconds_total{model="stand-in"}' in numbers


def test_a_killed_worker_s_job_waits_for_one_that_serves_its_model(
    houses: dict[str, House], outside: Outside
) -> None:
    small, large = houses["small"], houses["large"]
    asked_before = outside.asked.count("/held-large.png")
    outside.may_answer.clear()
    held = small.submit(image_url=outside.url("/held-large.png"), model="large")
    waiting = small.submit(image_url=outside.url("/a.png"), model="large")
    wait_for(lambda: outside.asked.count("/held-large.png") > asked_before, "the job has begun")

    large.kill(worker_of("large"))
    outside.may_answer.set()
    wait_for(lambda: small.events("job taken over", held, name=worker_of("small")), "its lease has run out")
    meanwhile = small.submit(image_url=outside.url("/a.png"), model="small")
    small.wait_until(meanwhile, "succeeded")
    assert small.job(held)["status"] != "succeeded"
    assert worked_by(houses, meanwhile) == ["small"]

    large.start(worker_of("large"))
    for job_id in (held, waiting):
        small.wait_until(job_id, "succeeded")
        assert worked_by(houses, job_id) == ["large"]
