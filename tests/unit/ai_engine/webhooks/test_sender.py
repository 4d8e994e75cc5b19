from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterable, Mapping
from dataclasses import replace
from email.parser import BytesParser
from email.policy import HTTP
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from support.peak_memory import CAN_BE_MEASURED

from ai_engine.outbound.addresses import AddressForbidden
from ai_engine.outbound.client import Answer
from ai_engine.outbound.deadline import TransferFailed
from ai_engine.storage.store import LocalStore
from ai_engine.webhooks.body import Delivery, MeshFile
from ai_engine.webhooks.event import EventText
from ai_engine.webhooks.sender import Outcome, WebhookClient, next_delay_s, retry_after_s
from ai_engine.webhooks.upload import Upload

ROOT = Path(__file__).resolve().parents[4]
SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg=="]
EVENT = json.dumps({"type": "generation.succeeded", "data": {"status": "completed"}}, separators=(",", ":"))
FAILED = json.dumps({"data": {"status": "failed", "error": {"code": "internal", "detail": "It\r\nbröke"}}})


class Receiver:
    """Stands where the guarded client stands: takes what is sent, answers what it was told."""

    def __init__(self, answer: Answer | Exception) -> None:
        self.answer = answer
        self.sent: dict[str, Any] = {}

    def send(
        self,
        method: str,
        url: str,
        content: Iterable[bytes],
        *,
        headers: Mapping[str, str],
        deadline_s: float,
        content_length: int,
    ) -> Answer:
        body = b"".join(content)
        self.sent = {"method": method, "url": url, "body": body, "headers": headers, "deadline_s": deadline_s}
        assert len(body) == content_length
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def event_of(text: str) -> EventText:
    return EventText(text, json.loads(text)["data"])


def answer(status: int, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def delivery(
    tmp_path: Path, form: Any = "multipart", *, event: str = EVENT, has_mesh: bool = True
) -> Delivery:
    mesh = MeshFile(lambda: iter([b"--mesh\r\n"] * 3), "a1.stl", "stl", 24, "ab" * 32) if has_mesh else None
    return Delivery("f" * 32, "s1", "a1", "https://example.com/hook", form, event_of(event), mesh)


def send(what: Delivery, reply: Answer | Exception, **settings: Any) -> tuple[Outcome, dict[str, Any]]:
    receiver = Receiver(reply)
    sender = WebhookClient(http=receiver, clock=lambda: 1_790_000_000.5, **settings)  # type: ignore[arg-type]
    return sender.send(what, 2), receiver.sent


def parts_of(sent: dict[str, Any]) -> dict[str, bytes]:
    head = f"Content-Type: {sent['headers']['Content-Type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + sent["body"])
    return {
        str(part.get_param("name", header="content-disposition")): bytes(part.get_payload(decode=True))
        for part in message.iter_parts()
    }


def test_a_success_is_a_form_of_texts_and_the_file(tmp_path: Path) -> None:
    outcome, sent = send(delivery(tmp_path), answer(204))

    assert outcome.is_accepted
    assert parts_of(sent) == {
        "session_id": b"s1",
        "asset_id": b"a1",
        "status": b"completed",
        "job_id": b"f" * 32,
        "event": EVENT.encode(),
        "file": b"--mesh\r\n" * 3,
    }


def test_a_failure_is_a_form_with_one_line_of_ascii_and_a_code(tmp_path: Path) -> None:
    _, sent = send(delivery(tmp_path, event=FAILED, has_mesh=False), answer(200))

    parts = parts_of(sent)
    assert list(parts) == ["session_id", "asset_id", "status", "error", "code", "job_id", "event"]
    assert parts["job_id"] == b"f" * 32
    assert (parts["status"], parts["error"], parts["code"]) == (b"failed", b"It br?ke", b"internal")


def test_a_failure_in_binary_form_is_the_event_as_json(tmp_path: Path) -> None:
    _, sent = send(delivery(tmp_path, "binary", event=FAILED, has_mesh=False), answer(200))

    assert sent["headers"]["Content-Type"] == "application/json"
    assert sent["body"].decode() == FAILED


def test_every_secret_signs_the_event_while_one_replaces_another(tmp_path: Path) -> None:
    signers = [Webhook(secret) for secret in SECRETS]
    sender = WebhookClient(http=Receiver(answer(200)), signers=signers)  # type: ignore[arg-type]

    headers = sender.headers(delivery(tmp_path), 1)

    for secret in SECRETS:
        assert Webhook(secret).verify(EVENT, headers)["type"] == "generation.succeeded"


def test_without_a_secret_there_is_no_signature(tmp_path: Path) -> None:
    _, sent = send(delivery(tmp_path), answer(200))

    assert "webhook-signature" not in sent["headers"]
    assert sent["headers"]["webhook-id"] == "f" * 32 + ":done"
    assert sent["headers"]["webhook-timestamp"] == "1790000000"
    assert sent["headers"]["X-Delivery-Attempt"] == "2"


def test_a_larger_file_gets_more_time(tmp_path: Path) -> None:
    what = delivery(tmp_path)

    _, sent = send(what, answer(200), timeout_s=30.0, timeout_s_per_mb=1e6)

    assert sent["deadline_s"] == pytest.approx(30 + len(sent["body"]))


@pytest.mark.parametrize("status", [302, 400, 404, 413, 500])
def test_any_other_answer_is_tried_again(tmp_path: Path, status: int) -> None:
    outcome, _ = send(delivery(tmp_path), answer(status))

    assert (outcome.is_accepted, outcome.is_final, outcome.status) == (False, False, status)


def test_gone_and_a_forbidden_address_end_it(tmp_path: Path) -> None:
    assert send(delivery(tmp_path), answer(410))[0].is_final
    assert send(delivery(tmp_path), AddressForbidden("not public"))[0].is_final


def test_a_transfer_that_fails_is_tried_again(tmp_path: Path) -> None:
    outcome, _ = send(delivery(tmp_path), TransferFailed("the connection broke", is_retryable=True))

    assert (outcome.is_final, outcome.detail) == (False, "the connection broke")


@pytest.mark.parametrize(("status", "wait_s"), [(429, 120.0), (503, 120.0), (500, 0.0)])
def test_only_a_busy_receiver_says_when_to_come_back(tmp_path: Path, status: int, wait_s: float) -> None:
    outcome, _ = send(delivery(tmp_path), answer(status, retry_after="120"))

    assert outcome.retry_after_s == wait_s


def test_a_receiver_can_not_ask_for_more_than_an_hour(tmp_path: Path) -> None:
    outcome, _ = send(delivery(tmp_path), answer(503, retry_after="999999"))

    assert outcome.retry_after_s == 3600


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17", 17.0),
        ("Mon, 21 Sep 2026 14:13:50 GMT", 30.0),
        ("Mon, 21 Sep 2020 14:13:50 GMT", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("1e9", 0.0),
        ("²", 0.0),
        ("", 0.0),
        (None, 0.0),
        ("9" * 5000, 999999999.0),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999999999999", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(value: str | None, seconds: float) -> None:
    assert retry_after_s(value, 1_790_000_000.0) == seconds


def longest(low: float, high: float) -> float:
    return high


def test_attempts_follow_the_schedule_with_jitter_and_then_end() -> None:
    refused = Outcome(False, False, 500, "")
    delays = (0.0, 5.0, 30.0)

    assert next_delay_s(refused, 1, delays, longest) == 6.0
    assert next_delay_s(refused, 2, delays, longest) == 36.0
    assert next_delay_s(refused, 3, delays, longest) is None


def test_nothing_follows_an_accepted_or_final_attempt() -> None:
    assert next_delay_s(Outcome(True, True, 200, ""), 1, (0.0, 5.0), longest) is None
    assert next_delay_s(Outcome(False, True, 410, ""), 1, (0.0, 5.0), longest) is None


def test_the_next_attempt_comes_no_sooner_than_the_receiver_asked() -> None:
    assert next_delay_s(Outcome(False, False, 503, "", 100.0), 1, (0.0, 5.0), longest) == 100.0


def test_a_large_file_is_sent_without_ever_being_in_memory_whole(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(64_000_000)

    what, store = delivery(tmp_path), LocalStore(tmp_path)
    artifact = store.put("job", "mesh.stl", write)
    mesh = MeshFile(partial(store.read, artifact), "a1.stl", "stl", artifact.size, artifact.sha256)
    large = Delivery(what.job_id, "s1", "a1", what.url, "multipart", event_of(EVENT), mesh)
    sent = []

    class Counting(Receiver):
        def send(self, method: str, url: str, content: Iterable[bytes], **rest: Any) -> Answer:
            sent.append(sum(len(chunk) for chunk in content))
            assert sent == [rest["content_length"]]
            return answer(200)

    tracemalloc.start()
    WebhookClient(http=Counting(answer(200))).send(large, 1)  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert sent[0] > 64_000_000
    assert peak < 4_000_000


def test_the_link_form_is_the_event_alone(tmp_path: Path) -> None:
    _, sent = send(delivery(tmp_path, "link"), answer(200))

    assert (sent["headers"]["Content-Type"], sent["body"].decode()) == ("application/json", EVENT)


class Post(Receiver):
    """Answers one request after the other."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.all_sent: list[dict[str, Any]] = []

    def send(self, method: str, url: str, content: Iterable[bytes], **rest: Any) -> Answer:
        self.answer = self.answers.pop(0)
        super().send(method, url, content, **rest)
        self.all_sent.append(self.sent)
        return self.answer


def uploading(tmp_path: Path, **changes: Any) -> Delivery:
    upload = Upload("https://bucket.example.com/a1.stl?sign=1", {"content-type": "model/stl"})
    return replace(delivery(tmp_path), upload=upload, **changes)


def test_an_upload_is_put_with_its_type_and_then_the_webhook_carries_the_event_alone(tmp_path: Path) -> None:
    post = Post(answer(200), answer(204))

    outcome = WebhookClient(http=post).send(uploading(tmp_path), 1)  # type: ignore[arg-type]

    put, told = post.all_sent
    assert (put["method"], put["body"]) == ("PUT", b"--mesh\r\n" * 3)
    assert put["headers"] == {"content-type": "model/stl"}, "nothing more: it would break the URL's signature"
    assert (told["method"], told["body"].decode()) == ("POST", EVENT)
    assert (outcome.is_accepted, outcome.is_uploaded) == (True, True)


def test_an_upload_that_fails_is_told_as_such_and_the_webhook_waits(tmp_path: Path) -> None:
    post = Post(answer(403))

    outcome = WebhookClient(http=post).send(uploading(tmp_path), 1)  # type: ignore[arg-type]

    assert (outcome.is_accepted, outcome.is_final, outcome.is_uploaded) == (False, False, False)
    assert outcome.detail == "the file could not be uploaded: the upload's server answered 403"


@pytest.mark.parametrize(
    ("status", "is_final", "is_doubtful"),
    [
        *((status, True, False) for status in (301, 302, 303, 304)),
        *((status, True, True) for status in (410, 411)),
        (501, True, False),
        *((status, False, True) for status in (400, 401, 403, 404, 405, 412, 413)),
        *((status, False, False) for status in (408, 409, 425, 429, 500, 502, 503)),
    ],
)
def test_an_upload_is_judged_by_what_its_server_answers(
    tmp_path: Path, status: int, is_final: bool, is_doubtful: bool
) -> None:
    outcome = WebhookClient(http=Post(answer(status))).send(uploading(tmp_path), 1)  # type: ignore[arg-type]

    assert (outcome.is_final, outcome.is_doubtful, outcome.is_upload) == (is_final, is_doubtful, True)
    assert outcome.status == status


@pytest.mark.parametrize("status", [307, 308])
def test_an_upload_follows_one_redirect_with_method_body_and_headers(tmp_path: Path, status: int) -> None:
    post = Post(answer(status, location="/eu/a1.stl"), answer(200), answer(204))

    outcome = WebhookClient(http=post).send(uploading(tmp_path), 1)  # type: ignore[arg-type]

    first, second, _ = post.all_sent
    assert outcome.is_uploaded
    assert second["url"] == "https://bucket.example.com/eu/a1.stl"
    assert [first[name] == second[name] for name in ("method", "body", "headers")] == [True] * 3


@pytest.mark.parametrize(
    "answers",
    [
        [answer(307)],
        [answer(307, location="http://bucket.example.com/plain")],
        [answer(307, location="https://[::bad/")],
        [answer(308, location="/a"), answer(308, location="/b")],
    ],
)
def test_a_redirect_that_can_not_be_followed_ends_the_upload(tmp_path: Path, answers: list[Answer]) -> None:
    post = Post(*answers)

    outcome = WebhookClient(http=post).send(uploading(tmp_path), 1)  # type: ignore[arg-type]

    assert (outcome.is_final, outcome.is_upload, post.answers) == (True, True, [])


def test_a_redirect_to_a_forbidden_address_is_the_servers_fault(tmp_path: Path) -> None:
    class Redirecting(Post):
        def send(self, method: str, url: str, content: Iterable[bytes], **rest: Any) -> Answer:
            if not self.answers:
                raise AddressForbidden("not public")
            return super().send(method, url, content, **rest)

    post = Redirecting(answer(307, location="http://10.0.0.1/"))
    what = replace(uploading(tmp_path), upload=Upload("http://bucket.example.com/a", {}))
    outcome = WebhookClient(http=post).send(what, 1)  # type: ignore[arg-type]

    assert outcome.is_final
    assert "redirects to a forbidden URL" in outcome.detail


def test_what_is_uploaded_already_is_not_uploaded_again(tmp_path: Path) -> None:
    post = Post(answer(500))

    outcome = WebhookClient(http=post).send(uploading(tmp_path, is_uploaded=True), 2)  # type: ignore[arg-type]

    assert [sent["method"] for sent in post.all_sent] == ["POST"]
    assert (outcome.is_accepted, outcome.is_uploaded) == (False, True)


def test_an_upload_without_a_webhook_is_the_whole_delivery(tmp_path: Path) -> None:
    post = Post(answer(200))

    outcome = WebhookClient(http=post).send(uploading(tmp_path, url=None), 1)  # type: ignore[arg-type]

    assert (outcome.is_accepted, outcome.detail) == (True, "uploaded")


def test_a_body_too_large_is_followed_by_a_link_at_once_where_there_is_one(tmp_path: Path) -> None:
    refused, _ = send(replace(delivery(tmp_path), has_link=True), answer(413))
    nothing_to_link, _ = send(delivery(tmp_path), answer(413))
    link_refused, _ = send(replace(delivery(tmp_path, "link"), has_link=True), answer(413))

    assert refused.detail == "the receiver answered 413, a link follows"
    assert next_delay_s(refused, 1, (0.0,), longest) == 0.0
    assert (nothing_to_link.wants_link, link_refused.wants_link) == (False, False)
    assert "PUBLIC_URL" in nothing_to_link.detail


def test_a_delivery_in_another_form_than_asked_for_says_why(tmp_path: Path) -> None:
    _, sent = send(replace(delivery(tmp_path, "link"), fallback="payload_too_large"), answer(200))

    assert sent["headers"]["X-Delivery-Fallback"] == "payload_too_large"


@pytest.mark.skipif(not CAN_BE_MEASURED, reason="this system does not tell what a process held")
def test_200_mb_are_sent_in_flat_memory(tmp_path: Path) -> None:
    """A process of its own sends them over real HTTP; the most it ever held is measured from outside its heap."""
    port, received = listening()
    file = tmp_path / "mesh.stl"
    with file.open("wb") as handle:
        handle.truncate(200_000_000)

    grown_kb = subprocess.run(
        [sys.executable, "-c", SEND_AND_MEASURE, str(port), str(file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )

    assert received.get(timeout=60) == 200_000_000
    assert int(grown_kb.stdout) < 30_000


SEND_AND_MEASURE = """
import sys
from functools import partial
from pathlib import Path
from ai_engine.outbound.addresses import AddressPolicy
from ai_engine.storage.store import LocalStore
from ai_engine.outbound.client import GuardedClient
from ai_engine.job import Artifact
from ai_engine.webhooks.body import Delivery, MeshFile
from ai_engine.webhooks.event import EventText
from ai_engine.webhooks.sender import WebhookClient
from tests.support.peak_memory import peak_kb

port, file = sys.argv[1], Path(sys.argv[2])
artifact = Artifact(file.name, "00" * 32, file.stat().st_size)
mesh = MeshFile(partial(LocalStore(file.parent).read, artifact), "a.stl", "stl", artifact.size, artifact.sha256)
sender = WebhookClient(http=GuardedClient(AddressPolicy(is_development=True)))
url = f"http://127.0.0.1:{port}/"
small = Delivery("f" * 32, "s", "a", url, "binary", EventText("{}", {}), None)
assert sender.send(small, 1).is_accepted
before = peak_kb()
assert sender.send(Delivery("f" * 32, "s", "a", url, "binary", EventText("{}", {}), mesh), 1).is_accepted
print(peak_kb() - before)
"""


def listening() -> tuple[int, queue.Queue[int]]:
    """The port of a receiver that throws away what it reads, and where it counts the bytes of large bodies."""
    received: queue.Queue[int] = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            length = left = int(self.headers["content-length"])
            while left and (piece := self.rfile.read(min(left, 1 << 20))):
                left -= len(piece)
            if length > 1_000_000:
                received.put(length - left)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port, received
