"""Bodies that never end: how many bytes of them one key makes the service hold, and what another key notices."""

from __future__ import annotations

import re
import select
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ai_engine.web.api_keys import new_key, setting_entry
from service.house import House, cut_out_png, wait_for

SHOP, PRESS = new_key(), new_key()
BODY_BYTES, NUM_BODIES = 3_000_000, 40
BOUND_BYTES = 20_000_000
MOST_GROWTH = 40_000_000
"""Of the process: a third of what the bodies have, which it held in memory before."""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(
        tmp_path_factory.mktemp("bodies"),
        {
            "API_KEYS": f"{setting_entry('shop', SHOP)},{setting_entry('press', PRESS)}",
            "IMAGE_MAX_BYTES": "2000000",
            "MAX_BODIES_BYTES_PER_KEY": str(BOUND_BYTES),
        },
    )
    house.start("api")
    wait_for(house.is_open, "the port is open")
    house.key = SHOP
    wait_for(lambda: house.ask("GET", "/jobs").status == 200, "it is connected")
    yield house
    house.close()


def rss_bytes(house: House) -> int:
    text = Path(f"/proc/{house.running['api'].pid}/status").read_text()
    found = re.search(r"^VmRSS:\s*(\d+) kB", text, re.MULTILINE)
    assert found
    return 1024 * int(found[1])


def unfinished(house: House, *, head: str) -> socket.socket:
    """A connection that sent all of a body but its last byte."""
    connection = socket.create_connection(("127.0.0.1", house.port), timeout=60)
    connection.sendall(
        f"POST /generate-3d HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SHOP}\r\n"
        f"Content-Type: application/json\r\n{head}\r\n\r\n".encode()
    )
    body = b'{"image_url":"data:image/png;base64,' + b"A" * BODY_BYTES
    connection.sendall(b"%x\r\n" % len(body) + body if "chunked" in head else body[: BODY_BYTES - 1])
    return connection


def answered(connections: list[socket.socket]) -> list[bytes]:
    """The first lines that came on those which were answered."""
    readable, _, _ = select.select(connections, [], [], 0)
    return [one.recv(65536, socket.MSG_PEEK).partition(b"\r\n")[0] for one in readable]


@pytest.mark.parametrize("head", [f"Content-Length: {BODY_BYTES}", "Transfer-Encoding: chunked"])
def test_forty_bodies_that_never_end_hold_what_one_key_may(api: House, head: str) -> None:
    before = rss_bytes(api)
    fields: dict[str, Any] = {"session_id": "s", "asset_id": "a"}
    picture = {"image_url": "data:image/png;base64," + b64encode(cut_out_png() + bytes(100_000)).decode()}
    with ExitStack() as open_ones:
        bodies = [open_ones.enter_context(unfinished(api, head=head)) for _ in range(NUM_BODIES)]
        num_held = BOUND_BYTES // BODY_BYTES
        wait_for(lambda: len(answered(bodies)) >= NUM_BODIES - num_held, "what is too much is refused")

        assert set(answered(bodies)) == {b"HTTP/1.1 429 Too Many Requests"}
        assert rss_bytes(api) - before < MOST_GROWTH
        own = api.ask("POST", "/generate-3d", fields | {"image_url": "http://127.0.0.1:8001/a.png"})
        assert own.status == 202, "a request without a picture is small"
        api.key = PRESS
        assert api.ask("POST", "/generate-3d", fields | picture).status == 202
        api.key = SHOP
    wait_for(lambda: api.ask("POST", "/generate-3d", fields | picture).status == 202, "all is given back")
