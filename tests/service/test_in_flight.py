"""Jobs and deliveries that the version before left in the queue are finished by this one."""

from __future__ import annotations

import time
import uuid
from typing import Any

import sqlalchemy as sa
from dbos import DBOSClient, EnqueueOptions

from ai_engine.job_queue.database import Database
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


def leave_after_the_mesh(house: House, job_id: str) -> None:
    """The job's rows as the version before left them when its worker died in the last stage; it is queued again."""
    database = Database(house.database_url)
    steps = sa.table("operation_outputs", *map(sa.column, ("workflow_uuid", "function_id", "function_name")))
    steps.schema = database.dbos_schema
    workflows = sa.table("workflow_status", *map(sa.column, ("workflow_uuid", "status")))
    workflows.schema = database.dbos_schema
    of_job, name = steps.c.workflow_uuid == job_id, steps.c.function_name
    with database.write() as connection:
        step = connection.scalar(sa.select(steps.c.function_id).where(of_job, name == "denoise"))
        connection.execute(
            sa.update(steps).where(of_job, steps.c.function_id == step).values(function_name="shape")
        )
        connection.execute(sa.delete(steps).where(of_job, steps.c.function_id > step))
        is_this = workflows.c.workflow_uuid == job_id
        connection.execute(sa.update(workflows).where(is_this).values(status="PENDING"))
    database.close()
    client = DBOSClient(system_database_url=house.database_url, application_name="ai-engine")
    client.resume_workflow(job_id, queue_name="jobs")
    client.destroy()


def test_a_mesh_that_the_version_before_made_is_not_made_again(each_house: House, outside: Outside) -> None:
    def begun() -> list[str]:
        return [line["stage"] for line in each_house.events("stage started", job_id, "serve")]

    job_id = each_house.submit(image_url=outside.url("/mesh.png"), webhook_url=outside.url("/old-mesh"))
    each_house.wait_until(job_id, "succeeded")

    leave_after_the_mesh(each_house, job_id)

    wait_for(lambda: begun().count("finish") == 2, "the last stage is done once more")
    each_house.wait_until(job_id, "succeeded")
    assert begun() == ["download", "cutout", "denoise", "finish", "finish"]
