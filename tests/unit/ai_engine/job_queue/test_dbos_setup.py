"""Where deliveries wait: by owner and host, apart from hosts that were slow lately."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from support.sample_job import job

from ai_engine.job import Artifact
from ai_engine.job_queue.dbos_setup import (
    DELIVERY_QUEUE,
    EMPTIED_QUEUES,
    SLOW_DELIVERY_QUEUE,
    DeliveryPlace,
    delivery_options,
    register_queues,
)
from ai_engine.job_queue.entries import EntryId
from ai_engine.settings import Settings
from ai_engine.webhooks.event import JobEvent
from ai_engine.webhooks.task import DeliveryTask

SETTINGS = Settings(deliveries_in_flight=12, deliveries_per_owner=6, deliveries_per_host=2)


def place(**fields: Any) -> DeliveryPlace:
    one = job(**{"webhook_url": "https://hook.example.com/a"} | fields)
    return DeliveryPlace.of(DeliveryTask(one, JobEvent("generation.failed", "", {}), None, 0.0), SETTINGS)


def test_an_owners_hosts_share_as_many_partitions_as_it_has_room_for() -> None:
    partitions = {place(owner="shop", webhook_url=f"https://h{n}.example.com/").partition for n in range(99)}

    assert partitions == {"shop/0", "shop/1", "shop/2"}, "three partitions of two places are its six"
    assert place(owner="shop") == place(owner="shop", webhook_url="https://hook.example.com/b")
    assert place(owner="press").partition not in partitions


def test_without_owners_each_host_has_a_partition() -> None:
    assert place().partition == "/hook.example.com"
    assert place(webhook_url="http://hook.example.com:8080/").partition == "/hook.example.com:8080"


def test_an_upload_waits_at_the_bucket_and_then_at_the_webhook() -> None:
    one = job(webhook_url="https://hook.example.com/a", upload_url="https://bucket.example.com/put")
    task = DeliveryTask(one, JobEvent("generation.succeeded", "", {}), Artifact("a", "0" * 64, 1), 0.0)

    assert task.host == "bucket.example.com"
    assert replace(task, artifact=None).host == "hook.example.com", "a failed job uploads nothing"


def test_a_slow_task_waits_in_a_queue_of_its_own() -> None:
    task = DeliveryTask(job(owner="shop"), JobEvent("generation.failed", "", {}), None, 0.0)

    places = [DeliveryPlace.of(replace(task, is_slow=slow), SETTINGS) for slow in (False, True)]

    assert [one.queue for one in places] == [DELIVERY_QUEUE, SLOW_DELIVERY_QUEUE]
    options = delivery_options(EntryId("j", 1), 0.0, places[0])
    assert (options["queue_partition_key"], options["authenticated_user"]) == (places[0].partition, "shop")


def registered(settings: Settings) -> dict[str, dict[str, Any]]:
    """What each queue is made with."""
    queues: dict[str, dict[str, Any]] = {}

    def register(name: str, **limits: Any) -> None:
        queues[name] = limits

    register_queues(register, settings)
    return queues


def test_limits_that_contradict_each_other_are_the_smallest_of_them() -> None:
    limits = registered(Settings(deliveries_in_flight=3, deliveries_per_owner=2, deliveries_per_host=9))[
        DELIVERY_QUEUE
    ]

    assert (limits["worker_concurrency"], limits["partition_worker_concurrency"]) == (3, 2)


def test_queues_that_only_empty_are_polled_rarely() -> None:
    queues = registered(Settings(queue_poll_s=0.1))
    seconds = {name: limits["polling_interval_sec"] for name, limits in queues.items()}

    assert {name: seconds.pop(name) for name in (*EMPTIED_QUEUES, SLOW_DELIVERY_QUEUE)} == {
        "webhook": 5.0,
        "pipeline": 5.0,
        "slow-delivery": 1.0,
    }
    assert set(seconds.values()) == {0.1}
    assert {one["polling_interval_sec"] for one in registered(Settings(queue_poll_s=7)).values()} == {7.0}
