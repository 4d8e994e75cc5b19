"""Callers learn what the model will see of their picture, and say how its object is found."""

from __future__ import annotations

import base64
import io
import json
import uuid
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from PIL import Image

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


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def data_url(picture: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(picture).decode()


PHOTOGRAPH = png(np.array(Image.fromarray(skimage.data.coffee()).resize((300, 200))))
MASK = np.zeros((100, 150), np.uint8)
MASK[20:80, 40:110] = 255
"""Of half the photograph's size."""
MASK_FACTS = {"source": "mask", "share": 0.28, "borders": [], "parts_dropped": 0, "warnings": []}


def form(parts: Mapping[str, str | bytes]) -> tuple[bytes, dict[str, str]]:
    """A form as its body and headers; bytes are files."""
    boundary = uuid.uuid4().hex
    body = b""
    for name, value in parts.items():
        file = '; filename="a.png"\r\nContent-Type: image/png' if isinstance(value, bytes) else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        body += (value if isinstance(value, bytes) else value.encode()) + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), {
        "Content-Type": f"multipart/form-data; boundary={boundary}"
    }


def cutout_of(house: House, job_id: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(house.ask("GET", f"/jobs/{job_id}/cutout.png").body)))


def test_a_mask_in_a_form_is_what_the_model_sees(each_house: House) -> None:
    parts: dict[str, str | bytes] = {
        "session_id": "s",
        "asset_id": "a",
        "image": PHOTOGRAPH,
        "mask": png(MASK),
    }
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    body, about = form(parts)
    first = each_house.ask("POST", "/generate-3d", body, about | headers)
    body, about = form(parts | {"mask": png(255 - MASK)})
    other = each_house.ask("POST", "/generate-3d", body, about | headers)

    job = each_house.wait_until(first.json["job_id"], "succeeded")

    assert other.status == 409, "another mask under the same key is another request"
    assert job["cutout"] == MASK_FACTS
    assert np.mean(cutout_of(each_house, job["job_id"])[..., 3] >= 128) == pytest.approx(0.28, abs=0.001)


def test_a_job_that_is_run_again_keeps_its_mask(each_house: House) -> None:
    body, about = form(
        {"session_id": "s", "asset_id": "a", "image": PHOTOGRAPH, "mask": png(np.zeros_like(MASK))}
    )
    job_id = each_house.ask("POST", "/generate-3d", body, about).json["job_id"]
    each_house.wait_until(job_id, "failed")

    again = each_house.ask("POST", f"/jobs/{job_id}/retry").json["job_id"]

    assert again != job_id
    assert each_house.wait_until_over(again)["error"]["code"] == "mask_invalid"


def test_a_mask_is_downloaded_like_the_picture(each_house: House, outside: Outside) -> None:
    def mask(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(png(MASK))))
        handler.end_headers()
        handler.wfile.write(png(MASK))

    outside.pictures["/mask.png"] = mask
    done = each_house.submit(image_url=data_url(PHOTOGRAPH), mask_url=outside.url("/mask.png"))
    lost = each_house.submit(image_url=data_url(PHOTOGRAPH), mask_url=outside.url("/no-mask"))
    wrong = each_house.submit(image_url=data_url(PHOTOGRAPH), mask_url=data_url(png(MASK[:60])))

    assert each_house.wait_until_over(done)["cutout"] == MASK_FACTS
    assert each_house.wait_until_over(lost)["error"]["detail"].startswith("The mask could not be downloaded")
    assert each_house.wait_until_over(wrong)["error"]["code"] == "mask_invalid"


def refusal(house: House, **fields: Any) -> tuple[int, str, str]:
    answer = house.ask("POST", "/generate-3d", {"session_id": "s", "asset_id": "a"} | fields)
    return answer.status, answer.json["errors"][0]["field"], answer.json["errors"][0]["code"]


def test_a_mask_that_cannot_be_used_is_refused_at_once(house: House) -> None:
    picture = data_url(PHOTOGRAPH)
    inside = "http://169.254.169.254/m.png"
    assert refusal(house, image_url=picture, mask_url=inside) == (422, "mask_url", "mask_url_forbidden")
    assert refusal(house, image_url=picture, mask_url="data:image/png;base64,aGk=") == (
        422,
        "mask_url",
        "image_invalid",
    )
    both = refusal(house, image_url=picture, mask_url=picture, matting_model="tiny")
    assert both == (422, "mask_url", "two_outlines")


def test_a_request_may_choose_among_the_matting_models_that_are_installed(each_house: House) -> None:
    models = each_house.ask("GET", "/matting-models").json
    job_id = each_house.submit(image_url=data_url(PHOTOGRAPH), matting_model="tiny")
    answer = refusal(each_house, image_url=data_url(PHOTOGRAPH), matting_model="birefnet-general")

    assert models["default"] is None
    assert "tiny" in models["installed"]
    assert each_house.wait_until_over(job_id)["cutout"]["source"] == "tiny"
    assert answer == (422, "matting_model", "matting_model_unknown")


def shown(house: House, body: Any, headers: dict[str, str] | None = None) -> Any:
    """The cut-out that the service answers with."""
    answer = house.ask("POST", "/cut-outs", body, headers)
    assert answer.status == 201, answer.body
    assert answer.headers["location"] == f"/cut-outs/{answer.json['cut_out_id']}"
    return answer.json


def listed_ids(house: House) -> list[str]:
    """Of the newest jobs; those of other tests may still run, so nothing else of them stays the same."""
    return [job["job_id"] for job in house.ask("GET", "/jobs").json["jobs"]]


def test_a_cutout_and_its_facts_come_at_once_and_no_job_is_made(each_house: House) -> None:
    jobs_before = listed_ids(each_house)

    cut_out = shown(each_house, {"image_url": data_url(PHOTOGRAPH), "matting_model": "tiny"})

    picture = each_house.ask("GET", cut_out["url"])
    pixels = np.array(Image.open(io.BytesIO(picture.body)))
    assert cut_out["cutout"]["source"] == "tiny"
    assert cut_out["cutout"]["share"] == pytest.approx(np.mean(pixels[..., 3] >= 128), abs=1e-4)
    assert (len(picture.body), picture.headers["etag"]) == (cut_out["size"], f'"{cut_out["sha256"]}"')
    assert each_house.ask("GET", f"/cut-outs/{cut_out['cut_out_id']}").json == cut_out
    assert listed_ids(each_house) == jobs_before


def test_a_cutout_by_form_may_be_answered_by_its_picture(each_house: House) -> None:
    body, about = form({"image": PHOTOGRAPH, "mask": png(MASK)})

    answer = each_house.ask("POST", "/cut-outs", body, about | {"Accept": "image/png"})

    assert (answer.status, answer.headers["content-type"]) == (201, "image/png")
    assert json.loads(answer.headers["x-cut-out"])["cutout"] == MASK_FACTS
    assert Image.open(io.BytesIO(answer.body)).size == (300, 200)


def test_a_job_begins_with_the_cutout_that_was_accepted(each_house: House) -> None:
    cut_out = shown(each_house, {"image_url": data_url(PHOTOGRAPH), "mask_url": data_url(png(MASK))})
    key = {"Idempotency-Key": uuid.uuid4().hex}
    request = {"session_id": "s", "asset_id": "a", "cut_out_id": cut_out["cut_out_id"]}

    accepted, again = (each_house.ask("POST", "/generate-3d", request, key) for _ in range(2))

    job = each_house.wait_until(accepted.json["job_id"], "succeeded")
    assert (accepted.status, again.status, again.json["job_id"]) == (202, 200, job["job_id"])
    assert job["cutout"] == cut_out["cutout"] == MASK_FACTS
    seen = each_house.ask("GET", f"/jobs/{job['job_id']}/cutout.png")
    assert seen.headers["etag"] == f'"{cut_out["sha256"]}"'


def test_a_cutout_that_cannot_be_made_or_used_is_refused_by_its_field(house: House, outside: Outside) -> None:
    def code(path: str, **fields: Any) -> tuple[int, str, str]:
        answer = house.ask("POST", path, fields)
        return answer.status, answer.json["errors"][0]["field"], answer.json["errors"][0]["code"]

    names = {"session_id": "s", "asset_id": "a"}
    picture = data_url(PHOTOGRAPH)
    plain = png(np.full((64, 64, 3), 200, np.uint8))
    assert code("/cut-outs") == (422, "image_url", "missing")
    assert code("/cut-outs", image_url=outside.url("/no-picture"))[1:] == (
        "image_url",
        "image_download_failed",
    )
    assert code("/cut-outs", image_url=data_url(plain))[2] == "no_foreground"
    assert code("/cut-outs", image_url=picture, mask_url=data_url(png(MASK[:60])))[1:] == (
        "mask",
        "mask_invalid",
    )
    assert code("/cut-outs", image_url="http://169.254.169.254/a.png")[2] == "image_url_forbidden"
    assert code("/cut-outs", image_url=picture, matting_model="none-such")[2] == "matting_model_unknown"
    assert code("/cut-outs", image_url=picture, seed=1) == (422, "seed", "unknown_field")
    assert code("/generate-3d", **names, cut_out_id="0" * 32)[1:] == ("cut_out_id", "cut_out_unknown")
    both = code("/generate-3d", **names, cut_out_id="0" * 32, image_url=picture)
    assert both == (422, "image_url", "two_pictures")


def test_without_a_worker_a_cutout_is_refused_and_a_job_is_taken(tmp_path: Path) -> None:
    lonely = House(tmp_path)
    lonely.start("api")
    try:
        wait_for(lonely.is_open, "the port is open")
        wait_for(lambda: lonely.ask("GET", "/jobs").status == 200, "the job engine is connected")
        answer = lonely.ask("POST", "/cut-outs", {"image_url": data_url(PHOTOGRAPH)})
        job_id = lonely.submit(image_url=data_url(PHOTOGRAPH))
    finally:
        lonely.close()

    assert (answer.status, answer.json["code"], answer.headers["retry-after"]) == (503, "unavailable", "10")
    assert job_id
