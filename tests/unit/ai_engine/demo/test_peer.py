from __future__ import annotations

import json

import httpx2
import numpy as np

from ai_engine.demo.peer import demo_peer, read_multipart


def test_the_peer_gives_its_picture_and_keeps_what_is_delivered() -> None:
    file = np.random.default_rng(0).bytes(100_000) + b"\r\n--\r\n"
    with demo_peer(b"picture bytes") as peer, httpx2.Client(trust_env=False) as client:
        assert client.get(peer.picture_url).content == b"picture bytes"
        assert client.get(peer.origin + "/other").status_code == 404
        sent = {"status": "completed", "event": json.dumps({"a": 1})}
        client.post(peer.webhook_url, data=sent, files={"file": ("a.stl", file, "model/stl")})
        received = peer.deliveries.get(timeout=60)
    assert (received.values, received.file, received.file_name) == (sent, file, "a.stl")
    assert received.headers["content-type"].startswith("multipart/form-data")


def test_a_failure_has_no_file() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="code"\r\n\r\nno_foreground\r\n--b--\r\n'
    received = read_multipart({"content-type": "multipart/form-data; boundary=b"}, body)
    assert (received.values, received.file) == ({"code": "no_foreground"}, None)
