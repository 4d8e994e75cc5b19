"""`python main.py webhook-test URL`: one signed test delivery, and what came back in plain words.

Sent as a real delivery is: same addresses allowed, same secret, same forms; the file is a small tetrahedron.
"""

from __future__ import annotations

import struct
import time
import uuid
from hashlib import sha256
from typing import Any

from ai_engine.facts import MEDIA_TYPES
from ai_engine.job import WebhookFormat, rfc3339
from ai_engine.settings import Settings
from ai_engine.webhooks.attempt import open_client
from ai_engine.webhooks.body import Delivery, MeshFile
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.sender import Outcome

NAME = "webhook-test"
EVENT_TYPE = "webhook.test"
_CORNERS = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
_FACES = ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))
_ADVICE = {
    400: "The receiver did not understand the request.",
    401: "The receiver refused it: does it hold the same secret as WEBHOOK_SECRET?",
    403: "The receiver refused it: does it hold the same secret as WEBHOOK_SECRET?",
    404: "Nothing listens at this path.",
    405: "This path takes no POST.",
    410: "A receiver that answers 410 is left alone: a real delivery would stop here.",
    413: "The receiver takes no bodies of this size: PUBLIC_URL lets the service send a link instead.",
    429: "The receiver is busy: a real delivery would be tried again later.",
    503: "The receiver is busy: a real delivery would be tried again later.",
}


def run_webhook_test(settings: Settings, url: str, form: WebhookFormat) -> int:
    """Sends the event and prints what came back; 0 when the receiver accepted it.

    Raises:
        StartupError: a setting can't be read.
    """
    delivery = _delivery(url, form)
    print(f"POST {url}")
    print(f"  {_form_in_words(delivery)}; {_signing_in_words(settings)}")
    began = time.monotonic()
    outcome = open_client(settings).send(delivery, 1)
    print(f"  {_outcome_in_words(outcome)} ({time.monotonic() - began:.2f} s)")
    return 0 if outcome.is_accepted else 1


def _delivery(url: str, form: WebhookFormat) -> Delivery:
    job_id, stl = uuid.uuid4().hex, _tetrahedron_stl()
    digest = sha256(stl).hexdigest()
    artifact = {
        "format": "stl",
        "media_type": MEDIA_TYPES["stl"],
        "size": len(stl),
        "sha256": digest,
        "filename": f"{NAME}.stl",
        "faces": len(_FACES),
        "units": "mm",
        "bbox": [1.0, 1.0, 1.0],
    }
    data: dict[str, Any] = {"job_id": job_id, "session_id": NAME, "asset_id": NAME, "status": "test"}
    # A link would lead to a job's file, and there is no job.
    data |= {} if form == "link" else {"artifact": artifact}
    mesh = MeshFile(lambda: iter([stl]), f"{NAME}.stl", "stl", len(stl), digest)
    event = JobEvent(EVENT_TYPE, rfc3339(time.time()), data).write()
    return Delivery(job_id, NAME, NAME, url, form, event, mesh)


def _tetrahedron_stl() -> bytes:
    """A closed binary STL of four faces, 1 mm a side."""
    faces = b"".join(
        struct.pack("<12fH", 0, 0, 0, *(value for corner in face for value in _CORNERS[corner]), 0)
        for face in _FACES
    )
    return b"webhook test".ljust(80) + struct.pack("<I", len(_FACES)) + faces


def _form_in_words(delivery: Delivery) -> str:
    size = len(delivery.event.text)
    if delivery.form == "link":
        return f"the event {EVENT_TYPE} as JSON, {size} bytes; no link, as there is no job"
    file = f"a file of {delivery.mesh.size} bytes" if delivery.mesh else "no file"
    return f"{delivery.form}: {file}, and the event of {size} bytes"


def _signing_in_words(settings: Settings) -> str:
    count = len(settings.webhook_secrets)
    if not count:
        return "not signed, since WEBHOOK_SECRET is not set"
    return "signed" if count == 1 else f"signed by each of {count} secrets"


def _outcome_in_words(outcome: Outcome) -> str:
    if outcome.is_accepted:
        return f"Accepted: the receiver answered {outcome.status}."
    advice = _ADVICE.get(outcome.status or 0, "")
    if outcome.status is not None and 300 <= outcome.status < 400:
        advice = "Redirects are not followed: give the address they lead to."
    return f"Not accepted: {outcome.detail}. {advice}".rstrip()
