"""Jobs and deliveries that the version before left in the queue are finished by this one."""

from __future__ import annotations

import time
import uuid
from typing import Any

from dbos import DBOSClient, EnqueueOptions

from service.house import House, Outside, wait_for


def old_job(outside: Outside, path: str) -> dict[str, Any]:
    """A job in the words of the version before, key by key."""
    return {
        "job_id": uuid.uuid4().hex,
        "session_id": "s",
        "asset_id": "a",
        "image_url": outside.url("/old.png"),
        "image": None,
        "webhook_url": outside.url(path),
        "webhook_format": "multipart",
        "options": {
            "seed": 7,
            "num_inference_steps": None,
            "guidance_scale": 5.0,
            "octree_resolution": 64,
            "mc_level": -1 / 512,
            "num_chunks": 8000,
            "bounds": 1.01,
            "decode_mode": "strict",
        },
        "remove_background": "never",
        "format": "stl",
        "priority": 0,
        "timeout_s": 300.0,
        "accepted_at_s": time.time(),
        "request_sha256": "0" * 64,
        "print_options": {"height_mm": None, "flat_base": False, "target_faces": None},
        "owner": None,
        "traceparent": None,
        "attempt": 1,
        "retry_of": None,
        "upload_url": None,
    }


def enqueue(house: House, workflow: str, queue: str, workflow_id: str, *args: Any) -> None:
    client = DBOSClient(system_database_url=house.database_url, application_name="ai-engine")
    options = EnqueueOptions(
        workflow_name=workflow,
        queue_name=queue,
        workflow_id=workflow_id,
        app_version="1",
        application_name="ai-engine",
    )
    client.enqueue(options, *args)
    client.destroy()


def test_a_job_that_the_version_before_accepted_is_done_and_delivered(
    each_house: House, outside: Outside
) -> None:
    fields = old_job(outside, "/old-job")

    enqueue(each_house, "generate", "pipeline", fields["job_id"], fields)

    each_house.wait_until(fields["job_id"], "succeeded")
    wait_for(lambda: outside.posts("/old-job"), "the webhook came")


def test_a_delivery_that_the_version_before_queued_is_made(each_house: House, outside: Outside) -> None:
    fields = old_job(outside, "/old-delivery")
    event = (
        '{"type":"generation.failed","timestamp":"2026-11-23T16:40:00Z","data":{"job_id":"j","status":"failed",'
        '"error":{"code":"internal","detail":"broke"}}}'
    )
    parcel = {"job": fields, "event": event, "artifact": None, "linked_at_s": 1.0, "attempts_before": 1}

    enqueue(each_house, "deliver", "webhook", f"{fields['job_id']}:deliver:2", parcel, 2)

    (delivered,) = wait_for(lambda: outside.posts("/old-delivery"), "the webhook came")
    assert delivered.headers["x-delivery-attempt"] == "2"
    assert delivered.event["type"] == "generation.failed"
