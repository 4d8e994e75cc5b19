"""One machine with two devices: a worker process for each, none of them in the other's way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.house import House, Outside, wait_for


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    service = House(tmp_path, {"DEVICE": "cuda:0,cuda:1", "JOBS_IN_FLIGHT": "1"})
    service.start("serve")
    try:
        wait_for(lambda: len(processes(service)) == 2, "two workers are ready")
        service.wait_until_ready()
        yield service
    finally:
        service.close()


def processes(house: House) -> dict[str, int]:
    """The process of each device's worker: the latest that became ready."""
    ready = [line for line in house.log("serve") if line["message"] == "worker ready"]
    return {line["executor"].partition("@")[0].partition(":")[2]: line["pid"] for line in ready}


def test_each_device_has_a_job_and_a_killed_worker_leaves_the_other_alone(
    house: House, outside: Outside
) -> None:
    before = processes(house)
    outside.may_answer.clear()
    jobs = [house.submit(image_url=outside.url("/held-by-two-devices.png")) for _ in range(2)]
    wait_for(
        lambda: outside.asked.count("/held-by-two-devices.png") == 2,
        "both jobs have begun though a worker takes one",
    )

    os.kill(before["cuda:0"], signal.SIGKILL)
    outside.may_answer.set()

    for job_id in jobs:
        house.wait_until(job_id, "succeeded")
    wait_for(lambda: processes(house)["cuda:0"] != before["cuda:0"], "the killed worker is there again")
    assert processes(house)["cuda:1"] == before["cuda:1"]
