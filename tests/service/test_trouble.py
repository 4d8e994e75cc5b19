"""Stages that hang and devices that break: only the job to blame pays, after the worker was started again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ai_engine.pipeline.fake_model import TROUBLE_SEED
from ai_engine.worker.watchdog import DEVICE_FAULT_STATUS, HUNG_STATUS
from service.conftest import ON_SQLITE
from service.house import House, Outside, wait_for
from service.test_kill import starts

GRACE_S = 2.0


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, database: dict[str, str]) -> Iterator[House]:
    settings = database | {
        "STAND_IN_STEP_S": "0.1",
        "STAGE_GRACE_S": str(GRACE_S),
        "WEBHOOK_DELAYS_S": "0,0.1,0.1",
        "LEASE_S": "60",  # whoever waits for it to run out waits in vain
        "JOB_MAX_ATTEMPTS": "1",  # so an innocent job that pays an attempt is lost
    }
    house = House(tmp_path_factory.mktemp("trouble"), settings)
    house.start("api")
    yield house
    house.close()


@pytest.fixture
def house(started: House, request: pytest.FixtureRequest) -> House:
    """An API, and a worker with the trouble that the test is marked with."""
    started.settings["STAND_IN_TROUBLE"] = request.param
    if "worker" in started.running:
        started.kill("worker")
    started.start("worker")
    started.wait_until_ready()
    return started


hang = pytest.mark.parametrize("house", ["hang"], indirect=True)
fault = pytest.mark.parametrize("house", ["fault"], indirect=True)


@hang
def test_a_stage_that_hangs_after_its_time_ends_its_job_alone(house: House, outside: Outside) -> None:
    guilty = house.submit(
        image_url=outside.url("/a.png"),
        webhook_url=outside.url(f"/hung/{house.port}"),
        seed=TROUBLE_SEED,
        timeout_s=4,  # time enough for another job to come behind it
    )
    wait_for(lambda: starts(house, guilty)["denoise"], "it hangs")
    innocent = house.submit(image_url=outside.url("/a.png"), num_inference_steps=3)
    wait_for(lambda: starts(house, innocent)["denoise"], "another job waits behind it")

    assert house.exit_status("worker") == HUNG_STATUS
    house.start("worker")

    error = house.wait_until(guilty, "failed")["error"]
    (delivered,) = wait_for(lambda: outside.posts(f"/hung/{house.port}"), "the failure was delivered")
    assert error["code"] == "generation_timeout"
    assert delivered.parts["code"] == b"generation_timeout"
    assert starts(house, guilty)["denoise"] == 1, "never begun again"
    assert house.wait_until_over(innocent)["status"] == "succeeded"
    assert starts(house, innocent)["download"] == 1


@ON_SQLITE
@hang
def test_a_stage_that_hangs_after_a_cancel_stays_cancelled(house: House, outside: Outside) -> None:
    hook = f"/cancelled-while-hung/{house.port}"
    job_id = house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url(hook), seed=TROUBLE_SEED)
    wait_for(lambda: starts(house, job_id)["denoise"], "it hangs")

    house.ask("DELETE", f"/jobs/{job_id}")

    assert house.exit_status("worker") == HUNG_STATUS
    house.start("worker")
    (delivered,) = wait_for(lambda: outside.posts(hook), "the webhook was told")
    assert delivered.event["type"] == "generation.cancelled"
    assert house.job(job_id)["status"] == "cancelled"
    assert starts(house, job_id)["denoise"] == 1


@ON_SQLITE
@hang
def test_a_job_that_waits_for_the_device_can_be_cancelled_there(house: House, outside: Outside) -> None:
    hanging = house.submit(image_url=outside.url("/a.png"), seed=TROUBLE_SEED, timeout_s=600)
    wait_for(lambda: starts(house, hanging)["denoise"], "the device is taken")
    waiting = house.submit(image_url=outside.url("/a.png"))
    late = house.submit(image_url=outside.url("/a.png"), timeout_s=1)
    wait_for(lambda: starts(house, waiting)["denoise"], "another job waits for it")

    house.ask("DELETE", f"/jobs/{waiting}")

    (stopped,) = wait_for(lambda: house.events("stage stopped", waiting), "its stage stopped")
    assert stopped["code"] == "cancelled"
    assert house.wait_until(late, "failed")["error"]["code"] == "generation_timeout"
    assert house.running["worker"].poll() is None, "nobody left for them"


@ON_SQLITE
@fault
def test_a_device_that_breaks_is_left_and_the_job_is_begun_again_once(house: House, outside: Outside) -> None:
    job_id = house.submit(image_url=outside.url("/a.png"), seed=TROUBLE_SEED)

    assert house.exit_status("worker") == DEVICE_FAULT_STATUS
    house.settings["STAND_IN_TROUBLE"] = "none"  # it was the device after all
    house.start("worker")

    assert house.wait_until_over(job_id)["status"] == "succeeded"
    assert starts(house, job_id) == {"download": 1, "cutout": 1, "denoise": 2, "finish": 1}


@fault
def test_a_job_that_breaks_the_device_twice_ends_as_worker_lost(house: House, outside: Outside) -> None:
    hook = f"/broke/{house.port}"
    job_id = house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url(hook), seed=TROUBLE_SEED)
    for _ in range(2):
        assert house.exit_status("worker") == DEVICE_FAULT_STATUS
        house.start("worker")

    error = house.wait_until(job_id, "failed")["error"]
    (delivered,) = wait_for(lambda: outside.posts(hook), "the failure was delivered")
    assert (error["code"], error["stage"]) == ("worker_lost", "denoise")
    assert delivered.parts["code"] == b"worker_lost"
    assert starts(house, job_id)["denoise"] == 2
