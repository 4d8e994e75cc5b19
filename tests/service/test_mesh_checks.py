"""A mesh of the caller's own over HTTP: read, reported on, repaired, finished; and no device."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from support.broken_meshes import BROKEN
from support.mesh_bombs import BOMBS
from support.slicing import needs_slicer
from support.solid_shapes import cube, sphere

from ai_engine.engine.engine import print_options
from ai_engine.engine.finishing import check_file, finish_file
from ai_engine.errors import JobError
from ai_engine.mesh.mesh import Mesh
from service.house import Answer, House, Outside, wait_for
from service.test_cut_outs import form

CASES = Path(__file__).parents[1] / "data" / "cases"
NAMES = {"session_id": "bench", "asset_id": "part"}


def file_of(mesh: Mesh, file_format: str = "stl") -> bytes:
    if file_format == "stl":  # also of corners that are no numbers, which libraries do not write
        records = np.zeros(
            len(mesh.faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("end", "<u2")]
        )
        records["corners"] = mesh.vertices[mesh.faces]
        return bytes(80) + len(records).to_bytes(4, "little") + records.tobytes()
    made = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(file_type=file_format)
    return made if isinstance(made, bytes) else made.encode()


def large(mesh: Mesh) -> Mesh:
    """Twenty times as large: solids of 40 mm."""
    return Mesh(mesh.vertices * np.float32(20), mesh.faces)


BALL = file_of(large(sphere(16)))
BROKEN_FILES = {name: file_of(large(make())) for name, make in BROKEN.items() if len(make().faces)}
CASE_FILES = {file.name: file.read_bytes() for file in sorted(CASES.glob("mesh-*.stl"))}


def post(house: House, data: bytes, headers: dict[str, str] | None = None, **fields: Any) -> Answer:
    """The answer to a form with the mesh as a file."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}
    body, about = form(NAMES | texts | {"mesh": data})
    return house.ask("POST", "/mesh-checks", body, about | (headers or {}))


def submit(house: House, data: bytes, **fields: Any) -> str:
    answer = post(house, data, **fields)
    assert answer.status == 202, answer.body
    return answer.json["job_id"]


def mesh(house: House, job_id: str, query: str = "") -> bytes:
    answer = house.ask("GET", f"/jobs/{job_id}/mesh{query}")
    assert answer.status == 200, answer.body
    return answer.body


def as_data_url(data: bytes) -> str:
    return "data:model/stl;base64," + base64.b64encode(data).decode()


def expected(data: bytes, **fields: Any) -> tuple[str, bytes | str]:
    """What `ai-engine finish` gives: the file's bytes, or the code of the error."""
    try:
        return "succeeded", finish_file(data, print_options(fields), title="part").bytes_as("stl")
    except JobError as error:
        return "failed", error.code


def test_every_broken_mesh_comes_back_as_the_command_line_finishes_it(house: House) -> None:
    files = BROKEN_FILES | CASE_FILES
    jobs = {name: submit(house, data) for name, data in files.items()}
    found: dict[str, Any] = {}
    for name, job_id in jobs.items():
        job = house.wait_until_over(job_id)
        error = job["error"] and job["error"]["code"]
        found[name] = (job["status"], error or mesh(house, job_id))
        if job["status"] == "succeeded":
            checked = json.loads(json.dumps(vars(check_file(files[name]).facts()), default=vars))
            assert {key: job["check"][key] for key in ("watertight", "triangles", "warnings")} == {
                key: checked[key] for key in ("watertight", "triangles", "warnings")
            }, name

    assert found == {name: expected(data) for name, data in files.items()}
    assert len(found) > 20
    assert {name for name, (status, _) in found.items() if status == "failed"} == {"one_triangle"}


def test_a_mesh_check_never_has_the_device_and_says_what_it_is(house: House, outside: Outside) -> None:
    job_id = submit(house, BALL, formats="3mf,glb", webhook_url=outside.url("/checked"), target_faces="500")

    (delivered,) = wait_for(lambda: outside.posts("/checked"), "the webhook came")
    job = house.wait_until(job_id, "succeeded")
    assert (job["kind"], job["variant_of"], job["model"], job["cutout"]) == ("mesh_check", None, {}, None)
    assert set(job["timings_s"]) == {"queue", "download", "finish"}
    assert house.events("device taken", job_id, "serve") == []
    assert job["check"]["triangles"] == 1024
    assert 400 < job["print"]["triangles"] <= 500
    assert job["options"]["seed"] is None
    data = delivered.event["data"]
    assert [file["format"] for file in data["artifacts"]] == ["3mf", "glb"]
    assert "seed" not in data["options"]
    assert house.ask("GET", f"/jobs/{job_id}/preview.png").status == 200
    assert house.ask("GET", f"/jobs/{job_id}/cutout.png").status == 409
    done = house.ask("GET", f"/jobs/{job_id}/events").body.decode()
    assert '"stage": "finish"' in done
    assert job_id in [one["job_id"] for one in house.ask("GET", "/jobs?session_id=bench").json["jobs"]]


WISHES: dict[str, Any] = {"height_mm": 35, "base": {"text": "Ada", "height_mm": 8}, "hollow": {"wall_mm": 3}}


@pytest.mark.parametrize("file_format", ["stl", "3mf", "obj", "ply", "glb"])
def test_each_format_is_read_and_finished_with_every_field_as_on_the_command_line(
    house: House, file_format: str
) -> None:
    data = file_of(large(sphere(16)), file_format)

    job_id = submit(house, data, **WISHES)

    job = house.wait_until_over(job_id)
    assert job["error"] is None
    assert mesh(house, job_id) == expected(data, **WISHES)[1]
    assert [one["kind"] for one in job["print"]["additions"]] == ["hollow", "base"]


def test_additions_need_no_height_where_the_mesh_has_its_own(house: House) -> None:
    job = house.wait_until_over(submit(house, BALL, base={}))
    assert job["status"] == "succeeded", job["error"]
    assert job["print"]["bbox_mm"][2] == pytest.approx(46, abs=6)


def test_a_mesh_is_the_same_job_whichever_way_it_comes(house: House, outside: Outside) -> None:
    outside.pictures["/ball.stl"] = serve(BALL)
    urls = (outside.url("/ball.stl"), as_data_url(BALL))
    answers = [house.ask("POST", "/mesh-checks", NAMES | {"mesh_url": url}) for url in urls]

    assert [answer.status for answer in answers] == [202, 202]
    whole = submit(house, BALL)
    jobs = [whole, *(answer.json["job_id"] for answer in answers)]
    for job_id in jobs:
        house.wait_until(job_id, "succeeded")
    first, *others = (mesh(house, job_id) for job_id in jobs)
    assert others == [first, first]


def serve(data: bytes) -> Any:
    """Answers with these bytes."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


SLAB = trimesh.creation.box((60, 60, 12)).export(file_type="stl")


def test_an_object_stands_on_the_pedestal_of_the_shop_in_each_kind_of_job(
    house: House, outside: Outside
) -> None:
    outside.pictures["/slab.stl"] = serve(SLAB)
    outside.pictures["/slab.3mf"] = serve(trimesh.creation.box((60, 60, 12)).export(file_type="3mf"))
    base = {"mesh_url": outside.url("/slab.stl")}
    mine = submit(house, BALL, base=base)
    packed = submit(house, BALL, base={"mesh_url": outside.url("/slab.3mf")})
    made = house.submit(image_url=outside.url("/first.png"), seed=3, height_mm=40, base=base)
    plain = house.submit(image_url=outside.url("/first.png"), seed=3)
    house.wait_until(plain, "succeeded")
    variant = house.ask("POST", f"/jobs/{plain}/variants", {"height_mm": 40, "base": base}).json["job_id"]
    jobs = {job_id: house.wait_until_over(job_id) for job_id in (mine, packed, made, variant)}

    assert [job["error"] for job in jobs.values()] == [None] * 4
    wishes = print_options({"base": base})
    by_command = finish_file(BALL, wishes, title="part", pedestal=SLAB).bytes_as("stl")
    assert mesh(house, mine) == by_command
    assert mesh(house, made) == mesh(house, variant)
    for job in jobs.values():
        facts = job["print"]
        assert (facts["watertight"], facts["bodies"]) == (True, 1)
        assert facts["bbox_mm"][:2] == pytest.approx([60, 60], abs=0.01)
        assert 12 + 40 * 0.8 < facts["bbox_mm"][2] < 12 + 40
        (added,) = facts["additions"]
        assert added["kind"] == "base"
        assert 0.8 * 60 * 60 * 12 < added["volume_mm3"] <= 60 * 60 * 12


def test_a_pedestal_inside_the_request_is_the_one_at_its_url(house: House, outside: Outside) -> None:
    outside.pictures["/same.stl"] = serve(SLAB)
    by_url, inline = {"mesh_url": outside.url("/same.stl")}, {"mesh_url": as_data_url(SLAB)}
    checks = [submit(house, BALL, base=base) for base in (by_url, inline)]
    picture = {"image_url": outside.url("/first.png"), "seed": 3, "asset_id": "bust"}
    made = house.submit(**picture, height_mm=40, base=inline)
    plain = house.submit(**picture)
    house.wait_until(plain, "succeeded")
    fields = {"height_mm": 40, "base": inline}
    variant = house.ask("POST", f"/jobs/{plain}/variants", fields).json["job_id"]

    jobs = [house.wait_until(job_id, "succeeded") for job_id in (*checks, made, variant)]
    assert mesh(house, checks[0]) == mesh(house, checks[1])
    assert mesh(house, made) == mesh(house, variant)
    digest = hashlib.sha256(SLAB).hexdigest()
    assert [job["options"]["base"]["mesh_url"] for job in jobs[1:]] == [f"sha256:{digest}"] * 3


def test_a_pedestal_is_fetched_once_for_a_job_its_retries_and_its_variants(
    house: House, outside: Outside
) -> None:
    outside.pictures["/once.stl"] = serve(SLAB)
    base = {"mesh_url": outside.url("/once.stl")}
    first = submit(house, BALL, base=base)
    failed = submit(house, BALL, base=base, hollow={"wall_mm": 20})
    assert house.wait_until_over(failed)["error"]["code"] == "addition_unfit"
    house.wait_until(first, "succeeded")
    outside.pictures["/once.stl"] = lambda handler: handler.send_error(500)

    again = house.ask("POST", f"/jobs/{failed}/retry").json["job_id"]
    house.wait_until_over(again)
    third = house.ask("POST", f"/jobs/{again}/retry").json["job_id"]
    variant = house.ask("POST", f"/jobs/{first}/variants", {"base": base}).json["job_id"]
    house.wait_until(variant, "succeeded")
    second = house.ask("POST", f"/jobs/{variant}/variants", {"base": base}).json["job_id"]

    codes = [house.wait_until_over(job_id)["error"]["code"] for job_id in (again, third)]
    assert codes == ["addition_unfit"] * 2
    house.wait_until(second, "succeeded")
    assert mesh(house, first) == mesh(house, variant) == mesh(house, second)
    assert outside.asked.count("/once.stl") == 2
    names = {file.name for file in (house.folder / "data" / "jobs" / second).iterdir()}
    assert "pedestal" in names


def test_a_variant_never_begins_at_a_pedestal(house: House) -> None:
    job_id = submit(house, b"PK\x03\x04" + bytes(200), base={"mesh_url": as_data_url(SLAB)})
    house.wait_until(job_id, "failed")
    answer = house.ask("POST", f"/jobs/{job_id}/variants", {})
    assert (answer.status, answer.json["code"]) == (409, "not_ready")


@needs_slicer
def test_a_mesh_in_millimetres_is_sliced_at_its_own_size_and_one_without_a_unit_is_not(
    house: House, outside: Outside
) -> None:
    raw = house.submit(image_url=outside.url("/first.png"), format="obj")
    house.wait_until(raw, "succeeded")
    own = house.wait_until(submit(house, BALL, slice={}), "succeeded")
    unitless = house.wait_until_over(submit(house, mesh(house, raw), slice={}))
    variant = house.ask("POST", f"/jobs/{own['job_id']}/variants", {"slice": {}, "base": {}}).json["job_id"]

    assert own["print"]["slicing"]["grams"] > 0
    assert (
        house.wait_until(variant, "succeeded")["print"]["slicing"]["grams"] > own["print"]["slicing"]["grams"]
    )
    assert (unitless["error"]["code"], "height_mm" in unitless["error"]["detail"]) == ("slice_failed", True)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (file_of(large(BROKEN["one_triangle"]())), "addition_unfit"),
        (trimesh.creation.box((60, 60, 12)).export(file_type="glb"), "mesh_invalid"),
        (b"no mesh", "mesh_invalid"),
        (file_of(sphere(80)), "mesh_too_many_faces"),
    ],
    ids=["open", "glb", "text", "faces"],
)
def test_a_pedestal_that_can_not_be_used_ends_the_job_before_the_device(
    house: House, outside: Outside, data: bytes, code: str
) -> None:
    outside.pictures["/bad.stl"] = serve(data)
    base = {"mesh_url": outside.url("/bad.stl")}
    job_id = house.submit(image_url=outside.url("/first.png"), height_mm=40, base=base)
    error = house.wait_until_over(job_id)["error"]
    assert (error["code"], error["stage"]) == (code, "download")
    assert house.events("device taken", job_id, "serve") == []


@pytest.mark.parametrize(
    ("base", "place"),
    [
        ({"mesh_url": "https://example.com/slab.stl", "text": "Ada"}, "base"),
        ({"mesh_url": "https://example.com/slab.stl", "shape": "hex"}, "base"),
        ({"mesh_url": "http://10.0.0.1/slab.stl"}, "base.mesh_url"),
        ({"mesh_url": "data:model/stl;base64,AAAA"}, "base.mesh_url"),
        ({"mesh_url": "sha256:" + "0" * 64}, "base.mesh_url"),
    ],
)
def test_a_pedestal_that_makes_no_sense_is_refused_by_its_field(
    house: House, outside: Outside, base: dict[str, str], place: str
) -> None:
    fields = {"height_mm": 40, "base": base}
    answers = [
        house.ask("POST", "/generate-3d", NAMES | fields | {"image_url": outside.url("/first.png")}),
        post(house, BALL, height_mm=40, base=base),
    ]
    assert [(one.status, one.json["errors"][0]["field"]) for one in answers] == [(422, place)] * 2


def test_an_idempotency_key_makes_one_job(house: House) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first = post(house, BALL, key)
    again = post(house, BALL, key)
    other = post(house, file_of(cube(3.0)), key)
    otherwise = post(house, BALL, key, height_mm="3")

    assert (first.status, again.status) == (202, 200)
    assert again.json["job_id"] == first.json["job_id"]
    assert (other.status, otherwise.status) == (409, 409)


def test_a_variant_of_a_mesh_check_begins_at_its_mesh(house: House) -> None:
    job_id = submit(house, BALL)
    house.wait_until(job_id, "succeeded")

    variant = house.ask("POST", f"/jobs/{job_id}/variants", {"format": "obj", "height_mm": 15}).json["job_id"]
    plain = house.ask("POST", f"/jobs/{job_id}/variants", {}).json["job_id"]

    job = house.wait_until(variant, "succeeded")
    assert (job["kind"], job["variant_of"], job["model"]) == ("variant", job_id, {})
    house.wait_until(plain, "succeeded")
    assert mesh(house, plain) == mesh(house, job_id)
    straight = submit(house, BALL, format="obj", height_mm=15)
    house.wait_until(straight, "succeeded")
    assert mesh(house, variant) == mesh(house, straight)


def test_a_mesh_check_that_failed_is_run_again_with_its_own_copy(house: House) -> None:
    long_name = {"base": {"text": "much too long a name for so small a base"}}
    failed = submit(house, BALL, height_mm=8, **long_name)
    assert house.wait_until_over(failed)["error"]["code"] == "addition_unfit"

    again = house.ask("POST", f"/jobs/{failed}/retry").json["job_id"]

    job = house.wait_until_over(again)
    assert (job["attempt"], job["kind"], job["error"]["code"]) == (2, "mesh_check", "addition_unfit")
    assert job["check"]["triangles"] == 1024


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_its_kind(house: House, name: str) -> None:
    data, codes = BOMBS[name]

    job = house.wait_until_over(submit(house, data))

    assert job["status"] == "failed"
    assert job["error"]["code"] in codes
    assert job["error"]["stage"] == "download"
    assert not job["error"]["retryable"]


@pytest.mark.parametrize("name", [name for name, (data, _) in BOMBS.items() if data[:2] == b"PK"])
def test_a_bomb_is_no_pedestal_either(house: House, name: str) -> None:
    data, codes = BOMBS[name]

    error = house.wait_until_over(submit(house, BALL, base={"mesh_url": as_data_url(data)}))["error"]

    assert error["code"] in codes
    assert error["stage"] == "download"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no mesh at all", "mesh_invalid"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "mesh_invalid"),
        (bytes(2_000_001), "mesh_too_large"),
    ],
    ids=["text", "picture", "large"],
)
def test_what_is_no_mesh_by_its_first_bytes_or_size_is_refused_at_once(
    house: House, data: bytes, code: str
) -> None:
    answer = post(house, data)
    inline = house.ask("POST", "/mesh-checks", NAMES | {"mesh_url": as_data_url(data)})

    assert (answer.status, answer.json["errors"][0]) == (
        422,
        {"field": "mesh", "code": code, "detail": answer.json["errors"][0]["detail"]},
    )
    assert (inline.status, inline.json["errors"][0]["code"]) == (422, code)
    assert inline.json["errors"][0]["field"] == "mesh_url"


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, "mesh_url"),
        ({"mesh_url": "http://10.0.0.1/part.stl"}, "mesh_url"),
        ({"mesh_url": "file:///etc/passwd"}, "mesh_url"),
        ({"mesh_url": "data:model/stl,plain"}, "mesh_url"),
        ({"mesh_url": "https://example.com/a.stl", "seed": 3}, "seed"),
        ({"mesh_url": "https://example.com/a.stl", "image_url": "https://example.com/a.png"}, "image_url"),
        ({"mesh_url": "https://example.com/a.stl", "webhook_url": "http://10.0.0.1/"}, "webhook_url"),
        ({"mesh_url": "https://example.com/a.stl", "format": "step"}, "format"),
    ],
)
def test_what_no_mesh_check_can_have_is_refused_by_name(
    house: House, fields: dict[str, Any], place: str
) -> None:
    answer = house.ask("POST", "/mesh-checks", NAMES | fields)
    assert answer.status == 422, answer.body
    assert [one["field"] for one in answer.json["errors"]] == [place]


def test_a_url_that_gives_no_mesh_ends_the_job_by_a_code(house: House, outside: Outside) -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "http://10.0.0.1/part.stl")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    many = file_of(sphere(80))
    outside.pictures |= {
        "/page.stl": serve(b"<html>sorry</html>"),
        "/large.stl": serve(bytes(2_000_001)),
        "/many.stl": serve(many),
        "/moved.stl": redirect,
    }
    codes = {}
    for name in ("page", "large", "many", "moved", "nothing"):
        answer = house.ask("POST", "/mesh-checks", NAMES | {"mesh_url": outside.url(f"/{name}.stl")})
        job = house.wait_until_over(answer.json["job_id"])
        codes[name] = (job["error"]["code"], job["error"]["stage"])

    assert len(many) < 2_000_000
    assert codes == {
        "page": ("mesh_invalid", "download"),
        "large": ("mesh_too_large", "download"),
        "many": ("mesh_too_many_faces", "download"),
        "moved": ("mesh_url_forbidden", "download"),
        "nothing": ("mesh_download_failed", "download"),
    }
