"""API and workers on machines that share a database and a bucket, and no disk."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.s3_server import S3Server
from support.slicing import needs_slicer

from ai_engine.errors import StartupError
from service.house import House, Outside, cut_out_png, wait_for
from service.test_kill import starts
from service.test_mesh_checks import BALL, SLAB, as_data_url, mesh, serve, submit


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    running = S3Server()
    yield running
    running.close()


@pytest.fixture
def world() -> Iterator[Outside]:
    outside = Outside()
    yield outside
    outside.close()


@pytest.fixture
def shared(server: S3Server, tmp_path: Path) -> dict[str, str]:
    """What all machines are told."""
    return server.settings(server.new_bucket()) | {
        "DATABASE_URL": f"sqlite:///{tmp_path}/jobs.sqlite",
        "WEBHOOK_DELAYS_S": "0,0.1,0.1",
        "LEASE_S": "4",
    }


@pytest.fixture
def machines(tmp_path: Path, shared: dict[str, str]) -> Iterator[dict[str, House]]:
    """An API and two workers, each with a disk of its own; the API runs. DEVICE tells them apart on one host."""
    houses = {}
    for name, device in (("api", "auto"), ("a", "auto"), ("b", "cpu")):
        (tmp_path / name).mkdir()
        houses[name] = House(tmp_path / name, {**shared, "DEVICE": device})
    houses["api"].start("api")
    yield houses
    for house in houses.values():
        house.close()


def data_uri() -> str:
    return f"data:image/png;base64,{b64encode(cut_out_png()).decode()}"


def job_files(house: House) -> list[str]:
    return [
        file.name for file in (house.folder / "data").rglob("*") if "jobs" in file.parts and file.is_file()
    ]


def test_a_picture_inside_the_request_reaches_a_worker_elsewhere_and_the_mesh_comes_back(
    machines: dict[str, House], world: Outside
) -> None:
    api, worker = machines["api"], machines["a"]
    worker.start("worker")
    api.wait_until_ready()

    job_id = api.submit(image_url=data_uri(), webhook_url=world.url("/hook"))
    artifact = api.wait_until(job_id, "succeeded")["artifact"]
    (delivered,) = wait_for(lambda: world.posts("/hook"), "the webhook came")
    whole = api.ask("GET", f"/jobs/{job_id}/mesh")
    part = api.ask("GET", f"/jobs/{job_id}/mesh", headers={"Range": "bytes=80-83"})
    known = api.ask("GET", f"/jobs/{job_id}/mesh", headers={"If-None-Match": f'"{artifact["sha256"]}"'})

    assert hashlib.sha256(whole.body).hexdigest() == artifact["sha256"]
    assert hashlib.sha256(delivered.parts["file"]).hexdigest() == artifact["sha256"]
    assert (part.status, part.body) == (206, whole.body[80:84])
    assert (known.status, known.body) == (304, b"")
    assert api.ask("GET", f"/jobs/{job_id}/preview.png").status == 200
    assert job_files(api) == []


def test_variants_and_mesh_checks_reach_another_machine_with_every_file(
    machines: dict[str, House], world: Outside, server: S3Server
) -> None:
    api, worker = machines["api"], machines["a"]
    worker.start("worker")
    api.wait_until_ready()
    world.pictures["/slab.stl"] = serve(SLAB)
    base = {"mesh_url": world.url("/slab.stl")}

    first = api.submit(image_url=data_uri(), height_mm=40, base=base, seed=3)
    check = submit(api, BALL, base={"mesh_url": as_data_url(SLAB)})
    api.wait_until(first, "succeeded")
    world.pictures["/slab.stl"] = lambda handler: handler.send_error(500)
    asked = {"height_mm": 40, "base": base, "formats": ["stl", "ply"]}
    variant = api.ask("POST", f"/jobs/{first}/variants", asked).json["job_id"]
    api.wait_until(variant, "succeeded")
    api.wait_until(check, "succeeded")
    again = api.ask("POST", f"/jobs/{check}/variants", {"format": "obj"}).json["job_id"]
    api.wait_until(again, "succeeded")

    assert mesh(api, first) == mesh(api, variant)
    for job_id, query in ((variant, "?format=ply"), (check, ""), (again, "")):
        served, told = mesh(api, job_id, query), api.job(job_id)["artifacts"][-1]
        assert hashlib.sha256(served).hexdigest() == told["sha256"]
    bucket = worker.settings["ARTIFACTS_URL"].split("/")[2]
    kept = {key.split("/")[-1].split("-", 1)[-1] for key in server.keys(bucket) if variant in key}
    assert {"mesh.stl", "mesh.ply"} <= kept
    assert any("pedestal" in name for name in kept)
    assert job_files(api) == []


@needs_slicer
def test_the_workers_say_whether_there_is_a_slicer_not_the_machine_of_the_api(
    machines: dict[str, House], world: Outside
) -> None:
    api, has, lacks = machines["api"], machines["a"], machines["b"]
    api.kill("api")
    for house in (api, lacks):
        house.settings["SLICER"] = "no-such-slicer"
    api.start("api")
    request = {"session_id": "s", "asset_id": "a", "image_url": data_uri(), "height_mm": 15, "slice": {}}

    wait_for(api.is_open, "the API is open")
    early = api.ask("POST", "/generate-3d", request)
    has.start("worker")
    api.wait_until_ready()
    sliced = api.wait_until(api.submit(**request), "succeeded")
    lacks.start("worker")
    wait_for(
        lambda: api.ask("GET", "/licences").json["slicer"] is None, "the other worker has announced itself"
    )
    refused = api.ask("POST", "/generate-3d", request)

    assert early.status == 503
    assert sliced["print"]["slicing"]["grams"] > 0
    assert api.ask("GET", sliced["gcode"]["url"]).status == 200
    assert [one["code"] for one in refused.json["errors"]] == ["slicer_missing"]


def test_another_machine_goes_on_from_the_mesh_of_one_that_was_lost(
    machines: dict[str, House], world: Outside
) -> None:
    api, lost, other = machines["api"], machines["a"], machines["b"]
    lost.settings["STAND_IN_FACES"] = "700000"  # so that the last stage takes a while
    lost.start("worker")
    api.wait_until_ready()
    job_id = api.submit(image_url=world.url("/a.png"), webhook_url=world.url("/hook"))
    wait_for(lambda: starts(lost, job_id)["finish"], "the job is in its last stage")
    lost.kill("worker")

    other.start("worker")
    artifact = api.wait_until(job_id, "succeeded")["artifact"]
    (delivered,) = wait_for(lambda: world.posts("/hook"), "the webhook came")

    assert starts(other, job_id) == {"finish": 1}
    assert artifact["faces"] > 600_000, "the mesh that the lost worker made"
    assert hashlib.sha256(delivered.parts["file"]).hexdigest() == artifact["sha256"]


def test_a_worker_whose_bucket_leads_nowhere_says_so_and_does_not_start(
    machines: dict[str, House], server: S3Server
) -> None:
    worker = machines["a"]
    worker.settings["ARTIFACTS_URL"] = "s3://no-such-bucket/p"

    worker.start("worker")
    assert worker.exit_status("worker") == StartupError.exit_status

    log = worker.log_path("worker").read_text()
    assert "ARTIFACTS_URL s3://no-such-bucket/p can't be written" in log
    assert worker.settings["AWS_SECRET_ACCESS_KEY"] not in log
    # The API connects to the database while the worker starts, and may be later than it.
    wait_for(lambda: machines["api"].ask("GET", "/readyz").json["status"] == "failed", "the API says so")


def test_a_bucket_that_goes_away_is_told_without_its_name(machines: dict[str, House], world: Outside) -> None:
    api, worker = machines["api"], machines["a"]
    api.settings["ARTIFACTS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    api.kill("api")
    api.start("api")
    worker.start("worker")
    api.wait_until_ready()
    job_id = api.submit(image_url=world.url("/a.png"))
    api.wait_until(job_id, "succeeded")

    for answer in (
        api.ask("GET", f"/jobs/{job_id}/mesh"),
        api.ask("POST", "/generate-3d", {"session_id": "s", "asset_id": "a", "image_url": data_uri()}),
    ):
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert answer.headers["retry-after"]
        assert b"127.0.0.1" not in answer.body
        assert b"bucket" not in answer.body
