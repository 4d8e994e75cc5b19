"""The official Standard Webhooks libraries, in Python and in JavaScript, take our deliveries as they come."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.conftest import SECRET
from service.house import Delivered, House, Outside, wait_for
from service.worker_runtime import installed

VERIFIER = Path(__file__).with_name("verify_webhook.mjs")
FORMS = ("multipart", "binary", "link")
ENDINGS = {"succeeded": "/a.png", "failed": "/none.txt", "cancelled": "/held.png"}

Verify = Callable[[str, dict[str, str]], str]
"""The type of the event, once a library has found the payload to be signed by the headers."""


def by_python(payload: str, headers: dict[str, str]) -> str:
    return Webhook(SECRET).verify(payload, headers)["type"]


@pytest.fixture(params=["python", "javascript"])
def verify(request: pytest.FixtureRequest, node_packages: Path) -> Verify:
    if request.param == "python":
        return by_python
    folder = installed(node_packages).folder

    def by_javascript(payload: str, headers: dict[str, str]) -> str:
        asked = json.dumps({"secret": SECRET, "payload": payload, "headers": headers})
        done = subprocess.run(
            ["node", str(VERIFIER), str(folder)], input=asked, capture_output=True, text=True, timeout=120
        )
        if done.returncode != 0:
            assert "WebhookVerificationError" in done.stderr, done.stderr
            raise WebhookVerificationError
        return done.stdout

    return by_javascript


@pytest.fixture(scope="module")
def deliveries(house: House, outside: Outside) -> dict[tuple[str, str], Delivered]:
    """One real delivery of each form and ending."""
    outside.may_answer.clear()
    cases = [(form, ending) for form in FORMS for ending in ENDINGS]
    for form, ending in cases:
        job_id = house.submit(
            image_url=outside.url(ENDINGS[ending]),
            webhook_url=outside.url(f"/signed/{form}/{ending}"),
            webhook_format=form,
        )
        if ending == "cancelled":
            house.ask("DELETE", f"/jobs/{job_id}")
    outside.may_answer.set()
    return {case: first_post(outside, f"/signed/{'/'.join(case)}") for case in cases}


def first_post(outside: Outside, path: str) -> Delivered:
    return wait_for(lambda: outside.posts(path), f"a delivery came to {path}")[0]


def payload_of(delivered: Delivered) -> str:
    """What is signed: the event, wherever the form carries it."""
    if "x-generation-event" in delivered.headers:
        return delivered.headers["x-generation-event"]
    is_form = delivered.headers["content-type"].startswith("multipart/")
    return (delivered.parts["event"] if is_form else delivered.body).decode()


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("form", FORMS)
def test_the_library_takes_every_form_and_ending(
    deliveries: dict[tuple[str, str], Delivered], verify: Verify, form: str, ending: str
) -> None:
    delivered = deliveries[form, ending]

    assert verify(payload_of(delivered), delivered.headers) == f"generation.{ending}"


def test_the_library_refuses_an_event_that_was_changed(
    deliveries: dict[tuple[str, str], Delivered], verify: Verify
) -> None:
    delivered = deliveries["multipart", "failed"]
    changed = payload_of(delivered).replace("failed", "succeeded")

    with pytest.raises(WebhookVerificationError):
        verify(changed, delivered.headers)
