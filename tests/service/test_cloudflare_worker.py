"""The example Worker, on the real Workers runtime with its R2, submits to the running service and is delivered to."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from ai_engine.web.api_keys import new_key, setting_entry
from service.conftest import SECRET
from service.house import ROOT, House, Outside, cut_out_png, wait_for
from service.relay import Passed, Relay, one_bit_changed
from service.worker_runtime import Installed, WorkerRuntime, installed

TOKEN, KEY = "a caller's own", new_key()
OLD_SECRET, FORGED = "whsec_" + "b2xk" * 8, "whsec_" + "Zm9yZ2Vk" * 4
MESH_BYTES = 34_000_000


@pytest.fixture(scope="module")
def example(node_packages: Path) -> Installed:
    return installed(node_packages)


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory, example: Installed) -> Iterator[House]:
    """A service with API keys, whose meshes are as large as those of the real model."""
    settings = {
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_DELAYS_S": "0,0.1,0.1,0.1",
        "STAND_IN_FACES": "680000",
        "API_KEYS": setting_entry("worker", KEY),
        "REQUESTS_PER_MINUTE": "0",
    }
    service = House(tmp_path_factory.mktemp("factory"), settings, key=KEY)
    with service.serving():
        yield service


@pytest.fixture(scope="module")
def script(example: Installed) -> Path:
    return example.bundle()


@pytest.fixture(scope="module")
def worker(example: Installed, script: Path, factory: House) -> Iterator[WorkerRuntime]:
    bindings = {
        "ENGINE_URL": f"http://127.0.0.1:{factory.port}",
        "WEBHOOK_SECRET": f"{OLD_SECRET} {SECRET}",
        "CALLER_TOKEN": TOKEN,
        "ENGINE_API_KEY": KEY,
    }
    runtime = WorkerRuntime(example, script, bindings)
    yield runtime
    runtime.close()


@pytest.fixture
def relay(worker: WorkerRuntime) -> Iterator[Relay]:
    line = Relay(f"{worker.url}/webhook")
    yield line
    line.close()


def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    request = urllib.request.Request(url, body, headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def generate(worker: WorkerRuntime, token: str = TOKEN, **fields: Any) -> tuple[int, bytes]:
    """What the Worker's own route for callers answers."""
    job = {"session_id": "s1", "asset_id": "cup"} | fields
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    return post(f"{worker.url}/generate", json.dumps(job).encode(), headers)


def accepted(answer: tuple[int, bytes]) -> str:
    """The id of the job that the Worker submitted."""
    status, body = answer
    assert status == 202, body
    return json.loads(body)["job_id"]


def delivered(factory: House, job_id: str) -> list[dict[str, Any]]:
    """The attempts of a delivery that was accepted."""

    def attempts() -> list[dict[str, Any]] | None:
        seen = factory.job(job_id)["deliveries"]
        assert not seen or seen[-1]["state"] != "dead", seen
        return seen if seen and seen[-1]["state"] == "accepted" else None

    return wait_for(attempts, f"the delivery of {job_id} is accepted")


def kept_event(worker: WorkerRuntime, webhook_id: str) -> dict[str, Any]:
    record = worker.get(f"events/{webhook_id}.json")
    assert record is not None
    return json.loads(record["text"])


def kept(worker: WorkerRuntime, job_id: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The event and the mesh of a job as they lie in R2; the mesh's `version` is another after each write."""
    mesh = worker.get(f"meshes/{job_id}/cup.stl")
    assert mesh is not None
    return kept_event(worker, f"{job_id}:done"), mesh


def assert_is_the_mesh(mesh: dict[str, Any], event: dict[str, Any], factory: House, job_id: str) -> None:
    file = factory.ask("GET", f"/jobs/{job_id}/mesh").body
    assert mesh["size"] == len(file) > MESH_BYTES
    assert mesh["sha256"] == hashlib.sha256(file).hexdigest() == event["data"]["artifact"]["sha256"]
    assert mesh["contentType"] == "model/stl"
    assert mesh["customMetadata"] == {"session_id": "s1", "asset_id": "cup"}


def test_it_passes_the_strict_type_checker(example: Installed) -> None:
    checked = example.run("tsc", "--noEmit")

    assert (checked.returncode, checked.stdout) == (0, "")


@pytest.fixture(scope="module")
def job_id(factory: House, worker: WorkerRuntime) -> str:
    """A job that came through the Worker, with a picture from R2, and was delivered to it."""
    worker.put("pictures/cup.png", cut_out_png(), "image/png")
    job_id = accepted(generate(worker, picture="pictures/cup.png", webhook_format="multipart"))
    delivered(factory, job_id)
    return job_id


def test_a_picture_in_r2_becomes_a_mesh_of_34_mb_in_r2(
    factory: House, worker: WorkerRuntime, job_id: str
) -> None:
    event, mesh = kept(worker, job_id)

    assert event["type"] == "generation.succeeded"
    assert_is_the_mesh(mesh, event, factory, job_id)


def test_a_delivery_that_is_asked_for_again_is_accepted_and_changes_nothing(
    factory: House, worker: WorkerRuntime, job_id: str
) -> None:
    before = kept(worker, job_id)

    assert factory.ask("POST", f"/jobs/{job_id}/redeliver").status == 202
    attempts = wait_for(lambda: (seen := delivered(factory, job_id))[1:] and seen, "it was delivered again")

    assert [attempt["status"] for attempt in attempts] == [200, 200]
    assert kept(worker, job_id) == before


def test_a_spoiled_stream_of_34_mb_is_refused_by_r2_and_a_lost_answer_writes_nothing_twice(
    factory: House, worker: WorkerRuntime, relay: Relay, outside: Outside
) -> None:
    relay.spoiled.append(one_bit_changed)
    relay.answers_lost.add(2)
    job_id = factory.submit(
        asset_id="cup", image_url=outside.url("/c.png"), webhook_url=relay.url, webhook_format="binary"
    )
    wait_for(lambda: len(relay.passed) >= 2, "the service tried again")
    _, first = kept(worker, job_id)

    attempts = delivered(factory, job_id)

    assert [attempt["status"] for attempt in attempts] == [503, 502, 200]
    assert [(each.status, each.answer) for each in relay.passed] == [
        (503, b"not kept, send it again\n"),
        (200, b"kept\n"),
        (200, b"known\n"),
    ]
    event, mesh = kept(worker, job_id)
    assert mesh["version"] == first["version"], "it was written once"
    assert_is_the_mesh(mesh, event, factory, job_id)


@pytest.fixture(scope="module")
def failure(factory: House, worker: WorkerRuntime, outside: Outside) -> Passed:
    """A delivery as the service made it, of a job that failed."""
    line = Relay(f"{worker.url}/webhook")
    job_id = factory.submit(image_url=outside.url("/none.txt"), webhook_url=line.url, webhook_format="binary")
    delivered(factory, job_id)
    line.close()
    return line.passed[-1]


def test_the_event_of_a_failed_job_is_kept(failure: Passed, worker: WorkerRuntime) -> None:
    event = kept_event(worker, failure.headers["webhook-id"])

    assert failure.status == 200
    assert event["type"] == "generation.failed"
    assert event["data"]["error"]["code"] == "image_download_failed"


@pytest.mark.parametrize("form", [{}, {"webhook_format": "multipart"}], ids=["binary", "multipart"])
def test_the_event_of_a_cancelled_job_is_kept(
    factory: House, worker: WorkerRuntime, outside: Outside, form: dict[str, str]
) -> None:
    outside.may_answer.clear()
    job_id = accepted(generate(worker, image_url=outside.url("/held.png"), **form))
    factory.ask("DELETE", f"/jobs/{job_id}")
    outside.may_answer.set()

    delivered(factory, job_id)

    assert kept_event(worker, f"{job_id}:done")["type"] == "generation.cancelled"


def test_a_mesh_that_comes_as_a_link_is_fetched_into_r2(
    house: House, worker: WorkerRuntime, outside: Outside
) -> None:
    job_id = house.submit(
        asset_id="cup",
        image_url=outside.url("/a.png"),
        webhook_url=f"{worker.url}/webhook",
        webhook_format="link",
    )
    wait_for(lambda: worker.get(f"events/{job_id}:done.json"), "the delivery is kept")

    _, mesh = kept(worker, job_id)
    assert mesh["sha256"] == house.job(job_id)["artifact"]["sha256"]
    assert mesh["size"] > 84


def test_the_services_own_webhook_test_is_accepted(worker: WorkerRuntime) -> None:
    done = webhook_test(worker, SECRET)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "Accepted: the receiver answered 200." in done.stdout


def test_the_services_own_webhook_test_tells_that_the_secret_is_another_one(worker: WorkerRuntime) -> None:
    done = webhook_test(worker, FORGED)

    assert done.returncode == 1
    assert "does it hold the same secret" in done.stdout


def webhook_test(worker: WorkerRuntime, secret: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "main.py", "webhook-test", f"{worker.url}/webhook", "--format", "binary"],
        cwd=ROOT,
        env=os.environ | {"WEBHOOK_SECRET": secret},
        capture_output=True,
        text=True,
        timeout=240,
    )


def signed(failure: Passed, secret: str, moment_s: float) -> dict[str, str]:
    """Headers of the same delivery, signed with `secret` at another time."""
    moment = datetime.fromtimestamp(int(moment_s), UTC)
    id, event = failure.headers["webhook-id"], failure.body.decode()
    signature = Webhook(secret).sign(msg_id=id, timestamp=moment, data=event)
    stamp = {"webhook-timestamp": str(int(moment_s)), "webhook-signature": signature}
    return failure.headers | stamp


@pytest.mark.parametrize("secret", [SECRET, OLD_SECRET])
def test_a_signature_of_any_secret_in_use_is_taken(failure: Passed, relay: Relay, secret: str) -> None:
    passed = relay.send(signed(failure, secret, time.time()), failure.body)

    assert (passed.status, passed.answer) == (200, b"known\n")


def test_a_delivery_that_was_changed_aged_or_made_by_others_is_refused(failure: Passed, relay: Relay) -> None:
    headers, body, now_s = failure.headers, failure.body, time.time()
    unsigned = {name: value for name, value in headers.items() if name != "webhook-signature"}
    attempts = {
        "another event": (headers, body.replace(b"generation.failed", b"generation.succeeded")),
        "another id": (headers | {"webhook-id": "another"}, body),
        "another time": (headers | {"webhook-timestamp": str(int(now_s) + 1)}, body),
        "another secret": (signed(failure, FORGED, now_s), body),
        "no signature": (unsigned, body),
        "no readable signature": (headers | {"webhook-signature": "v1,### v2,AAAA v1, ###"}, body),
        "no readable time": (headers | {"webhook-timestamp": "now"}, body),
        "too old": (signed(failure, SECRET, now_s - 400), body),
        "from the future": (signed(failure, SECRET, now_s + 400), body),
        "an event in the header that is not the signed one": (headers | {"x-generation-event": "{}"}, body),
    }

    statuses = {name: relay.send(*attempt).status for name, attempt in attempts.items()}

    assert statuses == dict.fromkeys(attempts, 401)


def test_only_callers_with_the_token_submit_and_the_services_own_refusal_reaches_them(
    worker: WorkerRuntime, outside: Outside
) -> None:
    assert generate(worker, token="guessed", image_url=outside.url("/a.png"))[0] == 401
    assert generate(worker, picture="pictures/none.png")[0] == 404
    assert post(f"{worker.url}/generate", b"no json", {"Authorization": f"Bearer {TOKEN}"})[0] == 400

    status, problem = generate(worker, image_url=outside.url("/a.png"), quality="superb")

    assert status == 422
    assert json.loads(problem)["errors"][0]["field"] == "quality", problem


def test_without_its_secrets_it_lets_nobody_in(example: Installed, script: Path, failure: Passed) -> None:
    bare = WorkerRuntime(example, script, {"ENGINE_URL": "http://127.0.0.1:9"})
    try:
        submitted = generate(bare, token="undefined", image_url="https://example.com/a.png")
        delivered = post(f"{bare.url}/webhook", failure.body, failure.headers)
    finally:
        bare.close()

    assert (submitted[0], delivered[0]) == (401, 503)


def test_what_it_does_not_know_it_refuses(worker: WorkerRuntime) -> None:
    assert post(f"{worker.url}/elsewhere", b"", {})[0] == 404
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert post(f"{worker.url}/webhook", b"--b--\r\n", form)[0] == 400
