"""What a caller may ask of the finished mesh, and how it is told what came of it."""

from __future__ import annotations

import hashlib
import io
import json
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from ai_engine.mesh_files.stl import read_stl
from service.house import House, Outside, wait_for


def test_millimetres_come_standing_on_the_plate_with_a_report(house: House, outside: Outside) -> None:
    job_id = house.submit(
        image_url=outside.url("/mm.png"),
        height_mm=60,
        flat_base=True,
        target_faces=2000,
        require_printable=True,
    )

    job = house.wait_until(job_id, "succeeded")
    mesh = read_stl(house.ask("GET", f"/jobs/{job_id}/mesh").body)
    assert (mesh.vertices[:, 2].min(), mesh.vertices[:, 2].max()) == (0, 60)
    assert len(mesh.faces) <= 2000
    assert (job["artifact"]["units"], job["artifact"]["faces"]) == ("mm", len(mesh.faces))
    told = job["print"]
    assert (told["watertight"], told["printable"], told["triangles"]) == (True, True, len(mesh.faces))
    assert told["bbox_mm"][2] == 60
    assert told["contact_area_mm2"] > 100
    assert told["simplification_error_mm"] > 0
    assert job["options"]["height_mm"] == 60


def test_the_webhook_tells_the_same_as_the_job(house: House, outside: Outside) -> None:
    job_id = house.submit(
        image_url=outside.url("/told.png"), webhook_url=outside.url("/told"), height_mm=40, target_faces=1000
    )

    (delivered,) = wait_for(lambda: outside.posts("/told"), "the webhook came")
    assert delivered.event["data"]["print"] == house.wait_until(job_id, "succeeded")["print"]
    assert len(delivered.parts["event"]) < 4096


@pytest.mark.parametrize(
    ("mesh_format", "media_type", "begins"),
    [
        ("3mf", "model/3mf", b"PK\x03\x04"),
        ("glb", "model/gltf-binary", b"glTF"),
        ("obj", "model/obj", b"# AI Engine"),
        ("ply", "application/octet-stream", b"ply\nformat binary"),
    ],
)
def test_other_formats_come_with_their_own_name_and_type(
    house: House, outside: Outside, mesh_format: str, media_type: str, begins: bytes
) -> None:
    job_id = house.submit(image_url=outside.url("/f.png"), format=mesh_format, target_faces=500)

    job = house.wait_until(job_id, "succeeded")
    answer = house.ask("GET", f"/jobs/{job_id}/mesh")
    assert answer.body.startswith(begins)
    assert answer.headers["content-type"] == media_type
    assert job["artifact"]["filename"].endswith(f".{mesh_format}")
    if mesh_format == "3mf":
        assert "Metadata/thumbnail.png" in ZipFile(io.BytesIO(answer.body)).namelist()


def test_a_file_keeps_to_the_size_that_was_asked(house: House, outside: Outside) -> None:
    job_id = house.submit(image_url=outside.url("/small.png"), max_bytes=30_000)

    job = house.wait_until(job_id, "succeeded")
    assert 15_000 < job["artifact"]["size"] <= 30_000
    assert job["print"]["watertight"] is True


def test_a_preview_shows_two_views_and_is_drawn_once(house: House, outside: Outside) -> None:
    job_id = house.submit(image_url=outside.url("/seen.png"), target_faces=500)

    told = house.wait_until(job_id, "succeeded")["artifact"]["preview"]
    assert house.events("preview drawn", job_id, "serve") == []
    answer, again = house.ask("GET", told["url"]), house.ask("GET", told["url"])
    assert (answer.status, again.body, told["sha256"]) == (200, answer.body, None)
    assert len(wait_for(lambda: house.events("preview drawn", job_id, "serve"), "it is logged")) == 1
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.body)) as picture:
        assert picture.size == (640, 320)
        assert np.asarray(picture.convert("L")).std() > 10


def test_a_thumbnail_that_was_asked_for_is_there_with_the_event(house: House, outside: Outside) -> None:
    job_id = house.submit(
        image_url=outside.url("/seen.png"),
        webhook_url=outside.url("/drawn"),
        target_faces=500,
        thumbnail=True,
    )

    told = house.wait_until(job_id, "succeeded")["artifact"]["preview"]
    (post,) = wait_for(lambda: outside.posts("/drawn"), "the webhook came")
    event = json.loads(post.parts["event"])
    assert event["data"]["artifact"]["preview"]["sha256"] == told["sha256"]
    assert hashlib.sha256(house.ask("GET", told["url"]).body).hexdigest() == told["sha256"]
    assert house.events("preview drawn", job_id, "serve") == []


WISHES = {"base": {"shape": "hex", "text": "Ada 42", "height_mm": 9}, "hollow": {"wall_mm": 2.5}}


def test_what_is_added_is_in_the_mesh_in_the_report_and_in_the_options(
    house: House, outside: Outside
) -> None:
    plain = house.submit(image_url=outside.url("/plain.png"), height_mm=50)
    job_id = house.submit(image_url=outside.url("/added.png"), height_mm=50, **WISHES)

    job, before = house.wait_until(job_id, "succeeded"), house.wait_until(plain, "succeeded")
    told = job["print"]
    assert [one["kind"] for one in told["additions"]] == ["hollow", "base"]
    assert (told["watertight"], told["bodies"], told["hollows"]) == (True, 1, 0)
    change = sum(one["volume_mm3"] for one in told["additions"]) / 1000
    assert told["volume_cm3"] == pytest.approx(before["print"]["volume_cm3"] + change, rel=1e-3)
    assert job["options"]["base"]["text"] == "Ada 42"
    mesh = read_stl(house.ask("GET", f"/jobs/{job_id}/mesh").body)
    assert (mesh.vertices[:, 2].min(), len(mesh.faces)) == (0, told["triangles"])
    drawn, other = (house.ask("GET", f"/jobs/{one}/preview.png").body for one in (job_id, plain))
    assert drawn != other


def test_what_does_not_fit_ends_the_job_with_its_reason(house: House, outside: Outside) -> None:
    name = {"base": {"text": "a name that is far too long for so small a thing"}}
    job_id = house.submit(image_url=outside.url("/long.png"), height_mm=10, **name)

    error = house.wait_until(job_id, "failed")["error"]
    assert (error["code"], error["stage"], error["retryable"]) == ("addition_unfit", "finish", False)
    assert "thinner than a printer's line" in error["detail"]


@pytest.mark.parametrize(
    "wish",
    [
        {"base": {"text": "Ж"}, "height_mm": 50},
        {"hollow": {"wall_mm": 0.1}, "height_mm": 50},
        {"attach": {"kind": "keyring"}},
        {"height_mm": 0.5},
        {"height_mm": 3000},
        {"target_faces": 50},
        {"max_bytes": 10},
        {"format": "fbx"},
    ],
)
def test_wishes_out_of_bounds_are_refused_by_name(
    house: House, outside: Outside, wish: dict[str, object]
) -> None:
    request = {"session_id": "s", "asset_id": "a", "image_url": outside.url("/x.png")}

    answer = house.ask("POST", "/generate-3d", request | wish)
    assert answer.status == 422
    assert next(iter(wish)) in str(answer.json["errors"])
