"""Several views of one object, from the request to the webhook."""

from __future__ import annotations

import io
import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from service.house import House, Outside, cut_out_png, wait_for
from service.test_cut_outs import FACTS, data_url, form

PARITY = Path(__file__).resolve().parents[1] / "parity" / "data"


def test_views_come_by_url_and_inside_the_request_and_the_event_has_facts_of_each(
    each_house: House, outside: Outside
) -> None:
    hook = f"/views-{each_house.port}"
    urls = {"front": outside.url("/a.png"), "left": data_url(cut_out_png()), "back": None}
    job_id = each_house.submit(image_url=None, image_urls=urls, webhook_url=outside.url(hook))

    job = each_house.wait_until(job_id, "succeeded")

    (delivered,) = wait_for(lambda: outside.posts(hook), "the webhook came")
    assert job["cutout"] is None
    assert job["cutouts"] == {"front": FACTS, "left": FACTS}
    assert delivered.event["data"]["cutouts"] == job["cutouts"]
    for view in ("front", "left"):
        picture = each_house.ask("GET", f"/jobs/{job_id}/cutout.png?view={view}")
        assert np.array(Image.open(io.BytesIO(picture.body))).shape == (64, 64, 4)
    assert each_house.ask("GET", f"/jobs/{job_id}/cutout.png?view=right").status == 409


def test_the_same_views_under_one_key_are_one_job_and_others_are_refused(each_house: House) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    fields = {"session_id": "s1", "asset_id": "a1"}
    as_form, headers = form(fields | {"left": cut_out_png(), "front": cut_out_png()})
    urls = dict.fromkeys(("front", "left"), data_url(cut_out_png()))

    first = each_house.ask("POST", "/generate-3d", as_form, headers | key)
    again = each_house.ask("POST", "/generate-3d", fields | {"image_urls": urls}, key)
    other = each_house.ask("POST", "/generate-3d", fields | {"image_urls": urls | {"left": None}}, key)

    assert [first.status, again.status, other.status] == [202, 200, 409]
    assert first.json["job_id"] == again.json["job_id"]


def test_a_view_that_can_not_be_had_is_named_and_a_retry_has_the_same_views(
    each_house: House, outside: Outside
) -> None:
    urls = {"front": data_url(cut_out_png()), "right": outside.url("/nowhere")}
    job_id = each_house.submit(image_url=None, image_urls=urls)

    failed = each_house.wait_until(job_id, "failed")
    answer = each_house.ask("POST", f"/jobs/{job_id}/retry")
    again = each_house.wait_until(answer.json["job_id"], "failed")

    for job in (failed, again):
        assert job["error"]["code"] == "image_download_failed"
        assert job["error"]["detail"].startswith("View right: ")
