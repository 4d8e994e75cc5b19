"""The scripts in examples/, each run as its reader would run it, against the running service."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ai_engine.web.api_keys import new_key, setting_entry
from service.conftest import SECRET
from service.house import ROOT, House, Outside, cut_out_png, free_port, wait_for
from service.relay import Relay, one_bit_changed

EXAMPLES = ROOT / "examples"
WITHIN_S = 240

Script = Callable[..., subprocess.CompletedProcess[str]]
"""Runs a script that turns a picture into a mesh file: `script(picture, mesh, **more fields)`."""


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "my cup.png"
    path.write_bytes(cut_out_png())
    return path


def run(command: list[str], environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=os.environ | (environment or {}), capture_output=True, text=True, timeout=WITHIN_S
    )


@pytest.fixture(params=["bash", "powershell"])
def script(request: pytest.FixtureRequest, house: House) -> Script:
    engine = f"http://127.0.0.1:{house.port}"

    def by_bash(picture: str, mesh: str, **fields: str | int) -> subprocess.CompletedProcess[str]:
        members = [f"{name}={value}" for name, value in fields.items()]
        return run([str(EXAMPLES / "generate.sh"), picture, mesh, *members], {"ENGINE_URL": engine})

    def by_powershell(picture: str, mesh: str, **fields: str | int) -> subprocess.CompletedProcess[str]:
        members = "; ".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
        call = (
            f"& '{EXAMPLES / 'generate.ps1'}' '{picture}' '{mesh}' -Engine {engine} -Fields @{{ {members} }}"
        )
        return run([powershell, "-NoProfile", "-NonInteractive", "-Command", call])

    if request.param == "bash":
        if shutil.which("bash") is None or shutil.which("curl") is None:
            pytest.skip("bash and curl are not on this machine")
        return by_bash
    powershell = shutil.which("pwsh") or shutil.which("powershell") or ""
    if not powershell:
        pytest.skip(
            "PowerShell is not on this machine; tests/unit/repository/test_powershell.py reads the script instead"
        )
    return by_powershell


@pytest.mark.parametrize("as_urls", [False, True])
def test_views_become_one_mesh(
    house: House, outside: Outside, picture: Path, tmp_path: Path, as_urls: bool
) -> None:
    if shutil.which("bash") is None or shutil.which("curl") is None:
        pytest.skip("bash and curl are not on this machine")
    one = outside.url("/a.png") if as_urls else str(picture)
    mesh = tmp_path / f"views-{as_urls}.stl"
    call = [str(EXAMPLES / "generate.sh"), "--front", one, "--left", one, str(mesh), "seed=11"]

    done = run(call, {"ENGINE_URL": f"http://127.0.0.1:{house.port}"})

    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = [job for job in house.log("serve") if job.get("asset_id") == mesh.name][-1:]
    assert set(house.job(job["job_id"])["cutouts"]) == {"front", "left"}


def test_a_picture_file_becomes_the_mesh_file_of_its_job(
    script: Script, house: House, picture: Path, tmp_path: Path
) -> None:
    done = script(str(picture), str(tmp_path / "cup 1.stl"), seed=11, height_mm=50)

    assert done.returncode == 0, done.stdout + done.stderr
    mesh = tmp_path / "cup 1.stl"
    assert sorted(tmp_path.iterdir()) == [mesh, picture]
    (job,) = [job for job in house.log("serve") if job.get("asset_id") == "cup-1.stl"][-1:]
    artifact = house.job(job["job_id"])["artifact"]
    assert artifact["sha256"] == hashlib.sha256(mesh.read_bytes()).hexdigest()
    assert (artifact["units"], house.job(job["job_id"])["options"]["seed"]) == ("mm", 11)


def test_a_pictures_url_becomes_a_mesh_file(script: Script, outside: Outside, tmp_path: Path) -> None:
    done = script(outside.url("/cup.png"), str(tmp_path / "cup.stl"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "cup.stl").stat().st_size > 84


def test_what_the_service_refuses_or_fails_at_is_said_in_its_words(
    script: Script, picture: Path, outside: Outside, tmp_path: Path
) -> None:
    mesh = tmp_path / "cup.stl"

    refused = script(str(picture), str(mesh), quality="superb")
    failed = script(outside.url("/none.txt"), str(mesh))

    assert refused.returncode != 0
    assert "validation_failed" in refused.stdout + refused.stderr
    assert failed.returncode != 0
    assert "image_download_failed" in failed.stdout + failed.stderr
    assert list(tmp_path.iterdir()) == [picture]


def test_the_shell_script_brings_its_api_key_and_gives_up_in_time(tmp_path: Path, picture: Path) -> None:
    key = new_key()
    without_worker = House(tmp_path / "house", {"API_KEYS": setting_entry("shell", key)}, key=key)
    without_worker.folder.mkdir()
    call = [str(EXAMPLES / "generate.sh"), str(picture), str(tmp_path / "cup.stl")]
    engine = {"ENGINE_URL": f"http://127.0.0.1:{without_worker.port}", "WITHIN_S": "1"}
    without_worker.start("api")
    try:
        wait_for(without_worker.is_open, "the port is open")
        wait_for(lambda: without_worker.ask("GET", "/jobs/none").status == 404, "it is connected")
        stranger = run(call, engine | {"ENGINE_API_KEY": "guessed"})
        known = run(call, engine | {"ENGINE_API_KEY": key})
    finally:
        without_worker.close()

    assert (stranger.returncode, known.returncode) == (1, 1)
    assert "unauthorized" in stranger.stderr
    assert "it goes on: http" in known.stderr, "it was accepted, and can't be done without a worker"


@contextmanager
def receiver(folder: Path, secret: str) -> Iterator[str]:
    """The URL of a running examples/receiver.py that writes into `folder`."""
    port = free_port()
    with listening([str(EXAMPLES / "receiver.py"), str(port), str(folder)], port, secret) as url:
        yield url


@contextmanager
def listening(words: list[str], port: int, secret: str, folder: Path | None = None) -> Iterator[str]:
    """The URL of a receiver that Python runs by these words, in `folder`."""
    process = subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=os.environ | {"WEBHOOK_SECRET": secret},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: is_open(port), "the receiver listens")
        yield f"http://127.0.0.1:{port}/webhook"
    finally:
        process.terminate()
        process.wait(WITHIN_S)


def is_open(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def wait_for_delivery(house: House, job_id: str, state: str) -> None:
    wait_for(
        lambda: (seen := house.job(job_id)["deliveries"]) and seen[-1]["state"] == state,
        f"the delivery of {job_id} is {state}",
    )


@pytest.mark.parametrize(
    ("form", "secret"),
    [("multipart", SECRET), ("binary", SECRET), ("link", SECRET), ("multipart", ""), ("binary", "")],
    ids=["multipart", "binary", "link", "multipart, unsigned", "binary, unsigned"],
)
def test_the_receiver_keeps_the_mesh_and_its_event(
    house: House, outside: Outside, tmp_path: Path, form: str, secret: str
) -> None:
    with receiver(tmp_path / "received", secret) as url:
        job_id = house.submit(image_url=outside.url("/a.png"), webhook_url=url, webhook_format=form)
        wait_for_delivery(house, job_id, "accepted")

    event = json.loads((tmp_path / "received" / f"{job_id}-done.json").read_text())
    mesh = (tmp_path / "received" / f"{job_id}-a1.stl").read_bytes()
    assert event["data"]["artifact"]["sha256"] == hashlib.sha256(mesh).hexdigest()


def test_the_least_receiver_keeps_the_mesh(house: House, outside: Outside, tmp_path: Path) -> None:
    port = free_port()
    words = ["-m", "uvicorn", "--app-dir", str(EXAMPLES), "--port", str(port), "receiver_app:app"]
    with listening(words, port, SECRET, tmp_path) as url:
        job_id = house.submit(image_url=outside.url("/a.png"), webhook_url=url)
        wait_for_delivery(house, job_id, "accepted")

    mesh = (tmp_path / f"{job_id}.stl").read_bytes()
    assert house.job(job_id)["artifact"]["sha256"] == hashlib.sha256(mesh).hexdigest()


@pytest.mark.parametrize("form", ["multipart", "binary"])
def test_the_receiver_keeps_the_event_of_a_failure(
    house: House, outside: Outside, tmp_path: Path, form: str
) -> None:
    with receiver(tmp_path / "received", SECRET) as url:
        job_id = house.submit(image_url=outside.url("/none.txt"), webhook_url=url, webhook_format=form)
        wait_for_delivery(house, job_id, "accepted")

    (record,) = (tmp_path / "received").iterdir()
    assert json.loads(record.read_text())["data"]["error"]["code"] == "image_download_failed"


def test_the_receiver_refuses_a_spoiled_mesh_and_writes_nothing_twice(
    house: House, outside: Outside, tmp_path: Path
) -> None:
    with receiver(tmp_path / "received", SECRET) as url:
        relay = Relay(url, spoiled=[one_bit_changed], answers_lost={2})
        job_id = house.submit(image_url=outside.url("/a.png"), webhook_url=relay.url, webhook_format="binary")
        mesh = tmp_path / "received" / f"{job_id}-a1.stl"
        wait_for(mesh.exists, "the mesh is kept")
        written_at = mesh.stat().st_mtime_ns
        wait_for_delivery(house, job_id, "accepted")
        relay.close()

    assert [passed.status for passed in relay.passed] == [400, 200, 200]
    assert mesh.stat().st_mtime_ns == written_at


def test_the_receiver_keeps_nothing_that_others_signed(
    house: House, outside: Outside, tmp_path: Path
) -> None:
    with receiver(tmp_path / "received", "whsec_" + "Zm9yZ2Vk" * 4) as url:
        job_id = house.submit(image_url=outside.url("/a.png"), webhook_url=url)
        wait_for_delivery(house, job_id, "dead")

    assert list((tmp_path / "received").iterdir()) == []


def test_the_readmes_curl_command_submits_a_job(house: House, outside: Outside) -> None:
    readme = (ROOT / "README.md").read_text()
    (command,) = re.findall(r"```sh\n(curl -X POST [^`]*/generate-3d.*?)```", readme, re.DOTALL)
    for shown, real in {
        "http://127.0.0.1:8000": f"http://127.0.0.1:{house.port}",
        "https://example.com/chair.png": outside.url("/chair.png"),
        "http://localhost:9999/webhook": outside.url("/readme"),
    }.items():
        assert shown in command
        command = command.replace(shown, real)

    done = run(["bash", "-c", command])

    assert json.loads(done.stdout)["status"] == "processing", done.stdout
    wait_for(lambda: outside.posts("/readme"), "the webhook came")
