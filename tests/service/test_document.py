"""The API document against the running service: what it says of a request is what comes back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from ai_engine.api.app import create_app
from ai_engine.settings import Settings
from service.house import Answer, House, Outside, wait_for
from service.test_forms import NAMES, PICTURE, submit

NOBODY = "0" * 32
PAGES = {("GET", path) for path in ("/", "/operate", "/studio/{name}", "/docs", "/docs/{name}", "/llms.txt")}
"""Routes for people alone, which need no description."""
IDS = {"job_id": NOBODY, "cut_out_id": NOBODY, "file_name": "a1.stl"}


@cache
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


def fits(value: Any, schema: dict[str, Any]) -> None:
    """Raises where `value` is not what the document says."""
    jsonschema.Draft202012Validator(schema | {"components": document()["components"]}).validate(value)


def check(answer: Answer, method: str, route: str) -> None:
    """Raises where the answer is none that the document knows of this route."""
    operation = document()["paths"][route][method.lower()]
    assert str(answer.status) in operation["responses"], (method, route, answer.status, answer.body)
    content = operation["responses"][str(answer.status)].get("content", {})
    media_type = answer.headers.get("content-type", "").partition(";")[0]
    assert (media_type in content) or not (content or answer.body), (method, route, media_type)
    if media_type.endswith("json"):
        fits(answer.json, content[media_type]["schema"])


def operations() -> list[tuple[str, str]]:
    return [(method.upper(), route) for route, path in document()["paths"].items() for method in path]


def test_the_document_is_openapi_3_1_and_the_service_serves_it(house: House) -> None:
    OpenAPIV31SpecValidator(document()).validate()

    served = house.ask("GET", "/openapi.json")

    assert document()["openapi"].startswith("3.1")
    assert _without_schedule(served.json) == _without_schedule(document())


def _without_schedule(document: dict[str, Any]) -> dict[str, Any]:
    """The document without what follows from WEBHOOK_DELAYS_S, which the service of these tests sets."""
    plain: dict[str, Any] = json.loads(json.dumps(document))
    for hook in plain["webhooks"].values():
        for status in ("429", "default"):
            del hook["post"]["responses"][status]["description"]
    return plain


def routes_of(router: Any) -> Iterator[Any]:
    """All routes, those of included routers too."""
    for route in router.routes:
        included = getattr(route, "original_router", None)
        yield from routes_of(included) if included is not None else [route]


def test_every_route_is_documented() -> None:
    known = {
        (method, route.path)
        for route in routes_of(create_app(Settings()))
        if route.path != "/openapi.json" and "HEAD" not in route.methods
        for method in route.methods
    }

    assert ("POST", "/generate-3d") in known
    assert known - set(operations()) - PAGES == set()
    for method, route in operations():
        assert document()["paths"][route][method.lower()].get("description"), (method, route)


@pytest.mark.parametrize(("method", "route"), operations())
def test_each_route_answers_about_nothing_as_documented(house: House, method: str, route: str) -> None:
    path = route.format(**IDS)

    check(house.ask(method, path), method, route)
    check(house.ask(method, path, b"\x00\xff"), method, route)


@pytest.mark.parametrize("route", [route for method, route in operations() if method == "GET"])
def test_head_is_answered_wherever_get_is_and_has_no_body(house: House, route: str) -> None:
    job_id = house.submit(image_url="http://127.0.0.1:8001/a.png")
    path = route.format(**IDS | {"job_id": job_id})
    if not route.endswith("/events"):
        assert house.ask("HEAD", path).status in (house.ask("GET", path).status, 404)

    head = house.ask("HEAD", path)

    assert (head.status != 405, head.body) == (True, b"")


def test_the_retry_schedule_of_the_document_is_the_one_that_is_set() -> None:
    settings = Settings(webhook_delays_s=(0, 90, 120, 7200), webhook_max_retry_after_s=600)

    post = create_app(settings).openapi()["webhooks"]["generation.succeeded"]["post"]

    assert "after: 90 s, 2 min, 2 h." in post["responses"]["default"]["description"]
    assert "up to 10 min" in post["responses"]["429"]["description"]
    assert "5 s, 30 s, 5 min, 30 min, 2 h, 5 h, 10 h" in json.dumps(document())


@pytest.mark.parametrize("query", ["limit=0", "limit=many", "status=new", "cursor=%00", "session_id=%20"])
def test_bad_parameters_are_answered_as_documented(house: House, query: str) -> None:
    answer = house.ask("GET", f"/jobs?{query}")

    assert answer.status == 422
    check(answer, "GET", "/jobs")


def test_a_job_from_its_submission_to_its_redelivery_answers_as_documented(
    house: House, outside: Outside
) -> None:
    body = {"session_id": "s1", "asset_id": "a1", "image_url": outside.url("/a.png")}
    key = {"Idempotency-Key": uuid.uuid4().hex}

    def ask(method: str, route: str, status: int, *rest: Any, **ids: str) -> Answer:
        answer = house.ask(method, route.format(**ids), *rest)
        assert answer.status == status, answer.body
        check(answer, method, route)
        return answer

    hook = {"webhook_url": outside.url("/documented")}
    job_id = ask("POST", "/generate-3d", 202, body | hook, key).json["job_id"]
    ask("POST", "/generate-3d", 200, body | hook, key)
    ask("POST", "/generate-3d", 409, body, key)
    house.wait_until(job_id, "succeeded")
    wait_for(
        lambda: house.job(job_id)["deliveries"][0]["state"] == "accepted", "the webhook has been delivered"
    )
    etag = ask("GET", "/jobs/{job_id}/mesh", 200, job_id=job_id).headers["etag"]
    ask("GET", "/jobs/{job_id}/mesh", 206, None, {"Range": "bytes=0-9"}, job_id=job_id)
    ask("GET", "/jobs/{job_id}/mesh", 304, None, {"If-None-Match": etag}, job_id=job_id)
    ask("GET", "/jobs/{job_id}/mesh", 416, None, {"Range": "bytes=999999999-"}, job_id=job_id)
    for route in ("/jobs/{job_id}", "/jobs/{job_id}/cutout.png", "/jobs/{job_id}/preview.png", "/jobs"):
        ask("GET", route, 200, job_id=job_id)
    ask("GET", "/jobs/{job_id}/events", 200, job_id=job_id)
    ask("POST", "/jobs/{job_id}/retry", 409, job_id=job_id)
    ask("POST", "/jobs/{job_id}/redeliver", 202, job_id=job_id)
    ask("POST", "/jobs/{job_id}/redeliver", 422, {"webhook_url": "ftp://x"}, job_id=job_id)
    ask("GET", "/deliveries", 200)
    ask("POST", "/deliveries/redeliver", 202, {"job_ids": [job_id, "none"]})
    ask("POST", "/deliveries/redeliver", 422, {})
    ask("POST", "/deliveries/redeliver", 413, {"job_ids": ["a" * 70_000]})
    cancelled = ask("POST", "/generate-3d", 202, body).json["job_id"]
    ask("DELETE", "/jobs/{job_id}", 202, job_id=cancelled)


def test_the_examples_of_the_document_are_taken(house: House) -> None:
    content = document()["paths"]["/generate-3d"]["post"]["requestBody"]["content"]

    for example in content["application/json"]["examples"].values():
        fits(example["value"], content["application/json"]["schema"])
    form = content["multipart/form-data"]["schema"]
    fits({"session_id": "s", "asset_id": "a", "image": "bytes"}, form)
    for wrong in ({"session_id": "s", "asset_id": "a"}, {"image": "bytes"}):
        with pytest.raises(jsonschema.ValidationError):
            fits(wrong, form)
    check(submit(house, *NAMES, PICTURE), "POST", "/generate-3d")
    check(submit(house, *NAMES), "POST", "/generate-3d")


def succeed(house: House, outside: Outside, hook: dict[str, Any]) -> None:
    house.submit(image_url=outside.url("/a.png"), **hook)


def fail(house: House, outside: Outside, hook: dict[str, Any]) -> None:
    house.submit(image_url=outside.url("/none"), **hook)


def cancel(house: House, outside: Outside, hook: dict[str, Any]) -> None:
    job_id = house.submit(image_url=outside.url("/a.png"), num_inference_steps=100, **hook)
    house.ask("DELETE", f"/jobs/{job_id}")


@pytest.mark.parametrize("form", ["multipart", "binary", "link"])
@pytest.mark.parametrize(
    ("kind", "bring_about"),
    [("generation.succeeded", succeed), ("generation.failed", fail), ("generation.cancelled", cancel)],
)
def test_each_webhook_comes_as_documented(
    house: House, outside: Outside, kind: str, bring_about: Callable[..., None], form: str
) -> None:
    path = f"/documented-{kind}-{form}"
    bring_about(house, outside, {"webhook_url": outside.url(path), "webhook_format": form})
    (post,) = wait_for(lambda: outside.posts(path), f"{kind} is delivered")

    operation = document()["webhooks"][kind]["post"]
    content = operation["requestBody"]["content"]
    media_type = post.headers["content-type"].partition(";")[0]
    assert media_type in content
    if media_type == "multipart/form-data":
        event = post.parts["event"]
        fits(dict.fromkeys(post.parts, "text"), content[media_type]["schema"])
    else:
        event = post.body if media_type == "application/json" else post.headers["x-generation-event"].encode()
    fits(json.loads(event), content["application/json"]["schema"])
    assert json.loads(event)["type"] == kind
    documented = {parameter["name"].lower() for parameter in operation["parameters"]}
    ours = {
        name for name in post.headers if name.startswith(("webhook-", "x-delivery", "x-gen", "traceparent"))
    }
    assert ours <= documented
