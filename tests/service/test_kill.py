"""Workers that are killed, stopped or lost: no job is, no finished stage is done again, one webhook id is used."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from dbos import DBOSClient
from PIL import Image
from service.house import House, Outside, wait_for
from service.test_failures import sends

STAGES = ("download", "cutout", "shape", "finish")


@pytest.fixture
def world() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    service = House(
        tmp_path_factory.mktemp("killed"),
        {"STAND_IN_STEP_S": "0.1", "WEBHOOK_DELAYS_S": "0,0.1,0.1", "LEASE_S": "4", "JOB_MAX_ATTEMPTS": "2"},
    )
    service.start("api")
    yield service
    service.close()


def large_picture() -> bytes:
    """A picture whose cut-out takes a while."""
    rgba = np.random.default_rng(0).integers(0, 255, (1500, 1500, 4), np.uint8)
    rgba[:40], rgba[-40:], rgba[:, :40], rgba[:, -40:] = 0, 0, 0, 0
    file = io.BytesIO()
    Image.fromarray(rgba, "RGBA").save(file, "PNG", compress_level=0)
    return file.getvalue()


def finished_stages(house: House, job_id: str) -> set[str]:
    """The stages that the database knows to be finished."""
    client = DBOSClient(system_database_url=f"sqlite:///{house.folder / 'data' / 'jobs.sqlite'}")
    try:
        return {str(step["function_name"]) for step in client.list_workflow_steps(job_id)}
    finally:
        client.destroy()


def starts(house: House, job_id: str) -> Counter[str]:
    """How often each stage was begun."""
    return Counter(line["stage"] for line in house.events("stage started", job_id))


def test_a_worker_killed_in_any_stage_loses_no_job_and_repeats_no_finished_stage(
    house: House, world: Outside
) -> None:
    world.pictures["/large.png"] = sends(large_picture())
    house.start("worker")
    house.wait_until_ready()

    for stage in STAGES:
        picture = "/held.png" if stage == "download" else "/large.png"
        if stage == "download":
            world.may_answer.clear()
        job_id = house.submit(image_url=world.url(picture), webhook_url=world.url(f"/{stage}"))
        wait_for(lambda s=stage, j=job_id: starts(house, j)[s], f"the worker is in stage {stage}")
        house.kill("worker")
        world.may_answer.set()
        finished = finished_stages(house, job_id) & set(STAGES)

        house.start("worker")
        house.wait_until(job_id, "succeeded")
        wait_for(lambda p=f"/{stage}": world.posts(p), "the webhook came")

        begun = starts(house, job_id)
        assert {name: begun[name] for name in finished} == dict.fromkeys(finished, 1)
        assert {name: begun[name] for name in set(STAGES) - finished - {stage}} == dict.fromkeys(
            set(STAGES) - finished - {stage}, 1
        )
        assert {post.headers["webhook-id"] for post in world.posts(f"/{stage}")} == {f"{job_id}:done"}


def test_a_worker_killed_while_it_delivers_delivers_again_under_the_same_id(
    house: House, world: Outside
) -> None:
    house.start("worker")
    house.wait_until_ready()
    world.may_answer.clear()
    job_id = house.submit(image_url=world.url("/a.png"), webhook_url=world.url("/held/hook"))
    wait_for(lambda: world.posts("/held/hook"), "the delivery has begun")
    house.kill("worker")
    world.may_answer.set()

    house.start("worker")

    wait_for(lambda: house.job(job_id)["deliveries"][-1]["state"] == "accepted", "it was delivered")
    posts = world.posts("/held/hook")
    assert len(posts) == 2
    assert {post.headers["webhook-id"] for post in posts} == {f"{job_id}:done"}
    assert starts(house, job_id) == dict.fromkeys(STAGES, 1)


def test_a_job_that_kills_its_worker_each_time_ends_as_worker_lost(house: House, world: Outside) -> None:
    house.start("worker")
    house.wait_until_ready()
    job_id = house.submit(
        image_url=world.url("/a.png"), webhook_url=world.url("/lost"), num_inference_steps=100
    )
    for attempt in (1, 2):
        wait_for(lambda n=attempt: starts(house, job_id)["shape"] == n, f"attempt {attempt} is on the device")
        house.kill("worker")
        house.start("worker")

    job = house.wait_until(job_id, "failed")
    (delivered,) = wait_for(lambda: world.posts("/lost"), "the failure was delivered")

    assert job["error"]["code"] == "worker_lost"
    assert delivered.parts["code"] == b"worker_lost"
    assert starts(house, job_id)["shape"] == 2
    after = house.submit(image_url=world.url("/a.png"))
    house.wait_until(after, "succeeded")


def test_another_worker_takes_over_what_a_lost_one_had(house: House, world: Outside) -> None:
    house.start("worker")
    house.wait_until_ready()
    job_id = house.submit(image_url=world.url("/a.png"), num_inference_steps=60)
    wait_for(lambda: starts(house, job_id)["shape"], "the job is on the device")
    house.kill("worker")

    house.settings["DEVICE"] = "cpu"  # another slot: it is no successor that knows the first one to be dead
    house.start("worker")

    house.wait_until(job_id, "succeeded")
    assert starts(house, job_id) == {"download": 1, "cutout": 1, "shape": 2, "finish": 1}


def test_a_worker_told_to_stop_finishes_its_job_first(house: House, world: Outside) -> None:
    worker = house.start("worker")
    house.wait_until_ready()
    job_id = house.submit(image_url=world.url("/a.png"), num_inference_steps=20)
    wait_for(lambda: starts(house, job_id)["shape"], "the job is on the device")

    assert house.stop("worker") == 0

    assert worker.returncode == 0
    assert house.job(job_id)["status"] == "succeeded"
    assert starts(house, job_id) == dict.fromkeys(STAGES, 1)


def test_a_second_worker_on_the_same_device_refuses_to_start(house: House) -> None:
    house.settings["LEASE_S"] = "0.5"
    house.start("worker")
    house.wait_until_ready()
    first = house.running.pop("worker")

    second = house.start("worker")

    assert second.wait(60) == 1
    house.running["worker"] = first
    assert "another worker runs on device" in house.log_path("worker").read_text()


def test_jobs_of_a_killed_api_are_worked_on_and_its_successor_knows_them(
    house: House, world: Outside
) -> None:
    wait_for(house.is_open, "the port is open")
    wait_for(lambda: house.ask("GET", "/jobs/none").status == 404, "the database is open")
    assert house.ask("GET", "/readyz").json == {"status": "starting"}
    job_id = house.submit(image_url=world.url("/a.png"), webhook_url=world.url("/later"))
    house.kill("api")

    house.start("worker")
    wait_for(lambda: world.posts("/later"), "the webhook came")
    house.start("api")

    wait_for(house.is_open, "the port is open again")
    assert wait_for(lambda: house.ask("GET", f"/jobs/{job_id}").status == 200, "the job is known")
    assert house.job(job_id)["status"] == "succeeded"
