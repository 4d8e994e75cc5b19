"""Workers that are killed, stopped or lost: no job is, no finished stage is done again, one webhook id is used."""

from __future__ import annotations

import io
import signal
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import numpy as np
import pytest
import sqlalchemy as sa
from dbos import DBOSClient
from PIL import Image

from ai_engine.job_queue.database import Database
from ai_engine.job_queue.worker_leases import Leases
from ai_engine.worker.heartbeat import LOST_LEASE_STATUS
from service.conftest import ON_SQLITE
from service.house import Answer, House, Outside, wait_for
from service.test_deliveries import wait_for_last
from service.test_failures import sends

STAGES = ("download", "cutout", "denoise", "finish")


@pytest.fixture(scope="module")
def world(database: dict[str, str]) -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, database: dict[str, str]) -> Iterator[House]:
    settings = database | {
        "STAND_IN_STEP_S": "0.1",
        "WEBHOOK_DELAYS_S": "0,0.1,0.1",
        "LEASE_S": "4",
        "JOB_MAX_ATTEMPTS": "2",
    }
    house = House(tmp_path_factory.mktemp("killed"), settings)
    house.start("api")
    yield house
    house.close()


@pytest.fixture
def house(started: House) -> House:
    """An API and a worker, each its own process; a test may leave them dead."""
    for name in ("api", "worker"):
        if name not in started.running:
            started.start(name)
    started.wait_until_ready()
    return started


def large_picture() -> bytes:
    """A picture whose cut-out takes a while."""
    rgba = np.random.default_rng(0).integers(0, 255, (1500, 1500, 4), np.uint8)
    rgba[:40], rgba[-40:], rgba[:, :40], rgba[:, -40:] = 0, 0, 0, 0
    file = io.BytesIO()
    Image.fromarray(rgba, "RGBA").save(file, "PNG", compress_level=0)
    return file.getvalue()


def finished_stages(house: House, job_id: str) -> set[str]:
    """The stages that the database knows to be finished."""
    client = DBOSClient(system_database_url=house.database_url)
    try:
        return {str(step["function_name"]) for step in client.list_workflow_steps(job_id)}
    finally:
        client.destroy()


def starts(house: House, job_id: str) -> Counter[str]:
    """How often each stage was begun."""
    return Counter(line["stage"] for line in house.events("stage started", job_id))


def has_begun(house: House, job_id: str, stage: str) -> bool:
    return bool(starts(house, job_id)[stage])


def interrupted_stages(house: House, job_id: str) -> set[str]:
    """The stages that a killed worker had begun and not finished: the next one may begin them again."""
    return set(starts(house, job_id)) - finished_stages(house, job_id)


def check_each_finished_stage_was_done_once(house: House, job_id: str, interrupted: set[str]) -> None:
    begun = starts(house, job_id)
    untouched = set(STAGES) - interrupted
    assert {name: begun[name] for name in untouched} == dict.fromkeys(untouched, 1), interrupted


def test_a_worker_killed_in_every_stage_at_once_loses_no_job_and_repeats_no_finished_stage(
    house: House, world: Outside
) -> None:
    world.pictures["/large.png"] = sends(large_picture())
    world.may_answer.clear()
    delivering = house.submit(image_url=world.url("/a.png"), webhook_url=world.url("/held/hook"))
    wait_for(lambda: world.posts("/held/hook"), "the first job is being delivered")
    jobs = {
        "download": house.submit(image_url=world.url("/held.png"), webhook_url=world.url("/download")),
        "denoise": house.submit(
            image_url=world.url("/a.png"), webhook_url=world.url("/denoise"), num_inference_steps=100
        ),
    }
    for stage, job_id in jobs.items():
        wait_for(partial(has_begun, house, job_id, stage), f"a job is in stage {stage}")
    jobs["cutout"] = house.submit(image_url=world.url("/large.png"), webhook_url=world.url("/cutout"))
    wait_for(lambda: starts(house, jobs["cutout"])["cutout"], "a job is in stage cutout")

    house.kill("worker")
    world.may_answer.set()
    interrupted = {job_id: interrupted_stages(house, job_id) for job_id in jobs.values()}
    house.start("worker")

    for stage, job_id in jobs.items():
        house.wait_until(job_id, "succeeded")
        wait_for(partial(world.posts, f"/{stage}"), "the webhook came")
        check_each_finished_stage_was_done_once(house, job_id, interrupted[job_id])
        assert {post.headers["webhook-id"] for post in world.posts(f"/{stage}")} == {f"{job_id}:done"}
    wait_for(lambda: house.job(delivering)["deliveries"][-1]["state"] == "accepted", "it was delivered")
    assert {post.headers["webhook-id"] for post in world.posts("/held/hook")} == {f"{delivering}:done"}
    assert starts(house, delivering) == dict.fromkeys(STAGES, 1)


@ON_SQLITE
def test_a_worker_killed_while_it_writes_the_file_goes_on_from_the_mesh(house: House, world: Outside) -> None:
    job_id = house.submit(image_url=world.url("/a.png"), webhook_url=world.url("/finish"))
    wait_for(lambda: starts(house, job_id)["finish"], "the job is in its last stage")
    house.kill("worker")
    interrupted = interrupted_stages(house, job_id)
    house.start("worker")

    house.wait_until(job_id, "succeeded")
    wait_for(lambda: world.posts("/finish"), "the webhook came")
    check_each_finished_stage_was_done_once(house, job_id, interrupted)


def test_a_picture_that_its_worker_was_killed_over_is_drawn_by_the_next(house: House, world: Outside) -> None:
    job_id = house.submit(image_url=world.url("/a.png"), webhook_url=world.url("/seen"))
    wait_for_last(house, job_id, "accepted")  # what is not written down yet would be delivered again
    with ThreadPoolExecutor() as threads:
        asked = threads.submit(house.ask, "GET", f"/jobs/{job_id}/preview.png")
        wait_for(lambda: preview_status(house, job_id), "the picture was asked for")
        house.kill("worker")
        house.start("worker")
        assert asked.result().status in {200, 503}

    answer = wait_for(lambda: drawn(house, job_id), "the picture is drawn")
    assert answer.body.startswith(b"\x89PNG")
    assert len(world.posts("/seen")) == 1


def preview_status(house: House, job_id: str) -> str | None:
    client = DBOSClient(system_database_url=house.database_url)
    try:
        rows = client.list_workflows(workflow_ids=[f"{job_id}:preview"])
        return rows[0].status if rows else None
    finally:
        client.destroy()


def drawn(house: House, job_id: str) -> Answer | None:
    answer = house.ask("GET", f"/jobs/{job_id}/preview.png")
    assert answer.status == 200 or "retry-after" in answer.headers
    return answer if answer.status == 200 else None


@ON_SQLITE
def test_a_stage_whose_input_file_is_gone_makes_it_again(house: House, world: Outside) -> None:
    job_id = house.submit(image_url=world.url("/a.png"), num_inference_steps=30)
    wait_for(lambda: starts(house, job_id)["denoise"], "the job is on the device")
    house.kill("worker")
    for file in (house.folder / "data" / "jobs" / job_id).iterdir():
        file.unlink()

    house.start("worker")

    assert house.wait_until(job_id, "succeeded")["artifact"]["size"] > 84
    assert starts(house, job_id) == {"download": 1, "cutout": 1, "denoise": 2, "finish": 1}
    assert len(house.events("file is gone, making it again", job_id)) == 2


@ON_SQLITE
def test_a_job_that_kills_its_worker_each_time_ends_as_worker_lost(house: House, world: Outside) -> None:
    job_id = house.submit(
        image_url=world.url("/a.png"), webhook_url=world.url("/lost"), num_inference_steps=100
    )
    kill_the_worker_twice_over(house, job_id)

    job = house.wait_until(job_id, "failed")
    (delivered,) = wait_for(lambda: world.posts("/lost"), "the failure was delivered")

    assert job["error"]["code"] == "worker_lost"
    assert delivered.parts["code"] == b"worker_lost"
    assert starts(house, job_id)["denoise"] == 2
    after = house.submit(image_url=world.url("/a.png"))
    house.wait_until(after, "succeeded")


@ON_SQLITE
def test_a_job_that_waits_beside_one_that_kills_its_worker_is_not_lost_with_it(
    house: House, world: Outside
) -> None:
    guilty = house.submit(image_url=world.url("/a.png"), num_inference_steps=100)
    wait_for(lambda: starts(house, guilty)["denoise"], "one has the device")
    innocent = house.submit(image_url=world.url("/a.png"), num_inference_steps=1)
    wait_for(lambda: starts(house, innocent)["denoise"], "the other waits for it")

    kill_the_worker_twice_over(house, guilty)

    assert house.wait_until(guilty, "failed")["error"]["code"] == "worker_lost"
    assert house.wait_until_over(innocent)["status"] == "succeeded"


@ON_SQLITE
def test_a_job_that_waited_for_the_device_when_its_worker_was_killed_has_all_its_attempts(
    house: House, world: Outside
) -> None:
    ahead = house.submit(image_url=world.url("/a.png"), num_inference_steps=100)
    wait_for(lambda: starts(house, ahead)["denoise"], "one has the device")
    waiting = house.submit(image_url=world.url("/a.png"), num_inference_steps=60)
    wait_for(lambda: starts(house, waiting)["denoise"], "the other waits for it")
    house.kill("worker")
    house.ask("DELETE", f"/jobs/{ahead}")
    house.start("worker")

    (at_work,) = wait_for(lambda: house.events("stage at work again", waiting), "it has the device")
    house.kill("worker")
    house.start("worker")

    assert at_work["number"] == 1
    assert house.wait_until_over(waiting)["status"] == "succeeded"


def kill_the_worker_twice_over(house: House, job_id: str) -> None:
    """As often as the setting allows, each time while the job is on the device."""
    wait_for(lambda: house.job(job_id)["stage"] == "denoise", "the job reported that it is on the device")
    house.kill("worker")
    house.start("worker")
    wait_for(lambda: house.events("stage at work again", job_id), "it is there again")
    house.kill("worker")
    house.start("worker")


@ON_SQLITE
def test_what_a_worker_had_that_died_long_ago_is_taken_over_too(house: House, world: Outside) -> None:
    job_id = house.submit(image_url=world.url("/a.png"), num_inference_steps=30)
    wait_for(lambda: starts(house, job_id)["denoise"], "the job is on the device")
    house.kill("worker")
    with closing(Database(house.database_url)) as database:
        Leases(database).bury_stale("one that died over it", -1.0)
        with database.write() as connection:
            connection.execute(sa.text("UPDATE ai_engine_lease SET beat_s = beat_s - 86400"))

    house.start("worker")

    house.wait_until(job_id, "succeeded")


def test_a_worker_that_was_frozen_past_its_lease_leaves_and_its_job_is_done_once_by_another(
    house: House, world: Outside
) -> None:
    job_id = house.submit(
        image_url=world.url("/a.png"), webhook_url=world.url("/frozen"), num_inference_steps=60
    )
    wait_for(lambda: starts(house, job_id)["denoise"], "the job is on the device")
    frozen = house.running["worker"]
    freeze(house, frozen)
    house.start("worker-cuda:7")
    try:
        house.wait_until(job_id, "succeeded")
        wait_for(lambda: world.posts("/frozen"), "the webhook came")
    finally:
        frozen.send_signal(signal.SIGCONT)

    assert house.exit_status("worker") == LOST_LEASE_STATUS
    assert house.stop("worker-cuda:7") == 0
    assert len(world.posts("/frozen")) == 1
    assert len(house.events("stage finished", job_id)) == 2, "the frozen one finished nothing more"


def freeze(house: House, process: subprocess.Popen[bytes]) -> None:
    """Stops a process where it stands, but not amid a write: it would keep SQLite's lock from all others."""

    def is_frozen_apart_from_writes() -> bool:
        process.send_signal(signal.SIGSTOP)
        if can_be_written(house.database_url):
            return True
        process.send_signal(signal.SIGCONT)
        return False

    wait_for(is_frozen_apart_from_writes, "the worker is frozen while it writes nothing")


def can_be_written(database_url: str) -> bool:
    if not database_url.startswith("sqlite"):
        return True
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=1)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.rollback()
    return True


def test_another_worker_takes_over_what_a_lost_one_had(house: House, world: Outside) -> None:
    job_id = house.submit(image_url=world.url("/a.png"), num_inference_steps=30)
    wait_for(lambda: starts(house, job_id)["denoise"], "the job is on the device")
    house.kill("worker")

    house.settings["DEVICE"] = "cpu"  # another slot: it is no successor that knows the first one to be dead
    house.start("worker")

    house.wait_until(job_id, "succeeded")
    assert starts(house, job_id) == {"download": 1, "cutout": 1, "denoise": 2, "finish": 1}


@ON_SQLITE
def test_a_worker_told_to_stop_finishes_its_job_first(house: House, world: Outside) -> None:
    job_id = house.submit(image_url=world.url("/a.png"), num_inference_steps=20)
    wait_for(lambda: starts(house, job_id)["denoise"], "the job is on the device")

    assert house.stop("worker") == 0

    assert house.job(job_id)["status"] == "succeeded"
    assert starts(house, job_id) == dict.fromkeys(STAGES, 1)


def test_a_worker_told_to_stop_leaves_a_long_job_to_the_next_one(house: House, world: Outside) -> None:
    house.settings["DRAIN_S"] = "1"
    house.kill("worker")
    house.start("worker")
    job_id = house.submit(image_url=world.url("/a.png"), num_inference_steps=50)
    wait_for(lambda: starts(house, job_id)["denoise"], "the job is on the device")

    assert house.stop("worker") == 0
    assert house.job(job_id)["status"] in ("queued", "running")
    house.start("worker")

    house.wait_until(job_id, "succeeded")
    assert starts(house, job_id) == {"download": 1, "cutout": 1, "denoise": 2, "finish": 1}


@ON_SQLITE
def test_a_second_worker_on_the_same_device_refuses_to_start(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = house.running["worker"]
    monkeypatch.setitem(house.settings, "LEASE_S", "0.5")

    house.start("worker")
    status = house.exit_status("worker")
    house.running["worker"] = first

    assert status == 75
    assert "another worker runs on device" in house.log_path("worker").read_text()


@ON_SQLITE
def test_a_job_whose_end_could_not_be_written_down_is_done_again_by_the_worker_that_lives(
    house: House, world: Outside
) -> None:
    job_id = house.submit(image_url=world.url("/a.png"), webhook_url=world.url("/forgotten"))
    house.wait_until(job_id, "succeeded")
    wait_for(lambda: world.posts("/forgotten"), "the webhook came")

    as_if_the_disk_had_been_full(house, job_id)

    house.wait_until(job_id, "succeeded")
    assert starts(house, job_id) == dict.fromkeys(STAGES, 1)
    assert len(world.posts("/forgotten")) == 1


def as_if_the_disk_had_been_full(house: House, job_id: str) -> None:
    """The job's row as it is when the engine did all the work and could not write down that it is done."""
    url = sa.make_url(house.database_url)
    if url.drivername.startswith("postgres"):
        url = url.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url)
    rows = sa.table("workflow_status", schema="dbos" if url.drivername.startswith("postgres") else None)
    forget = f"UPDATE {rows.fullname} SET status = 'PENDING', output = NULL, completed_at = NULL"
    with engine.begin() as connection:
        done = connection.execute(sa.text(f"{forget} WHERE workflow_uuid = :job_id"), {"job_id": job_id})
    engine.dispose()
    assert done.rowcount == 1


def test_a_job_outlives_the_api_that_took_it(house: House, world: Outside) -> None:
    job_id = house.submit(
        image_url=world.url("/a.png"), webhook_url=world.url("/later"), num_inference_steps=20
    )
    house.kill("api")

    wait_for(lambda: world.posts("/later"), "the webhook came")
    house.start("api")

    wait_for(house.is_open, "the port is open again")
    wait_for(lambda: house.ask("GET", f"/jobs/{job_id}").status == 200, "the job is known")
    house.wait_until(job_id, "succeeded")


def ready_marks(house: House) -> int:
    """Of the worker of this test, not of one on another device that was killed before."""
    device = house.settings.get("DEVICE", "auto")
    return len(list((house.folder / "data").glob(f"worker-*-{device}-*.ready")))


def test_a_file_tells_probes_that_a_worker_takes_jobs(house: House) -> None:
    wait_for(lambda: ready_marks(house) == 1, "the worker left its file")
    assert house.stop("worker") == 0
    assert ready_marks(house) == 0


def test_the_file_of_a_killed_worker_does_not_outlive_the_start_of_the_next(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_for(lambda: ready_marks(house) == 1, "the worker left its file")
    house.kill("worker")
    monkeypatch.setitem(house.settings, "MATTING_MODEL", "u2net")
    monkeypatch.setitem(house.settings, "MATTING_HOME", str(house.folder / "nothing"))
    house.start("worker")
    assert house.exit_status("worker") == 78
    assert ready_marks(house) == 0
