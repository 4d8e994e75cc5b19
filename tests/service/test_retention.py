"""What is old goes by itself while the service runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.house import House, Outside, wait_for
from service.test_mesh_checks import BALL, SLAB, as_data_url, submit


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


def test_every_file_of_variants_and_mesh_checks_goes_and_what_needs_them_says_so(
    house: House, outside: Outside
) -> None:
    slab = {"mesh_url": as_data_url(SLAB)}
    sliced: dict[str, Any] = {"slice": {}} if shutil.which("prusa-slicer") else {}
    outside.answers["/keeping"] = [(500, {})]
    first = house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url("/keeping"))
    house.wait_until(first, "succeeded")
    fields = {"formats": ["stl", "3mf"], "height_mm": 15, "base": slab, **sliced}
    variant = house.ask("POST", f"/jobs/{first}/variants", fields).json["job_id"]
    check = submit(house, BALL, base=slab, formats="stl,obj")
    for job_id in (variant, check):
        house.wait_until(job_id, "succeeded")
    folders = [house.folder / "data" / "jobs" / job_id for job_id in (variant, check)]

    wait_for(lambda: not any(folder.exists() for folder in folders), "their files are gone")

    files = [f"{variant}/mesh", f"{variant}/mesh?format=3mf", f"{check}/mesh?format=obj"]
    for file in (*files, *([f"{variant}/gcode"] if sliced else [])):
        assert house.ask("GET", f"/jobs/{file}").status == 410, file
    for job_id in (variant, check):
        assert house.job(job_id)["status"] == "succeeded"
        again = house.ask("POST", f"/jobs/{job_id}/variants", {"height_mm": 20})
        assert (again.status, again.json["code"]) == (410, "expired")
    assert house.ask("GET", f"/jobs/{first}/mesh").status == 200
