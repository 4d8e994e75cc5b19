"""One key's backlog in any stage delays another key's job by one job of that stage."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ai_engine.web.api_keys import new_key, setting_entry
from service.house import House, Outside, cut_out_png, wait_for

SHOP, PRESS = new_key(), new_key()
PLACES = 3
"""JOBS_IN_FLIGHT as it comes."""


@contextmanager
def served(tmp_path: Path, database: dict[str, str], **settings: str) -> Iterator[House]:
    house = House(
        tmp_path,
        {
            "API_KEYS": f"{setting_entry('shop', SHOP)},{setting_entry('press', PRESS)}",
            "REQUESTS_PER_MINUTE": "100000",
            "DOWNLOAD_ATTEMPTS": "1",
            "DRAIN_S": "1",
        }
        | database
        | settings,
    )
    with house.serving():
        yield house


@pytest.fixture
def drip(outside: Outside) -> Iterator[str]:
    """A picture that comes at 1100 bytes a second, just above what is given up, until the end of the test."""
    is_over = threading.Event()

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not is_over.wait(0.1):
            handler.wfile.write(bytes(110))

    outside.pictures["/drip.png"] = send
    yield outside.url("/drip.png")
    is_over.set()


def submit(house: House, key: str, **fields: Any) -> str:
    house.key = key
    return house.submit(**fields)


def log_of(house: House, *messages: str) -> list[dict[str, Any]]:
    return [line for line in house.log("serve") if line["message"] in messages]


def device_order(house: House) -> list[str]:
    """The jobs in the order in which they had the device."""
    return [line["job_id"] for line in log_of(house, "device taken")]


def test_slow_downloads_of_one_key_hold_up_no_job_of_another(
    tmp_path: Path, database: dict[str, str], outside: Outside, drip: str
) -> None:
    with served(tmp_path, database, DOWNLOAD_TIMEOUT_S="600") as house:
        slow = [submit(house, SHOP, image_url=drip) for _ in range(60)]
        wait_for(lambda: outside.asked.count("/drip.png") >= PLACES, "its places are taken")

        answer = [submit(house, PRESS, image_url=outside.url("/a.png")) for _ in range(2)]
        for job_id in answer:
            house.wait_until(job_id, "succeeded")

        house.key = SHOP
        states = [house.job(job_id)["status"] for job_id in slow]
        assert "succeeded" not in states
        assert "failed" not in states, "none was given up meanwhile"
        assert states.count("queued") >= 50


def test_downloads_take_no_place_of_the_device(tmp_path: Path, outside: Outside, drip: str) -> None:
    # Without keys, as one caller: more jobs download than JOBS_IN_FLIGHT, and one that brings its picture goes through.
    with served(tmp_path, {}, DOWNLOAD_TIMEOUT_S="600", API_KEYS="", DOWNLOADS_PER_OWNER="5") as house:
        for _ in range(5):
            house.submit(image_url=drip)
        wait_for(lambda: outside.asked.count("/drip.png") >= 5, "more downloads than places")

        job_id = house.submit(image_url="data:image/png;base64," + b64encode(cut_out_png()).decode())

        house.wait_until(job_id, "succeeded")


def test_a_backlog_for_the_device_delays_another_key_by_one_job(
    tmp_path: Path, database: dict[str, str], outside: Outside
) -> None:
    with served(tmp_path, database, STAND_IN_STEP_S="0.2") as house:
        flood = [
            submit(house, SHOP, image_url=outside.url("/a.png"), num_inference_steps=5) for _ in range(12)
        ]
        wait_for(lambda: log_of(house, "device taken"), "the first is on the device")

        house.key = PRESS
        fields = {"session_id": "s", "asset_id": "a", "image_url": outside.url("/a.png")}
        answer = house.ask("POST", "/generate-3d", fields).json
        house.wait_until(answer["job_id"], "succeeded")

        assert answer["queue_position"] <= 2, "one of each key"
        lines = log_of(house, "stage started", "device taken")
        waits = lines.index(
            next(
                line
                for line in lines
                if line.get("stage") == "denoise" and line["job_id"] == answer["job_id"]
            )
        )
        taken = [line["job_id"] for line in lines[waits:] if line["message"] == "device taken"]
        assert taken.index(answer["job_id"]) <= 1
        assert set(taken) & set(flood) or len(taken) == 1


def test_priority_orders_jobs_of_one_key_and_none_of_another(
    tmp_path: Path, database: dict[str, str], outside: Outside
) -> None:
    with served(tmp_path, database, STAND_IN_STEP_S="0.2", JOBS_IN_FLIGHT="1") as house:
        urgent = [
            submit(house, SHOP, image_url=outside.url("/a.png"), num_inference_steps=8, priority=-10)
            for _ in range(5)
        ]
        wait_for(lambda: urgent[0] in device_order(house), "the device is taken")
        patient = submit(house, PRESS, image_url=outside.url("/a.png"), priority=10)

        house.wait_until(patient, "succeeded")
        house.key = SHOP
        house.wait_until(urgent[-1], "succeeded")

        order = [job_id for job_id in device_order(house) if job_id in {patient, *urgent}]
        assert order.index(patient) <= 2, "the urgent jobs are another key's"
        assert [job_id for job_id in order if job_id != patient] == urgent
