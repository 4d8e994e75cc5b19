"""Little room, on a small disk that is mounted where that is allowed: work is refused or waits, none is half done."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.house import House, Outside, wait_for
from service.test_kill import starts

DISK_MB = 12


@pytest.fixture
def world() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """An API and a worker to be started, their files on a disk of 12 MB, the database elsewhere."""
    disk = tmp_path / "data"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a disk can't be mounted here: needs root, and a system that allows it")
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/jobs.sqlite", "MIN_FREE_DISK_BYTES": "4000000"}
    service = House(tmp_path, settings)
    try:
        yield service
    finally:
        service.close()
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(house: House) -> Path:
    """A file that leaves 2 MB."""
    filler = house.folder / "data" / "filler"
    filler.write_bytes(bytes((DISK_MB - 2) * 1024 * 1024))
    return filler


def test_on_a_full_disk_new_jobs_are_refused_and_waiting_ones_wait(house: House, world: Outside) -> None:
    house.start("api")
    wait_for(house.is_open, "the port is open")
    wait_for(lambda: house.ask("GET", "/jobs/x").status == 404, "the database is open")
    job_id = house.submit(image_url=world.url("/a.png"))
    filler = fill(house)
    house.start("worker")
    wait_for(lambda: house.events("disk full, the job waits", job_id), "the job waits for room")

    refused = house.ask(
        "POST", "/generate-3d", {"session_id": "s", "asset_id": "a", "image_url": world.url("/a.png")}
    )

    assert (refused.status, refused.json["code"], refused.headers["retry-after"]) == (429, "disk_full", "60")
    wait_for(lambda: house.ask("GET", "/readyz").json["status"] == "busy", "the service says that it is busy")
    assert starts(house, job_id) == {}

    filler.unlink()
    house.wait_until(job_id, "succeeded")
    wait_for(lambda: house.ask("GET", "/readyz").json["status"] == "ready", "the service says so")


def test_a_job_that_waits_for_room_can_be_cancelled(house: House, world: Outside) -> None:
    house.start("api")
    wait_for(house.is_open, "the port is open")
    wait_for(lambda: house.ask("GET", "/jobs/x").status == 404, "the database is open")
    job_id = house.submit(image_url=world.url("/a.png"), webhook_url=world.url("/hook"))
    filler = fill(house)
    house.start("worker")
    wait_for(lambda: house.events("disk full, the job waits", job_id), "the job waits for room")

    house.ask("DELETE", f"/jobs/{job_id}")
    (delivered,) = wait_for(lambda: world.posts("/hook"), "the caller was told")
    filler.unlink()
    after = house.submit(image_url=world.url("/a.png"))

    assert delivered.parts["code"] == b"cancelled"
    house.wait_until(after, "succeeded")
    assert starts(house, job_id) == {}


def test_a_disk_that_fills_up_in_a_stage_fails_the_job_and_leaves_no_half_file(
    house: House, world: Outside
) -> None:
    house.settings["STAND_IN_FACES"] = "400000"  # 7 MB of mesh, 20 MB of STL
    for name in ("api", "worker"):
        house.start(name)
    house.wait_until_ready()

    job_id = house.submit(image_url=world.url("/a.png"), webhook_url=world.url("/hook"))
    error = house.wait_until(job_id, "failed")["error"]
    (delivered,) = wait_for(lambda: world.posts("/hook"), "the failure was delivered")

    assert (error["code"], error["retryable"]) == ("internal", True)
    assert "No space" not in error["detail"]
    assert delivered.parts["code"] == b"internal"
    names = [file.name for file in (house.folder / "data" / "jobs" / job_id).iterdir()]
    assert names, "the finished stages' files are there"
    assert not [name for name in names if name.startswith((".", "mesh.stl"))]
