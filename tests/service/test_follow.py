"""Following jobs: the list, the cut-out of a running job, retries and redeliveries."""

from __future__ import annotations

import io
import shutil
from typing import Any

import pytest
from PIL import Image

from service.house import Delivered, House, Outside, wait_for
from service.test_deliveries import wait_for_last


def test_the_cut_out_can_be_seen_while_the_job_runs(house: House, outside: Outside) -> None:
    job_id = house.submit(image_url=outside.url("/a.png"), num_inference_steps=100)

    answer = wait_for(
        lambda: (seen := house.ask("GET", f"/jobs/{job_id}/cutout.png")).status == 200 and seen,
        "the cut-out is there",
    )

    assert house.job(job_id)["status"] == "running"
    house.ask("DELETE", f"/jobs/{job_id}")
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.body)).mode == "RGBA"


def test_the_list_tells_how_each_job_stands(house: House, outside: Outside) -> None:
    good = house.submit(session_id="listed", image_url=outside.url("/a.png"))
    bad = house.submit(session_id="listed", image_url=outside.url("/none"))
    house.wait_until_over(good)
    house.wait_until_over(bad)

    def listed(query: str) -> dict[str, dict[str, Any]]:
        jobs = house.ask("GET", f"/jobs?session_id=listed{query}").json["jobs"]
        return {job["job_id"]: job for job in jobs}

    assert list(listed("")) == [bad, good]
    assert list(listed("&status=succeeded")) == [good]
    assert list(listed("&status=failed")) == [bad]
    assert listed("")[good]["artifact"]["url"] == f"/jobs/{good}/mesh"
    assert listed("")[bad]["error"]["code"] == "image_download_failed"


def test_a_failed_job_is_run_again_and_a_succeeded_one_is_not(house: House, outside: Outside) -> None:
    outside.pictures["/mended.png"] = lambda handler: handler.send_error(404)
    first = house.submit(image_url=outside.url("/mended.png"), webhook_url=outside.url("/mended"))
    assert house.wait_until_over(first)["error"]["code"] == "image_download_failed"
    del outside.pictures["/mended.png"]

    second = house.ask("POST", f"/jobs/{first}/retry").json["job_id"]

    assert house.wait_until_over(second)["status"] == "succeeded"
    assert house.ask("POST", f"/jobs/{first}/retry").json["code"] == "job_succeeded"
    posts = wait_for(lambda: len(seen := outside.posts("/mended")) == 2 and seen, "both were told")
    assert {post.headers["webhook-id"] for post in posts} == {f"{first}:done", f"{second}:done"}


def without_link(delivered: Delivered) -> dict[str, Any]:
    """The event, but for the link: one that is asked for again has to hold anew."""
    event = delivered.event
    del event["data"]["artifact"]["url"]
    return event


@pytest.mark.parametrize(
    ("path", "answers", "state"), [("/again", [], "accepted"), ("/again-dead", [(410, {})], "dead")]
)
def test_a_delivery_accepted_or_dead_is_sent_again_the_very_same(
    house: House, outside: Outside, path: str, answers: list[Any], state: str
) -> None:
    outside.answers[path] = list(answers)
    job_id = house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url(path))
    wait_for_last(house, job_id, state)

    asked = house.ask("POST", f"/jobs/{job_id}/redeliver")

    assert asked.status == 202
    seen = wait_for(
        lambda: (two := house.job(job_id)["deliveries"])[1:] and two[1]["state"] == "accepted" and two,
        "the second delivery is accepted",
    )
    assert [one["attempt"] for one in seen] == [1, 2]
    first, second = outside.posts(path)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert without_link(first) == without_link(second)
    assert second.headers["x-delivery-attempt"] == "2"


def test_a_redelivery_replaces_the_attempt_that_waits_and_has_the_whole_schedule(
    house: House, outside: Outside
) -> None:
    outside.answers["/patience"] = [(503, {"Retry-After": "3600"}), (500, {}), (500, {})]
    job_id = house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url("/patience"))
    wait_for(lambda: len(house.job(job_id)["deliveries"]) == 2, "a second attempt is planned")

    assert house.ask("POST", f"/jobs/{job_id}/redeliver").status == 202

    attempts = wait_for_last(house, job_id, "accepted")
    assert [one["state"] for one in attempts] == ["failed", "replaced", "failed", "failed", "accepted"]


def test_the_licences_name_the_model_that_makes_the_meshes(house: House) -> None:
    told = house.ask("GET", "/licences").json

    assert told["shape_model"]["name"] == house.ask("GET", "/health").json["model"]
    assert told["shape_model"]["licence"] == "Apache License 2.0"
    if shutil.which("prusa-slicer"):
        assert (told["slicer"]["name"], "Affero" in told["slicer"]["licence"]) == ("PrusaSlicer", True)
    else:
        assert told["slicer"] is None
