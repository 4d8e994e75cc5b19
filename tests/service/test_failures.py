"""What goes wrong with the picture reaches the webhook as an error with a code, and the job shows it too."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from PIL import Image

from service.house import House, Outside, cut_out_png, wait_for

Behaviour = Callable[[BaseHTTPRequestHandler], None]


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def sends(data: bytes, status: int = 200, **headers: str) -> Behaviour:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content-Length": str(len(data))} | headers).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    return behave


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(cut_out_png() + bytes(65536))
    except OSError:
        pass


def slow(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        for byte in cut_out_png():
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.5)
    except OSError:
        pass


BAD_PICTURES: dict[str, tuple[Behaviour, str, str]] = {
    "not a picture": (sends(b"<html>hello</html>"), "image_invalid", "download"),
    "a truncated picture": (sends(cut_out_png()[:-40]), "image_invalid", "cutout"),
    "nothing at all": (sends(b""), "image_invalid", "download"),
    "a transparent picture": (sends(png(Image.new("RGBA", (64, 64)))), "no_foreground", "cutout"),
    "a picture of one colour": (sends(png(Image.new("RGB", (64, 64), "red"))), "no_foreground", "cutout"),
    "404": (sends(b"", 404), "image_download_failed", "download"),
    "500": (sends(b"secret stack of another server", 500), "image_download_failed", "download"),
    "a redirect to itself": (sends(b"", 302, Location="/loop.png"), "image_download_failed", "download"),
    "a redirect to a cloud's metadata": (
        sends(b"", 302, Location="http://169.254.169.254/latest/meta-data"),
        "image_url_forbidden",
        "download",
    ),
    "more than the limit, announced": (
        sends(b"", 200, **{"Content-Length": "2000000"}),
        "image_too_large",
        "download",
    ),
    "an endless picture": (endless, "image_too_large", "download"),
    "a slow picture": (slow, "image_download_failed", "download"),
}


@pytest.fixture(scope="module")
def failed(house: House, outside: Outside) -> dict[str, str]:
    """The ids of all these jobs; they run while the tests wait for the first."""
    outside.pictures["/loop.png"] = BAD_PICTURES["a redirect to itself"][0]
    ids = {}
    for number, (name, (behave, _, _)) in enumerate(BAD_PICTURES.items()):
        outside.pictures[f"/bad/{number}.png"] = behave
        ids[name] = house.submit(
            image_url=outside.url(f"/bad/{number}.png"), webhook_url=outside.url(f"/failed/{number}")
        )
    return ids


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_a_bad_picture_ends_in_a_failure_with_a_code_at_the_webhook(
    house: House, outside: Outside, failed: dict[str, str], name: str
) -> None:
    _, code, stage = BAD_PICTURES[name]
    path = f"/failed/{list(BAD_PICTURES).index(name)}"

    job = house.wait_until(failed[name], "failed")
    (delivered,) = wait_for(lambda: outside.posts(path), "the failure was delivered")

    assert (job["error"]["code"], job["error"]["stage"]) == (code, stage), job["error"]
    parts = delivered.parts
    assert list(parts) == ["session_id", "asset_id", "status", "error", "code", "job_id", "event"]
    assert (parts["status"].decode(), parts["code"].decode()) == ("failed", code)
    assert delivered.event["type"] == "generation.failed"
    assert set(delivered.event["data"]["error"]) == {"code", "title", "detail", "stage", "retryable"}
    assert delivered.headers["webhook-id"] == f"{failed[name]}:done"
    assert b"secret stack" not in delivered.body


def test_a_failed_job_has_no_mesh(house: House, failed: dict[str, str]) -> None:
    house.wait_until(failed["404"], "failed")

    answer = house.ask("GET", f"/jobs/{failed['404']}/mesh")
    assert (answer.status, answer.json["code"]) == (409, "not_ready")


def test_a_job_that_takes_longer_than_its_time_fails_and_says_so(house: House, outside: Outside) -> None:
    job_id = house.submit(
        image_url=outside.url("/a.png"),
        webhook_url=outside.url("/late"),
        num_inference_steps=100,  # 5 s
        timeout_s=3,  # time enough to come to the device
    )

    error = house.wait_until(job_id, "failed")["error"]
    (delivered,) = wait_for(lambda: outside.posts("/late"), "the failure was delivered")
    assert (error["code"], error["stage"], error["retryable"]) == ("generation_timeout", "denoise", True)
    assert delivered.parts["code"] == b"generation_timeout"


def test_a_running_job_can_be_cancelled_and_tells_its_webhook(house: House, outside: Outside) -> None:
    job_id = house.submit(
        image_url=outside.url("/a.png"), webhook_url=outside.url("/cancelled"), num_inference_steps=100
    )
    wait_for(lambda: house.job(job_id)["stage"] == "denoise", "the job is on the device")

    answer = house.ask("DELETE", f"/jobs/{job_id}")

    assert (answer.status, answer.json["status"]) == (202, "cancelled")
    (delivered,) = wait_for(lambda: outside.posts("/cancelled"), "the webhook was told")
    assert delivered.event["type"] == "generation.cancelled"
    assert delivered.parts["status"] == b"cancelled"
    assert not house.events("stage finished", job_id, "serve")[2:], "the shape stage did not finish"


def test_a_bug_in_a_stage_is_told_as_internal_and_leaks_nothing(house: House, outside: Outside) -> None:
    def remove_its_folder(handler: BaseHTTPRequestHandler) -> None:
        (house.folder / "data" / "jobs" / job_ids[0]).write_text("a file where a folder should be")
        sends(cut_out_png())(handler)

    job_ids: list[str] = []
    outside.pictures["/held/bug.png"] = remove_its_folder
    outside.may_answer.clear()
    job_ids.append(house.submit(image_url=outside.url("/held/bug.png"), webhook_url=outside.url("/bug")))
    outside.may_answer.set()

    (delivered,) = wait_for(lambda: outside.posts("/bug"), "the failure was delivered")
    error: dict[str, Any] = delivered.event["data"]["error"]
    assert (error["code"], error["retryable"]) == ("internal", True)
    assert job_ids[0] in error["detail"]
    assert str(house.folder).encode() not in delivered.body
