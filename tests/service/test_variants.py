"""A job's mesh finished again: the same bytes as if the first job had asked, and no device."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from support.slicing import needs_slicer

from service.house import House, Outside, wait_for

BASE = {"height_mm": 60, "base": {"shape": "oval", "text": "Ada", "height_mm": 9}}


@pytest.fixture(scope="module")
def first(house: House, outside: Outside) -> str:
    """A job that is over."""
    job_id = house.submit(image_url=outside.url("/first.png"), seed=3, session_id="bench", asset_id="bust")
    house.wait_until(job_id, "succeeded")
    return job_id


def vary(house: House, job_id: str, headers: dict[str, str] | None = None, **fields: Any) -> str:
    """The id of a new variant."""
    answer = house.ask("POST", f"/jobs/{job_id}/variants", fields, headers)
    assert answer.status == 202, answer.body
    return answer.json["job_id"]


def mesh(house: House, job_id: str, query: str = "") -> bytes:
    answer = house.ask("GET", f"/jobs/{job_id}/mesh{query}")
    assert answer.status == 200, answer.body
    return answer.body


@pytest.mark.parametrize(
    "wishes",
    [
        {"format": "3mf", **BASE},
        {"format": "ply", "target_faces": 500},
        {"max_bytes": 30_000, "height_mm": 40, "hollow": {"wall_mm": 3}},
    ],
    ids=["base", "ply", "hollow"],
)
def test_a_variant_has_the_bytes_that_the_first_job_would_have_had(
    house: House, outside: Outside, first: str, wishes: dict[str, Any]
) -> None:
    whole = house.submit(image_url=outside.url("/w.png"), seed=3, asset_id="bust", **wishes)
    variant = vary(house, first, **wishes)

    told, expected = house.wait_until(variant, "succeeded"), house.wait_until(whole, "succeeded")
    assert mesh(house, variant) == mesh(house, whole)
    assert told["print"] == expected["print"]
    assert (told["options"], told["model"]) == (expected["options"], expected["model"])
    assert (told["variant_of"], expected["variant_of"]) == (first, None)
    assert (told["session_id"], told["asset_id"]) == ("bench", "bust")


def test_a_variant_never_has_the_device(house: House, first: str) -> None:
    variant = vary(house, first, height_mm=30)

    job = house.wait_until(variant, "succeeded")
    assert set(job["timings_s"]) == {"queue", "finish"}
    assert house.events("device taken", first, "serve")
    assert house.events("device taken", variant, "serve") == []
    assert house.ask("GET", f"/jobs/{variant}/cutout.png").status == 200
    assert house.ask("GET", f"/jobs/{variant}/preview.png").status == 200


def test_the_webhook_of_a_variant_names_the_job_and_every_format(
    house: House, outside: Outside, first: str
) -> None:
    variant = vary(house, first, formats=["glb", "stl", "3mf"], webhook_url=outside.url("/variant"))

    (delivered,) = wait_for(lambda: outside.posts("/variant"), "the webhook came")
    data = delivered.event["data"]
    assert (data["job_id"], data["variant_of"], data["artifact"]["format"]) == (variant, first, "glb")
    assert [file["format"] for file in data["artifacts"]] == ["glb", "stl", "3mf"]
    job = house.wait_until(variant, "succeeded")
    for file, told in zip(data["artifacts"], job["artifacts"], strict=True):
        linked = house.ask("GET", file["url"].partition(f":{house.port}")[2])
        served = house.ask("GET", told["url"])
        assert hashlib.sha256(linked.body).hexdigest() == file["sha256"] == told["sha256"]
        assert (served.body, len(served.body)) == (linked.body, file["size"])
        assert file["filename"] in served.headers["content-disposition"]


def test_several_formats_are_the_files_that_single_ones_are(
    house: House, outside: Outside, first: str
) -> None:
    all_formats = ["stl", "obj", "ply"]
    together = house.submit(
        image_url=outside.url("/all.png"), seed=3, asset_id="bust", formats=all_formats, height_mm=25
    )

    house.wait_until(together, "succeeded")
    for one in all_formats:
        alone = vary(house, first, format=one, height_mm=25)
        house.wait_until(alone, "succeeded")
        assert mesh(house, together, f"?format={one}") == mesh(house, alone)
    assert mesh(house, together) == mesh(house, together, "?format=stl")
    missing = house.ask("GET", f"/jobs/{together}/mesh?format=3mf")
    assert (missing.status, missing.json["errors"][0]["code"]) == (422, "format_missing")


def test_an_idempotency_key_makes_one_variant(house: House, first: str) -> None:
    key = {"Idempotency-Key": "variant-1"}
    variant = vary(house, first, key, height_mm=20)

    again = house.ask("POST", f"/jobs/{first}/variants", {"height_mm": 20}, key)
    other = house.ask("POST", f"/jobs/{first}/variants", {"height_mm": 21}, key)
    assert (again.status, again.json["job_id"]) == (200, variant)
    assert (other.status, other.json["code"]) == (409, "idempotency_key_reused")


def test_a_variant_of_a_variant_and_of_a_job_that_failed_at_its_end(
    house: House, outside: Outside, first: str
) -> None:
    long_name = {"height_mm": 8, "base": {"text": "much too long a name for so small a base"}}
    failed = house.submit(image_url=outside.url("/long.png"), seed=3, asset_id="bust", **long_name)
    house.wait_until(failed, "failed")

    one = vary(house, failed, height_mm=30)
    house.wait_until(one, "succeeded")
    two, straight = vary(house, one, height_mm=30), vary(house, first, height_mm=30)
    assert house.wait_until(two, "succeeded")["variant_of"] == one
    house.wait_until(straight, "succeeded")
    assert mesh(house, one) == mesh(house, two) == mesh(house, straight)


def test_a_variant_that_failed_is_run_again(house: House, first: str) -> None:
    failed = vary(house, first, height_mm=8, base={"text": "much too long a name for so small a base"})
    error = house.wait_until(failed, "failed")["error"]

    again = house.ask("POST", f"/jobs/{failed}/retry")
    job = house.wait_until(again.json["job_id"], "failed")
    assert (error["code"], job["error"]["code"]) == ("addition_unfit", "addition_unfit")
    assert (job["attempt"], job["variant_of"]) == (2, first)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"formats": []}, "formats"),
        ({"formats": ["stl", "stl"]}, "formats"),
        ({"formats": ["stl", "step"]}, "formats.1"),
        ({"formats": ["stl"], "format": "3mf"}, "formats"),
        ({"seed": 4}, "seed"),
        ({"height_mm": -1}, "height_mm"),
        ({"base": {}}, "base"),
        ({"webhook_url": "http://10.0.0.1/hook"}, "webhook_url"),
    ],
)
def test_what_no_variant_can_have_is_refused_by_name(
    house: House, first: str, fields: dict[str, Any], place: str
) -> None:
    answer = house.ask("POST", f"/jobs/{first}/variants", fields)
    assert answer.status == 422
    assert [one["field"] for one in answer.json["errors"]] == [place]


def test_there_is_no_variant_of_what_has_no_mesh(house: House, outside: Outside) -> None:
    bad = house.submit(image_url=outside.url("/no-picture"))
    house.wait_until(bad, "failed")

    without = house.ask("POST", f"/jobs/{bad}/variants", {})
    unknown = house.ask("POST", f"/jobs/{'0' * 32}/variants", {})
    assert (without.status, without.json["code"]) == (409, "not_ready")
    assert unknown.status == 404


def test_a_variant_outlives_the_files_of_the_first_job(house: House, outside: Outside) -> None:
    gone = house.submit(image_url=outside.url("/gone.png"), seed=3)
    house.wait_until(gone, "succeeded")
    variant = vary(house, gone, height_mm=20)
    house.wait_until(variant, "succeeded")
    for file in (house.folder / "data" / "jobs" / gone).iterdir():
        file.unlink()

    assert house.ask("POST", f"/jobs/{gone}/variants", {}).status == 410
    house.wait_until(vary(house, variant, height_mm=21), "succeeded")


@needs_slicer
def test_a_variant_that_is_sliced_has_g_code(house: House, outside: Outside, first: str) -> None:
    asked: dict[str, Any] = {"height_mm": 15, "slice": {"print_settings": "supports"}}
    variant = vary(house, first, **asked, webhook_url=outside.url("/sliced"))

    job = house.wait_until(variant, "succeeded")
    told = job["print"]["slicing"]
    answer = house.ask("GET", f"/jobs/{variant}/gcode")
    (delivered,) = wait_for(lambda: outside.posts("/sliced"), "the webhook came")
    file = delivered.event["data"]["gcode"]
    linked = house.ask("GET", file["url"].partition(f":{house.port}")[2])
    assert (linked.status, linked.body) == (200, answer.body)
    assert (file["sha256"], file["size"]) == (told["gcode_sha256"], len(answer.body))
    assert job["gcode"] == file | {"url": f"/jobs/{variant}/gcode"}
    assert house.job(first)["gcode"] is None
    assert (answer.status, hashlib.sha256(answer.body).hexdigest()) == (200, told["gcode_sha256"])
    assert answer.headers["content-disposition"] == 'attachment; filename="bust.gcode"'
    assert told["grams"] > 0
    assert told["print_settings"] == "supports"
    assert house.ask("GET", f"/jobs/{first}/gcode").status == 409
    unknown = house.ask("POST", f"/jobs/{first}/variants", {"height_mm": 15, "slice": {"printer": "none"}})
    assert [one["field"] for one in unknown.json["errors"]] == ["slice.printer"]
    assert "ender-3" in unknown.json["errors"][0]["detail"]
