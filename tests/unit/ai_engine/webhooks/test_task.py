"""Deliveries that wait in the queue, also those that an earlier version left there."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from support.sample_job import job

from ai_engine.job import Artifact
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.task import DeliveryOutcome, DeliveryTask
from ai_engine.webhooks.upload import UPLOADED, UploadFacts

EVENT = JobEvent("generation.succeeded", "2026-11-23T16:40:00Z", {"status": "completed", "artifact": {}})
ARTIFACT = Artifact("uri", "0" * 64, 5)
GIVEN_UP = UploadFacts("given_up", "the upload's server answered 403", 403)
FAILED = {
    "is_accepted": False,
    "status": 413,
    "detail": "the receiver answered 413, a link follows",
    "at_s": 5.0,
    "next_delay_s": 0.0,
}


def as_json(fields: dict[str, Any]) -> Any:
    return json.loads(json.dumps(fields))


def test_a_task_comes_back_from_plain_values_as_it_was() -> None:
    task = DeliveryTask(
        job(upload_url="https://e.com/put", upload_headers={"x-ms-blob-type": "BlockBlob"}),
        EVENT,
        ARTIFACT,
        7.0,
        3,
        UPLOADED,
        "payload_too_large",
    )

    assert DeliveryTask.from_dict(as_json(task.to_dict())) == task


def test_a_task_of_the_version_before_is_read() -> None:
    one = job()
    fields = {"job": one.to_dict(), "event": EVENT.to_json(), "artifact": asdict(ARTIFACT)}
    later = {"linked_at_s": 9.0, "attempts_before": 2, "is_uploaded": True, "fallback": "payload_too_large"}

    assert DeliveryTask.from_dict(fields) == DeliveryTask(one, EVENT, ARTIFACT, one.accepted_at_s)
    assert DeliveryTask.from_dict(fields | later) == DeliveryTask(
        one, EVENT, ARTIFACT, 9.0, 2, UPLOADED, "payload_too_large"
    )


def test_a_failed_job_has_a_task_without_a_file() -> None:
    task = DeliveryTask(job(), EVENT, None, 1.0)

    assert DeliveryTask.from_dict(as_json(task.to_dict())) == task


@pytest.mark.parametrize(
    "outcome",
    [
        DeliveryOutcome(True, 200, "accepted", 1.0, None, "multipart"),
        DeliveryOutcome(False, 413, "too large", 1.0, 0.0, "binary", UPLOADED, "payload_too_large"),
        DeliveryOutcome(False, 403, "no", 1.0, 0.0, "multipart", GIVEN_UP),
    ],
)
def test_an_outcome_comes_back_from_plain_values_as_it_was(outcome: DeliveryOutcome) -> None:
    assert DeliveryOutcome.from_dict(as_json(outcome.to_dict())) == outcome


def test_an_outcome_of_the_version_before_is_read() -> None:
    assert DeliveryOutcome.from_dict(FAILED).form is None, "from before forms were written down"
    learned = FAILED | {
        "form": "binary",
        "learned": {"fallback": "payload_too_large", "is_uploaded": True},
    }
    outcome = DeliveryOutcome.from_dict(learned)
    assert (outcome.fallback, outcome.upload) == ("payload_too_large", UPLOADED)


@pytest.mark.parametrize(
    ("is_accepted", "next_delay_s", "state"),
    [(True, None, "accepted"), (False, 0.0, "failed"), (False, 60.0, "failed"), (False, None, "dead")],
)
def test_an_attempt_is_accepted_failed_or_dead(
    is_accepted: bool, next_delay_s: float | None, state: str
) -> None:
    assert DeliveryOutcome(is_accepted, None, "", 0.0, next_delay_s).state == state


def test_what_one_attempt_learned_is_kept_by_all_that_follow() -> None:
    task = DeliveryTask(job(), EVENT, ARTIFACT, 1.0)
    uploaded = DeliveryOutcome(False, 500, "", 0.0, 1.0, upload=UPLOADED)
    too_large = DeliveryOutcome(False, 413, "", 0.0, 0.0, fallback="payload_too_large")
    refused = DeliveryOutcome(False, 500, "", 0.0, 1.0)

    last = task.after(uploaded, 1).after(too_large, 2).after(refused, 3)

    assert (last.is_uploaded, last.fallback, last.attempts_before) == (True, "payload_too_large", 0)


def test_a_webhook_has_its_own_schedule_once_the_upload_is_given_up() -> None:
    given_up = DeliveryOutcome(False, 403, "", 0.0, 0.0, upload=GIVEN_UP)
    refused = DeliveryOutcome(False, 500, "", 0.0, 1.0)

    task = DeliveryTask(job(), EVENT, ARTIFACT, 1.0).after(given_up, 2).after(refused, 3)

    assert (task.has_given_up_upload, task.is_uploaded, task.attempts_before) == (True, False, 2)


def test_an_entry_that_made_no_attempt_counts_as_none() -> None:
    task = DeliveryTask(job(), EVENT, ARTIFACT, 1.0)

    postponed = task.after(DeliveryOutcome.postponed(2.0), 1)
    slow_again = postponed.after(DeliveryOutcome(False, None, "", 3.0, 5.0, is_slow=True), 2)
    quick = slow_again.after(DeliveryOutcome(False, 500, "", 4.0, 5.0), 3)

    assert (postponed.is_slow, postponed.num_postponed, postponed.attempts_before) == (True, 1, 1)
    assert (slow_again.is_slow, slow_again.attempts_before) == (True, 1)
    assert (quick.is_slow, quick.num_postponed) == (False, 1)


@pytest.mark.parametrize(
    ("upload", "host"),
    [(None, "bucket.example.com"), (UPLOADED, "hook.example.com"), (GIVEN_UP, "bucket.example.com")],
)
def test_the_host_that_was_slow_is_the_one_that_was_waited_for(upload: UploadFacts | None, host: str) -> None:
    one = job(webhook_url="https://hook.example.com/a", upload_url="https://bucket.example.com/put")
    task = DeliveryTask(one, EVENT, ARTIFACT, 1.0)

    assert task.host_of(DeliveryOutcome(False, None, "", 0.0, 1.0, upload=upload)) == host


def test_a_redelivery_tries_an_upload_again_that_was_given_up() -> None:
    again = DeliveryTask(job(), EVENT, ARTIFACT, 1.0, upload=GIVEN_UP).redelivery(4, 50.0)

    assert again.upload is None


def test_a_redelivery_begins_its_schedule_and_its_links_anew() -> None:
    again = DeliveryTask(job(), EVENT, ARTIFACT, 1.0, upload=UPLOADED).redelivery(4, 50.0)

    assert (again.attempts_before, again.linked_at_s, again.is_uploaded) == (4, 50.0, True)
