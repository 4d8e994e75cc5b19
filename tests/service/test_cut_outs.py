"""Callers learn what the model will see of their picture."""

from __future__ import annotations

from service.house import House, Outside, wait_for

FACTS = {"source": "alpha", "share": 0.25, "borders": [], "parts_dropped": 0, "warnings": ["small"]}
"""Of the square that `cut_out_png` draws."""


def test_a_job_and_its_event_have_the_facts_of_the_cutout(each_house: House, outside: Outside) -> None:
    hook = f"/facts-{each_house.port}"
    job_id = each_house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url(hook))

    job = each_house.wait_until(job_id, "succeeded")

    (delivered,) = wait_for(lambda: outside.posts(hook), "the webhook came")
    assert job["cutout"] == FACTS
    assert delivered.event["data"]["cutout"] == FACTS
