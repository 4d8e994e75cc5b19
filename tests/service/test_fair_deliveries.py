"""A receiver that accepts connections and never answers: whose deliveries wait for it, and whose do not."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from support.raw_server import raw_server

from ai_engine.web.api_keys import new_key, setting_entry
from service.house import House, Outside, wait_for

SHOP, PRESS = new_key(), new_key()
MORE_THAN_ALL_PLACES = 40
"""Jobs of the hostile key: more than a worker has places in these tests."""


@dataclass
class Silence:
    """A receiver on which every request hangs until the end of the test."""

    port: int
    is_over: threading.Event
    asked: list[bytes] = field(default_factory=list)

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@pytest.fixture
def silence() -> Iterator[Silence]:
    is_over = threading.Event()
    asked: list[bytes] = []

    def hang(_: socket.socket, head: bytes) -> None:
        asked.append(head)
        is_over.wait(600)

    with raw_server(hang) as port:
        yield Silence(port, is_over, asked)
        is_over.set()


def served(tmp_path: Any, database: dict[str, str], **settings: str) -> House:
    house = House(
        tmp_path,
        {
            "API_KEYS": f"{setting_entry('shop', SHOP)},{setting_entry('press', PRESS)}",
            "REQUESTS_PER_MINUTE": "100000",
            "DOWNLOAD_ATTEMPTS": "1",
            "DELIVERIES_IN_FLIGHT": "12",
            "DELIVERIES_PER_OWNER": "6",
            "DELIVERIES_PER_HOST": "3",
            "DRAIN_S": "1",
        }
        | database
        | settings,
    )
    house.start("serve")
    house.wait_until_ready()
    return house


def failing(house: House, outside: Outside, key: str, **fields: Any) -> str:
    """A job that ends at once: there is no such picture."""
    house.key = key
    return house.submit(image_url=outside.url("/no-such-picture"), **fields)


def metric(house: House, name: str, **labels: str) -> float:
    house.key = SHOP
    text = house.ask("GET", "/metrics").body.decode()
    wanted = ",".join(f'{label}="{value}"' for label, value in sorted(labels.items()))
    found = re.search(rf"^ai_engine_{name}\{{{wanted}\}} ([0-9.]+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_hanging_receiver_holds_places_of_its_own_key_alone(
    tmp_path: Any, database: dict[str, str], outside: Outside, silence: Silence
) -> None:
    house = served(tmp_path, database, WEBHOOK_TIMEOUT_S="3600")
    try:
        for n in range(MORE_THAN_ALL_PLACES):
            failing(house, outside, SHOP, webhook_url=silence.url(f"/{n}"))
        wait_for(lambda: len(silence.asked) >= 3, "the hostile key has its places")

        job_id = failing(house, outside, PRESS, webhook_url=outside.url("/honest"))

        wait_for(lambda: any(job_id.encode() in post.body for post in outside.posts("/honest")), "it came")
        assert not silence.is_over.is_set()
        wait_for(
            lambda: metric(house, "deliveries_open", owner="shop", lane="usual", state="waiting") > 30,
            "the others wait, and the metrics say whose they are",
        )
        assert len(silence.asked) <= 6, "more places than one key may have"
    finally:
        house.close()


def test_a_host_that_hung_waits_behind_the_other_hosts_of_its_own_key(
    tmp_path: Any, database: dict[str, str], outside: Outside, silence: Silence
) -> None:
    # One partition for all hosts of a key: the honest host stands in the same one as the silent.
    house = served(
        tmp_path, database, WEBHOOK_TIMEOUT_S="5", DELIVERIES_PER_OWNER="3", SLOW_DELIVERIES_IN_FLIGHT="2"
    )
    try:
        silent = [
            failing(house, outside, SHOP, webhook_url=silence.url()) for _ in range(MORE_THAN_ALL_PLACES)
        ]
        wait_for(lambda: len(silence.asked) >= 3, "the first attempts hang")

        job_id = failing(house, outside, SHOP, webhook_url=outside.url("/own-honest"))

        wait_for(
            lambda: any(job_id.encode() in post.body for post in outside.posts("/own-honest")), "it came"
        )
        assert len(silence.asked) < MORE_THAN_ALL_PLACES / 2, "it came after the silent host's deliveries"
        wait_for(lambda: metric(house, "slow_hosts", owner="shop") == 1, "the metrics name it")
        wait_for(lambda: metric(house, "deliveries_postponed_total", owner="shop") > 0, "and what waits")
        states = {one["state"] for one_id in silent for one in house.job(one_id)["deliveries"]}
        assert states <= {"waiting", "sending", "failed"}, "what was put back is no attempt"
    finally:
        house.close()


def test_an_upload_that_hangs_is_a_slow_host_too(tmp_path: Any, outside: Outside, silence: Silence) -> None:
    house = served(tmp_path, {}, WEBHOOK_TIMEOUT_S="3600")
    try:
        house.key = SHOP
        for n in range(9):
            house.submit(image_url=outside.url("/a.png"), upload_url=silence.url(f"/put/{n}"))
        wait_for(lambda: len(silence.asked) >= 3, "the uploads hang")

        job_id = failing(house, outside, PRESS, webhook_url=outside.url("/beside-a-bucket"))

        wait_for(
            lambda: any(job_id.encode() in post.body for post in outside.posts("/beside-a-bucket")), "it came"
        )
        assert len(silence.asked) <= 6
    finally:
        house.close()


def test_redelivering_in_a_loop_takes_no_place_of_another_key(
    tmp_path: Any, outside: Outside, silence: Silence
) -> None:
    house = served(tmp_path, {}, WEBHOOK_TIMEOUT_S="1", WEBHOOK_DELAYS_S="0,3600")
    try:
        jobs = [failing(house, outside, SHOP, webhook_url=silence.url()) for _ in range(12)]
        wait_for(lambda: len(silence.asked) >= 3, "some hung")
        for _ in range(5):
            for job_id in jobs:
                house.ask("POST", f"/jobs/{job_id}/redeliver")

        job_id = failing(house, outside, PRESS, webhook_url=outside.url("/beside-a-loop"))

        wait_for(
            lambda: any(job_id.encode() in post.body for post in outside.posts("/beside-a-loop")), "it came"
        )
        assert not silence.is_over.is_set()
    finally:
        house.close()
