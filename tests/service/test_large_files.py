"""Files of 200 MB go to the bucket, to a webhook and to a caller; the memory of who passes them on stays flat."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.s3_server import S3Server

from service.house import ROOT

SIZE = 200_000_000
MOST_GROWTH = 60_000_000
"""Bytes: less than a third of the file, more than the parts of it that are under way at once."""

PASS_ON = """
import json, sys, threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import hashlib
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from ai_engine.outbound.addresses import AddressPolicy
from ai_engine.storage.s3_store import open_store
from ai_engine.api.file_routes import file_answer
from ai_engine.outbound.client import GuardedClient
from ai_engine.job import Artifact
from ai_engine.settings import Settings
from ai_engine.webhooks.body import Delivery, MeshFile
from ai_engine.webhooks.event import EventText
from ai_engine.webhooks.sender import WebhookClient

what, told = sys.argv[1], json.loads(sys.argv[2])
store = open_store(Settings(), is_worker=what != "answer")
received = hashlib.sha256()

def most_memory():
    # Not getrusage: its peak is inherited from the process that started this one.
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024

class Receiver(BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_POST(self):
        left = int(self.headers["content-length"])
        while left:
            piece = self.rfile.read(min(left, 65536))
            received.update(piece)
            left -= len(piece)
        self.send_response(204); self.end_headers()

def upload():
    def write(path):
        with path.open("wb") as file:
            for _ in range(told["size"] // 1_000_000):
                file.write(bytes(1_000_000))
    store.put("0" * 32, "mesh.stl", write)

def deliver():
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    mesh = MeshFile(partial(store.read, Artifact(**told)), "a1.stl", "stl", told["size"], told["sha256"])
    url = f"http://127.0.0.1:{server.server_port}/"
    event = EventText("{}", {"status": "completed"})
    sender = WebhookClient(http=GuardedClient(AddressPolicy(is_development=True)))
    outcome = sender.send(Delivery("0" * 32, "s", "a", url, "binary", event, mesh), 1)
    assert outcome.is_accepted, outcome
    assert received.hexdigest() == told["sha256"]

def answer():
    import asyncio
    app = FastAPI()
    @app.get("/mesh")
    def mesh(request: Request):
        return file_answer(request, store, Artifact(**told), media_type="model/stl")
    async def receive(): return {"type": "http.request"}
    async def send(message): received.update(message.get("body", b""))
    scope = {"type": "http", "method": "GET", "path": "/mesh", "headers": [], "query_string": b"",
             "http_version": "1.1", "scheme": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}}
    asyncio.run(app(scope, receive, send))
    assert received.hexdigest() == told["sha256"]

store.has(Artifact("x/y", "0", 1))
before = most_memory()
{"upload": upload, "deliver": deliver, "answer": answer}[what]()
print(most_memory() - before)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    server = S3Server()
    yield dict(os.environ) | server.settings(server.new_bucket())
    server.close()


def growth(environment: dict[str, str], folder: Path, what: str, told: dict[str, object]) -> int:
    """By how many bytes the memory of a process grew that had passed the file on."""
    done = subprocess.run(
        [sys.executable, "-c", PASS_ON, what, json.dumps(told)],
        cwd=ROOT,
        env=environment | {"DATA_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc to measure memory")
def test_a_large_file_goes_up_out_to_a_webhook_and_to_a_caller_in_flat_memory(
    environment: dict[str, str], tmp_path: Path
) -> None:
    sha256 = hashlib.sha256(bytes(SIZE)).hexdigest()
    told = {"uri": f"{'0' * 32}/{sha256[:16]}-mesh.stl", "sha256": sha256, "size": SIZE}

    grown = {
        what: growth(environment, tmp_path / what, what, told) for what in ("upload", "deliver", "answer")
    }

    assert {what: size for what, size in grown.items() if size > MOST_GROWTH} == {}
    assert not list((tmp_path / "deliver").rglob("*.stl")), "streamed, not copied first"
