"""Receivers that refuse, hang, are busy or are gone: what is tried again, and what the job shows of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from service.house import House, Outside, free_port, wait_for


def submitted(house: House, outside: Outside, webhook_url: str) -> str:
    return house.submit(image_url=outside.url("/a.png"), webhook_url=webhook_url)


def wait_for_last(house: House, job_id: str, state: str) -> list[dict[str, Any]]:
    """The attempts to deliver a job that is over, once the last one stands so."""
    house.wait_until_over(job_id)  # A quick receiver has the webhook a moment before.
    return wait_for(
        lambda: (seen := house.job(job_id)["deliveries"]) and seen[-1]["state"] == state and seen,
        f"the delivery of {job_id} is {state}",
    )


def test_a_receiver_that_fails_at_first_gets_the_same_delivery_again(house: House, outside: Outside) -> None:
    outside.answers["/shaky"] = [(500, {}), (302, {"Location": "/elsewhere"})]
    job_id = submitted(house, outside, outside.url("/shaky"))

    attempts = wait_for_last(house, job_id, "accepted")

    assert [attempt["status"] for attempt in attempts] == [500, 302, 200]
    posts = outside.posts("/shaky")
    assert [post.headers["x-delivery-attempt"] for post in posts] == ["1", "2", "3"]
    assert {post.headers["webhook-id"] for post in posts} == {f"{job_id}:done"}
    assert len({post.body for post in posts}) == 1
    assert not outside.posts("/elsewhere"), "redirects are not followed"


def test_after_the_last_attempt_the_delivery_is_dead_and_the_job_still_succeeded(
    house: House, outside: Outside
) -> None:
    outside.answers["/broken"] = [(500, {})] * 9
    job_id = submitted(house, outside, outside.url("/broken"))

    attempts = wait_for_last(house, job_id, "dead")

    assert [attempt["state"] for attempt in attempts] == ["failed", "failed", "dead"]
    assert house.job(job_id)["status"] == "succeeded"


def test_a_receiver_that_is_gone_is_left_alone(house: House, outside: Outside) -> None:
    outside.answers["/gone"] = [(410, {})]
    job_id = submitted(house, outside, outside.url("/gone"))

    (attempt,) = wait_for_last(house, job_id, "dead")

    assert attempt["status"] == 410
    assert len(outside.posts("/gone")) == 1


def test_a_busy_receiver_is_asked_again_no_sooner_than_it_said(house: House, outside: Outside) -> None:
    outside.answers["/busy"] = [(503, {"Retry-After": "3600"})]
    job_id = submitted(house, outside, outside.url("/busy"))

    def planned() -> Any:
        """Both attempts, once the first is written down; the next one is planned just before."""
        seen = house.job(job_id)["deliveries"]
        return seen if len(seen) == 2 and seen[0]["state"] != "sending" else None

    tried, waiting = wait_for(planned, "a second attempt is planned")
    assert (tried["state"], tried["status"], waiting["state"]) == ("failed", 503, "waiting")
    pause = datetime.fromisoformat(waiting["at"]) - datetime.fromisoformat(tried["at"])
    assert pause.total_seconds() >= 3599


def test_a_receiver_that_does_not_exist_refuses_or_hangs_is_given_up_in_time(
    house: House, outside: Outside
) -> None:
    outside.may_answer.clear()
    urls = {
        "no such host": "http://no-such-host.invalid/hook",
        "refuses": f"http://127.0.0.1:{free_port()}/hook",
        "hangs": outside.url("/held/hook"),
    }
    jobs = {name: submitted(house, outside, url) for name, url in urls.items()}

    details = {name: wait_for_last(house, job_id, "dead")[-1]["detail"] for name, job_id in jobs.items()}
    outside.may_answer.set()

    assert details == {
        "no such host": "the host's name can't be resolved",
        "refuses": "the host does not accept a connection",
        "hangs": details["hangs"],
    }
    assert "took longer than" in details["hangs"]
