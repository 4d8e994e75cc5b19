"""Dead letters: listed, sent again one by one or together, and to another address."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from ai_engine.job_queue.database import Database
from ai_engine.job_queue.entries import EntryId
from ai_engine.job_queue.workflow_table import workflow_status
from service.house import House, Outside, wait_for
from service.test_deliveries import wait_for_last


def dead(house: House, outside: Outside, path: str, session_id: str = "s1") -> str:
    """A job whose receiver is gone; it would take the next delivery."""
    outside.answers[path] = [(410, {})]
    job_id = house.submit(
        image_url=outside.url("/no-such-picture"), webhook_url=outside.url(path), session_id=session_id
    )
    wait_for_last(house, job_id, "dead")
    return job_id


def listed(house: House, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = house.ask("GET", f"/deliveries?{query}{cursor}").json
        found += page["deliveries"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"


def test_dead_letters_are_listed_and_sent_again_together(each_house: House, outside: Outside) -> None:
    house, session = each_house, uuid.uuid4().hex
    jobs = [dead(house, outside, f"/dead-{session}-{n}", session) for n in range(3)]

    found = listed(house, f"status=dead&session_id={session}&limit=2")
    answer = house.ask("POST", "/deliveries/redeliver", {"status": "dead", "session_id": session})

    assert [one["job_id"] for one in found] == jobs[::-1], "of the newest job first"
    assert {(one["status"], one["last"]["state"], one["last"]["status"]) for one in found} == {
        ("dead", "dead", 410)
    }
    assert answer.status == 202
    assert (set(answer.json["redelivered"]), answer.json["has_more"]) == (set(jobs), False)
    for job_id in jobs:
        wait_for_last(house, job_id, "accepted")
    wait_for(lambda: listed(house, f"status=accepted&session_id={session}")[2:], "they are accepted")
    assert listed(house, f"status=dead&session_id={session}") == []


def test_what_can_not_be_sent_again_is_named_with_its_reason(house: House, outside: Outside) -> None:
    gone = dead(house, outside, "/again-by-id")
    silent = house.submit(image_url=outside.url("/a.png"))
    house.wait_until(silent, "succeeded")

    answer = house.ask("POST", "/deliveries/redeliver", {"job_ids": [gone, silent, "none", gone]}).json

    assert answer["redelivered"] == [gone]
    assert {one["job_id"]: one["code"] for one in answer["refused"]} == {
        silent: "no_webhook",
        "none": "not_found",
    }


def test_a_delivery_whose_attempt_breaks_on_our_side_is_listed_as_dead(
    house: House, outside: Outside
) -> None:
    session, path = uuid.uuid4().hex, "/broken-on-our-side"
    outside.answers[path] = [(503, {"Retry-After": "3600"})]
    job_id = house.submit(
        image_url=outside.url("/no-such-picture"), webhook_url=outside.url(path), session_id=session
    )
    wait_for(lambda: house.job(job_id)["deliveries"][1:], "a second attempt is due")

    with closing(Database(house.database_url)) as database, database.write() as connection:
        rows = workflow_status(database)
        broken = sa.update(rows).where(rows.c.workflow_uuid == str(EntryId(job_id, 2)))
        connection.execute(broken.values(status="ERROR", completed_at=int(time.time() * 1000)))

    (found,) = wait_for(lambda: listed(house, f"status=dead&session_id={session}"), "it is listed as dead")
    assert (found["job_id"], found["last"]["state"]) == (job_id, "dead")


@pytest.mark.parametrize(
    "body", [{}, {"job_ids": []}, {"job_ids": ["a"] * 101}, {"job_ids": ["a"], "status": "dead"}, {"x": 1}]
)
def test_a_request_to_send_many_again_is_bounded_and_says_which(house: House, body: Any) -> None:
    assert house.ask("POST", "/deliveries/redeliver", body).status == 422


def test_a_redelivery_goes_to_a_new_webhook(house: House, outside: Outside) -> None:
    job_id = dead(house, outside, "/moved-away")

    asked = house.ask("POST", f"/jobs/{job_id}/redeliver", {"webhook_url": outside.url("/moved-here")})

    assert asked.status == 202
    wait_for_last(house, job_id, "accepted")
    assert len(outside.posts("/moved-away")) == 1
    assert outside.posts("/moved-here")[0].headers["webhook-id"] == f"{job_id}:done"


def test_a_job_without_a_webhook_is_delivered_to_one_that_is_named_later(
    house: House, outside: Outside
) -> None:
    job_id = house.submit(image_url=outside.url("/a.png"))
    house.wait_until(job_id, "succeeded")

    house.ask("POST", f"/jobs/{job_id}/redeliver", {"webhook_url": outside.url("/named-later")})

    wait_for_last(house, job_id, "accepted")
    assert outside.posts("/named-later")[0].event["data"]["job_id"] == job_id


def test_an_expired_upload_is_done_again_at_a_new_url(house: House, outside: Outside) -> None:
    outside.answers["/expired-put"] = [(403, {})] * 9
    job_id = house.submit(image_url=outside.url("/a.png"), upload_url=outside.url("/expired-put"))
    wait_for_last(house, job_id, "dead")

    target = {"upload_url": outside.url("/new-put"), "upload_headers": {"x-ms-blob-type": "BlockBlob"}}
    house.ask("POST", f"/jobs/{job_id}/redeliver", target)

    wait_for_last(house, job_id, "accepted")
    (put,) = outside.posts("/new-put")
    assert (put.method, put.headers["x-ms-blob-type"]) == ("PUT", "BlockBlob")
    assert house.job(job_id)["upload"]["state"] == "uploaded"


@pytest.mark.parametrize("field", ["webhook_url", "upload_url"])
def test_a_new_address_passes_the_same_guard(house: House, outside: Outside, field: str) -> None:
    job_id = dead(house, outside, f"/guarded-{field}")

    answer = house.ask("POST", f"/jobs/{job_id}/redeliver", {field: "http://169.254.169.254/x"})

    (error,) = json.loads(answer.body)["errors"]
    assert (answer.status, error["field"], error["code"]) == (422, field, f"{field}_forbidden")
    assert house.job(job_id)["deliveries"][-1]["state"] == "dead", "nothing was sent"
