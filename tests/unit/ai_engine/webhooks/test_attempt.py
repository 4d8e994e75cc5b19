"""What goes out in a delivery, as its task and the settings say; the running workflows are in `tests/service`."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.sample_job import job

from ai_engine.job import Artifact
from ai_engine.settings import Settings
from ai_engine.storage.store import LocalStore
from ai_engine.webhooks.attempt import DeliveryContext, _delivery, attempt_delivery, open_client
from ai_engine.webhooks.body import Delivery
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.sender import Outcome
from ai_engine.webhooks.signed_links import Links
from ai_engine.webhooks.task import DeliveryOutcome, DeliveryTask
from ai_engine.webhooks.upload import UPLOADED, UploadFacts

EVENT = JobEvent("generation.succeeded", "2026-11-23T16:40:00Z", {"artifact": {}})


def delivery(tmp_path: Path, *, size: int, public_url: str | None, **learned: Any) -> Delivery:
    settings = Settings(webhook_max_inline_bytes=100, public_url=public_url)
    store = LocalStore(tmp_path)
    links = Links(b"k", 60, settings.public_url)
    one = job(webhook_url="https://example.com/hook")
    artifact = store.put_bytes(one.job_id, "mesh.stl", b"x" * size)
    task = replace(DeliveryTask(one, EVENT, artifact, one.accepted_at_s), **learned)
    return _delivery(task, DeliveryContext(open_client(settings), store, links, settings))


def test_a_file_over_the_limit_goes_as_a_link_at_once(tmp_path: Path) -> None:
    inline = delivery(tmp_path, size=100, public_url="https://mesh.example.com")
    linked = delivery(tmp_path, size=101, public_url="https://mesh.example.com/")

    assert (inline.form, inline.fallback) == ("multipart", None)
    assert (linked.form, linked.fallback) == ("link", "max_inline_bytes")
    assert '"url":"https://mesh.example.com/files/' in linked.event.text


def test_without_a_public_address_the_file_goes_inline_whatever_its_size(tmp_path: Path) -> None:
    sent = delivery(tmp_path, size=101, public_url=None)

    assert (sent.form, sent.fallback, sent.has_link) == ("multipart", None, False)


def test_a_link_stays_a_link_once_the_receiver_found_the_file_too_large(tmp_path: Path) -> None:
    sent = delivery(tmp_path, size=1, public_url="https://mesh.example.com", fallback="payload_too_large")

    assert (sent.form, sent.fallback) == ("link", "payload_too_large")


def test_the_link_is_the_same_on_every_attempt(tmp_path: Path) -> None:
    sent = delivery(tmp_path, size=1, public_url="https://mesh.example.com", linked_at_s=1000.0)

    assert "expires=1060&" in sent.event.text, "from when the job ended, not from when this is sent"


@dataclass(frozen=True)
class CrowdedStore(LocalStore):
    """A store on a machine that has no more files to open."""

    def read(self, artifact: Artifact, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        raise OSError(errno.EMFILE, "Too many open files")


def test_a_delivery_that_breaks_on_our_side_is_tried_again(tmp_path: Path) -> None:
    settings, store = Settings(webhook_delays_s=(0.0, 60.0)), CrowdedStore(tmp_path)
    one = job(webhook_url="https://example.com/hook", webhook_format="binary")
    artifact = store.put_bytes(one.job_id, "mesh.stl", b"x")
    context = DeliveryContext(open_client(settings), store, Links(b"k", 60, None), settings)

    outcome = attempt_delivery(context, DeliveryTask(one, EVENT, artifact, 0.0), 1, "")

    assert (outcome.state, outcome.status) == ("failed", None)
    assert outcome.next_delay_s is not None
    assert "open files" not in outcome.detail


UPLOAD_URL = "https://bucket.example.com/a1.stl"
GIVEN_UP = UploadFacts("given_up", "the upload's server answered 403", 403)


@dataclass(frozen=True)
class Answering:
    """Stands where the webhook client stands: the attempt ends so."""

    outcome: Outcome

    def send(self, delivery: Delivery, attempt: int) -> Outcome:
        return self.outcome


def attempted(tmp_path: Path, outcome: Outcome, attempt: int, **fields: Any) -> DeliveryOutcome:
    settings, store = Settings(webhook_delays_s=(0.0, 60.0, 60.0)), LocalStore(tmp_path)
    one = job(**{"webhook_url": "https://example.com/hook", "upload_url": UPLOAD_URL} | fields)
    artifact = store.put_bytes(one.job_id, "mesh.stl", b"x")
    client: Any = Answering(outcome)
    context = DeliveryContext(client, store, Links(b"k", 60, None), settings)
    return attempt_delivery(context, DeliveryTask(one, EVENT, artifact, 0.0), attempt, "")


@pytest.mark.parametrize(
    ("outcome", "last_attempt"),
    [
        (Outcome(False, True, 410, "gone", is_upload=True), 1),
        (Outcome(False, False, 403, "refused", is_upload=True, is_doubtful=True), 2),
        (Outcome(False, False, 500, "broken", is_upload=True), 3),
    ],
)
def test_an_upload_is_given_up_after_the_attempts_that_make_sense_and_the_webhook_follows_at_once(
    tmp_path: Path, outcome: Outcome, last_attempt: int
) -> None:
    before = [attempted(tmp_path, outcome, attempt) for attempt in range(1, last_attempt)]
    last = attempted(tmp_path, outcome, last_attempt)

    assert [one.upload for one in before] == [None] * (last_attempt - 1)
    assert (last.state, last.next_delay_s) == ("failed", 0.0)
    assert last.upload == UploadFacts("given_up", outcome.detail, outcome.status)


def test_an_upload_without_a_webhook_is_dead_when_it_is_given_up(tmp_path: Path) -> None:
    gone = Outcome(False, True, 410, "gone", is_upload=True)

    outcome = attempted(tmp_path, gone, 1, webhook_url=None)

    assert (outcome.state, outcome.upload) == ("dead", UploadFacts("given_up", "gone", 410))


@pytest.mark.parametrize(("public_url", "form"), [(None, "multipart"), ("https://mesh.example.com", "link")])
def test_a_webhook_that_replaces_an_upload_has_the_file_and_says_why(
    tmp_path: Path, public_url: str | None, form: str
) -> None:
    settings, store = Settings(public_url=public_url), LocalStore(tmp_path)
    one = job(webhook_url="https://example.com/hook", upload_url=UPLOAD_URL)
    artifact = store.put_bytes(one.job_id, "mesh.stl", b"x")
    context = DeliveryContext(open_client(settings), store, Links(b"k", 60, settings.public_url), settings)
    task = DeliveryTask(one, EVENT, artifact, 1.0, upload=GIVEN_UP)

    sent = _delivery(task, context)

    assert (sent.form, sent.upload, sent.fallback) == (form, None, "upload_failed")
    assert json.loads(sent.event.text)["data"]["upload"] == {
        "state": "given_up",
        "detail": "the upload's server answered 403",
        "status": 403,
    }


def test_the_event_is_the_same_before_and_after_the_upload(tmp_path: Path) -> None:
    settings, store = Settings(), LocalStore(tmp_path)
    one = job(
        webhook_url="https://example.com/hook", upload_url=UPLOAD_URL, upload_headers={"x-amz-acl": "a"}
    )
    artifact = store.put_bytes(one.job_id, "mesh.stl", b"x")
    context = DeliveryContext(open_client(settings), store, Links(b"k", 60, None), settings)
    task = DeliveryTask(one, EVENT, artifact, 1.0)

    first, later = _delivery(task, context), _delivery(replace(task, upload=UPLOADED), context)

    assert first.event == later.event
    assert json.loads(first.event.text)["data"]["upload"]["state"] == "uploaded"
    assert first.upload is not None
    assert first.upload.headers == {"content-type": "model/stl", "x-amz-acl": "a"}
