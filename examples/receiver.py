"""Takes AI Engine's webhooks and keeps what they bring, with nothing but Python 3.11.

    WEBHOOK_SECRET=whsec_... python examples/receiver.py [PORT] [FOLDER]

Listens on 127.0.0.1, port 9999, and writes into `received`: <job>-<asset>.stl, and one JSON file for each event. That
file is written last, so a delivery that comes again is known by it. Without WEBHOOK_SECRET, the service's own, anybody
who reaches the port is believed, but no link is followed. For the internet put a web server in front.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

TOLERANCE_S = 300
FOLDER = Path(sys.argv[2] if len(sys.argv) > 2 else "received")
SECRETS = os.environ.get("WEBHOOK_SECRET", "").split()


class Receiver(BaseHTTPRequestHandler):
    """Answers 2xx when the delivery is kept; anything else makes the service send it again."""

    def do_POST(self) -> None:
        """One delivery."""
        event, file = read(self.headers, self.rfile.read(int(self.headers["Content-Length"])))
        is_believed = not SECRETS or is_signed(self.headers, event)
        self.send_response(200 if is_believed and keep(self.headers["webhook-id"], event, file) else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()


def read(headers: Message, body: bytes) -> tuple[str, bytes | None]:
    """The event as it was signed, and the mesh if there is one, in whichever form they come."""
    if "X-Generation-Event" in headers:
        return headers["X-Generation-Event"], body
    if headers.get_content_maintype() != "multipart":
        return body.decode(), None
    divider = b"\r\n--" + str(headers.get_boundary()).encode()
    parts = [part.partition(b"\r\n\r\n") for part in (b"\r\n" + body).split(divider)]
    named = {
        head.split(b'name="')[1].split(b'"')[0]: content for head, _, content in parts if b'name="' in head
    }
    return named[b"event"].decode(), named.get(b"file")


def is_signed(headers: Message, event: str) -> bool:
    """True when the event was signed a moment ago by who has one of the secrets."""
    moment = headers.get("webhook-timestamp", "")
    if not moment.isdecimal() or abs(time.time() - int(moment)) > TOLERANCE_S:
        return False
    signed = f"{headers['webhook-id']}.{moment}.{event}".encode()
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in SECRETS]
    expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256")) for key in keys]
    given = headers.get("webhook-signature", "").encode().split()
    return any(hmac.compare_digest(one, other) for one in expected for other in given)


def keep(webhook_id: str, event: str, file: bytes | None) -> bool:
    """Writes the mesh, then the event; False when the mesh is not the one that the event describes."""
    record = FOLDER / f"{safe(webhook_id)}.json"
    if record.exists():
        return True
    data = json.loads(event)["data"]
    artifact = data.get("artifact", {})
    if file is None and SECRETS and "url" in artifact:  # only who is known may send us somewhere
        with urlopen(artifact["url"], timeout=60) as answer:
            file = answer.read()
    if file is not None:
        if hashlib.sha256(file).hexdigest() != artifact["sha256"]:
            return False
        (FOLDER / safe(f"{data['job_id']}-{artifact['filename']}")).write_bytes(file)
    record.write_text(event)
    print(data["asset_id"], data["status"], data.get("error", {}).get("detail", ""), flush=True)
    return True


def safe(name: str) -> str:
    """The name without what would lead out of the folder, or what Windows does not take."""
    return "".join(character if character.isalnum() or character in "._-" else "-" for character in name)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 9999
    ThreadingHTTPServer(("127.0.0.1", port), Receiver).serve_forever()
