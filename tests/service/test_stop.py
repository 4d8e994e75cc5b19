"""The whole service told to stop: it takes nothing new, says so, and finishes what it has."""

from __future__ import annotations

import signal
from pathlib import Path

from service.house import House, Outside, wait_for


def test_a_service_told_to_stop_answers_until_its_jobs_are_done(tmp_path: Path) -> None:
    world, house = Outside(), House(tmp_path)
    serving = house.start("serve")
    try:
        house.wait_until_ready()
        world.may_answer.clear()
        picture, hook = world.url("/held.png"), world.url("/hook")
        key = {"Idempotency-Key": "before the end"}
        request = {"session_id": "s1", "asset_id": "a1", "image_url": picture, "webhook_url": hook}
        job_id = house.ask("POST", "/generate-3d", request, key).json["job_id"]
        wait_for(lambda: house.events("stage started", job_id, "serve"), "the job began")

        serving.send_signal(signal.SIGTERM)
        wait_for(lambda: house.ask("GET", "/readyz").json["status"] == "draining", "it says that it ends")

        refused = house.ask("POST", "/generate-3d", request)
        assert (refused.status, refused.json["code"], refused.headers["retry-after"]) == (
            503,
            "unavailable",
            "30",
        )
        assert house.ask("POST", "/generate-3d", request, key).json["job_id"] == job_id
        assert house.job(job_id)["status"] == "running"
        world.may_answer.set()
        assert house.exit_status("serve") == 0
        assert not house.is_open()
        house.start("serve")
        (delivered,) = wait_for(lambda: world.posts("/hook"), "the next start delivers")
        assert delivered.event["data"]["job_id"] == job_id
        assert delivered.event["data"]["status"] == "completed"
    finally:
        world.may_answer.set()
        house.close()
        world.close()
