"""A caller posts a picture's URL and gets a mesh at the webhook."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator

import pytest
from standardwebhooks import Webhook

from service.conftest import SECRET
from service.house import House, Outside, wait_for


@pytest.fixture(scope="module")
def house(each_house: House) -> House:
    return each_house


@pytest.fixture(scope="module")
def outside(house: House) -> Iterator[Outside]:
    world = Outside()
    yield world
    world.close()


@pytest.fixture(scope="module")
def job_id(house: House, outside: Outside) -> str:
    """A job that succeeded and was delivered to /main-line."""
    answer = house.ask(
        "POST",
        "/generate-3d",
        {
            "session_id": "s:1",
            "asset_id": "chair.1",
            "image_url": outside.url("/chair.png"),
            "webhook_url": outside.url("/main-line"),
            "seed": 7,
        },
    )
    assert answer.status == 202, answer.body
    assert answer.headers["location"] == f"/jobs/{answer.json['job_id']}"
    house.wait_until(answer.json["job_id"], "succeeded")
    wait_for(lambda: outside.posts("/main-line"), "the webhook came")
    return answer.json["job_id"]


def test_the_answer_to_a_submission_has_the_fields_of_the_contract(house: House, outside: Outside) -> None:
    answer = house.ask(
        "POST", "/generate-3d", {"session_id": "s", "asset_id": "a", "image_url": outside.url("/a.png")}
    ).json

    job_id = answer.pop("job_id")
    assert answer.pop("eta_s") is None or True
    assert answer.pop("queue_position") >= 1
    assert answer == {
        "status": "processing",
        "message": "queued",
        "status_url": f"/jobs/{job_id}",
        "events_url": f"/jobs/{job_id}/events",
    }


def test_the_webhook_brings_the_parts_that_callers_parse_and_the_mesh(outside: Outside, job_id: str) -> None:
    (delivered,) = outside.posts("/main-line")

    parts = delivered.parts
    assert list(parts) == ["session_id", "asset_id", "status", "job_id", "event", "file"]
    assert (parts["session_id"], parts["asset_id"], parts["status"]) == (b"s:1", b"chair.1", b"completed")
    assert parts["job_id"].decode() == job_id
    assert b'filename="chair.1.stl"\r\nContent-Type: model/stl' in delivered.body
    (num_faces,) = struct.unpack("<I", parts["file"][80:84])
    assert len(parts["file"]) == 84 + 50 * num_faces
    assert num_faces > 100


def test_the_event_describes_the_file_that_comes_with_it(outside: Outside, job_id: str) -> None:
    (delivered,) = outside.posts("/main-line")

    event, file = delivered.event, delivered.parts["file"]
    assert event["type"] == "generation.succeeded"
    data = event["data"]
    assert data["artifact"]["sha256"] == hashlib.sha256(file).hexdigest()
    assert data["artifact"]["size"] == len(file)
    assert data["options"]["seed"] == 7
    assert data["options"]["num_inference_steps"] == 5
    assert data["print"]["watertight"] is True
    assert set(data["timings_s"]) == {"queue", "download", "cutout", "denoise", "decode", "finish"}
    assert len(delivered.parts["event"]) < 4096
    assert b" " not in delivered.parts["event"].replace(b"model units", b"")


def test_the_event_is_signed_as_standard_webhooks_are(outside: Outside, job_id: str) -> None:
    (delivered,) = outside.posts("/main-line")

    assert delivered.headers["webhook-id"] == f"{job_id}:done"
    assert delivered.headers["x-delivery-attempt"] == "1"
    assert delivered.headers["traceparent"].startswith(f"00-{job_id}-")
    Webhook(SECRET).verify(delivered.parts["event"], delivered.headers)


def test_the_job_shows_what_came_out_and_what_was_delivered(house: House, job_id: str) -> None:
    job = wait_for(
        lambda: (seen := house.job(job_id))["deliveries"][0]["state"] == "accepted" and seen,
        "it was accepted",
    )

    assert (job["status"], job["stage"], job["progress"], job["error"]) == ("succeeded", "finish", 1.0, None)
    assert job["artifact"]["filename"] == "chair.1.stl"
    assert job["model"]["id"] == "stand-in"
    (attempt,) = job["deliveries"]
    assert (attempt["attempt"], attempt["status"]) == (1, 200)


def test_the_mesh_can_be_fetched_whole_in_part_and_only_when_it_changed(house: House, job_id: str) -> None:
    whole = house.ask("GET", f"/jobs/{job_id}/mesh")

    digest = hashlib.sha256(whole.body).hexdigest()
    assert whole.headers["etag"] == f'"{digest}"'
    assert whole.headers["content-type"] == "model/stl"
    assert whole.headers["content-disposition"] == 'attachment; filename="chair.1.stl"'
    part = house.ask("GET", f"/jobs/{job_id}/mesh", headers={"Range": "bytes=80-83"})
    assert (part.status, part.body) == (206, whole.body[80:84])
    same = house.ask("GET", f"/jobs/{job_id}/mesh", headers={"If-None-Match": whole.headers["etag"]})
    assert same.status == 304


def test_events_tell_the_whole_story_again_and_from_any_point(house: House, job_id: str) -> None:
    story = house.ask("GET", f"/jobs/{job_id}/events").body.decode().strip().split("\n\n")
    rest = house.ask("GET", f"/jobs/{job_id}/events", headers={"Last-Event-ID": "0"}).body.decode()

    told = [json.loads(line.split("data: ")[1]) for line in story[:-1]]
    stages = list(dict.fromkeys(event["stage"] for event in told))
    assert stages == ["download", "cutout", "denoise", "decode", "finish"]
    assert story[-1].startswith("event: done\ndata: {")
    assert rest.strip().split("\n\n") == story[1:]


@pytest.mark.parametrize("last_event_id", ["x", "-1", "1.5", "9" * 5000, "9" * 19])
def test_a_last_event_id_that_is_none_is_told_the_whole_story(
    house: House, job_id: str, last_event_id: str
) -> None:
    path = f"/jobs/{job_id}/events"

    story = house.ask("GET", path, headers={"Last-Event-ID": last_event_id})
    assert (story.status, story.body) == (200, house.ask("GET", path).body)


def test_a_jobs_progress_is_told_four_times_a_second_at_most(house: House, outside: Outside) -> None:
    job_id = house.submit(image_url=outside.url("/a.png"), num_inference_steps=40)
    job = house.wait_until(job_id, "succeeded")
    story = house.ask("GET", f"/jobs/{job_id}/events").body.decode().strip().split("\n\n")

    told = [json.loads(line.split("data: ")[1]) for line in story[:-1]]
    steps = [event for event in told if event["stage"] == "denoise"]
    assert 2 <= len(steps) <= 4 * job["timings_s"]["denoise"] + 2


def test_a_running_job_tells_how_long_each_finished_stage_took(house: House, outside: Outside) -> None:
    job_id = house.submit(image_url=outside.url("/a.png"), num_inference_steps=60)
    job = wait_for(lambda: (now := house.job(job_id))["stage"] == "denoise" and now, "it is on the device")

    assert job["status"] == "running"
    assert set(job["timings_s"]) == {"download", "cutout"}
    house.ask("DELETE", f"/jobs/{job_id}")


def test_without_a_webhook_the_job_is_done_and_nothing_is_delivered(house: House, outside: Outside) -> None:
    job_id = house.submit(image_url=outside.url("/quiet.png"))

    job = house.wait_until(job_id, "succeeded")
    assert job["deliveries"] == []


def test_a_picture_can_come_inside_the_request(house: House) -> None:
    from base64 import b64encode

    from service.house import cut_out_png

    job_id = house.submit(image_url=f"data:image/png;base64,{b64encode(cut_out_png(200)).decode()}")

    assert house.wait_until(job_id, "succeeded")["artifact"]["size"] > 84


def test_the_binary_form_is_the_mesh_alone_with_its_digest(house: House, outside: Outside) -> None:
    house.submit(image_url=outside.url("/b.png"), webhook_url=outside.url("/binary"), webhook_format="binary")

    (delivered,) = wait_for(lambda: outside.posts("/binary"), "the webhook came")
    event = json.loads(delivered.headers["x-generation-event"])
    assert delivered.headers["content-type"] == "model/stl"
    assert event["data"]["artifact"]["sha256"] == hashlib.sha256(delivered.body).hexdigest()
    assert delivered.headers["content-digest"].startswith("sha-256=:")
    Webhook(SECRET).verify(delivered.headers["x-generation-event"], delivered.headers)


def test_the_same_idempotency_key_answers_the_same_job_and_refuses_another_request(
    house: House, outside: Outside
) -> None:
    request = {"session_id": "s", "asset_id": "a", "image_url": outside.url("/key.png")}
    key = {"Idempotency-Key": "order 17"}

    first = house.ask("POST", "/generate-3d", request, key)
    again = house.ask("POST", "/generate-3d", request, key)
    other = house.ask("POST", "/generate-3d", request | {"seed": 1}, key)

    assert (first.status, again.status, other.status) == (202, 200, 409)
    assert again.json["job_id"] == first.json["job_id"]
    assert other.json["code"] == "idempotency_key_reused"


def test_health_names_the_model_as_callers_poll_it(house: House) -> None:
    assert house.ask("GET", "/health").json == {"status": "ok", "gpu": False, "model": "stand-in"}
    assert house.ask("GET", "/readyz").json == {"status": "ready"}
