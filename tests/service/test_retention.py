"""What is old goes by itself while the service runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.house import House, Outside, wait_for


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A service that keeps files for three seconds."""
    service = House(tmp_path, {"RETENTION_HOURS": str(3 / 3600), "WEBHOOK_DELAYS_S": "0,600"})
    with service.serving():
        yield service


def test_files_go_by_themselves_but_not_those_that_a_delivery_still_needs(
    house: House, outside: Outside
) -> None:
    outside.answers["/refusing"] = [(500, {})]
    needed = house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url("/refusing"))
    done = house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url("/old"))
    for job_id in (needed, done):
        house.wait_until(job_id, "succeeded")

    wait_for(lambda: house.ask("GET", f"/jobs/{done}/mesh").status == 410, "the file is gone")

    assert house.job(done)["status"] == "succeeded", "the job is known for another day"
    assert not (house.folder / "data" / "jobs" / done).exists()
    assert house.job(needed)["deliveries"][-1]["state"] == "waiting"
    assert house.ask("GET", f"/jobs/{needed}/mesh").status == 200
