"""A whole service that sends traces to a collector of our own, by OTLP as it goes over the wire; and its whole log."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ai_engine.web.api_keys import new_key, setting_entry
from service.house import House, Outside, wait_for

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KEY = new_key()
SECRET = "whsec_aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMg=="
PICTURE = "?X-Signature=hunter2-picture"
HOOK = "?token=hunter2-hook"


class Collector:
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sent = ExportTraceServiceRequest.FromString(body)
                if self.path == "/v1/traces":
                    spans.extend(
                        s for r in sent.resource_spans for scope in r.scope_spans for s in scope.spans
                    )
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    running = Collector()
    yield running
    running.close()


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "API_KEYS": setting_entry("shop", KEY),
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_DELAYS_S": "0,0.1",
        "LOG_LEVEL": "debug",
    }
    house = House(tmp_path_factory.mktemp("traced"), settings)
    with house.serving():
        yield house


def submit(house: House, outside: Outside, picture: str, hook: str) -> str:
    request = {
        "session_id": "s",
        "asset_id": "a",
        "image_url": outside.url(picture + PICTURE),
        "webhook_url": outside.url(hook + HOOK),
    }
    headers = {"Authorization": f"Bearer {KEY}", "traceparent": f"00-{TRACE}-{CALLER}-01"}
    answer = house.ask("POST", "/generate-3d", request, headers)
    assert answer.status == 202, answer.body
    return answer.json["job_id"]


def test_a_job_is_one_trace_below_its_callers_span_up_to_the_webhook(
    traced: House, outside: Outside, collector: Collector
) -> None:
    def picture(handler: BaseHTTPRequestHandler) -> None:
        from service.house import cut_out_png

        data = cut_out_png()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    outside.pictures["/traced.png" + PICTURE] = picture
    job_id = submit(traced, outside, "/traced.png", "/traced")

    (delivered,) = wait_for(lambda: outside.posts("/traced" + HOOK), "the webhook came")
    expected = {"job", "download", "cutout", "denoise", "finish", "deliver"}
    spans = wait_for(
        lambda: {s.name for s in collector.spans} == expected and {s.name: s for s in collector.spans},
        "all spans came",
    )
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    assert spans["job"].parent_span_id.hex() == CALLER
    assert {spans[name].parent_span_id for name in expected - {"job"}} == {spans["job"].span_id}
    assert delivered.headers["traceparent"] == f"00-{TRACE}-{spans['deliver'].span_id.hex()}-01"
    assert {a.key: a.value.string_value for a in spans["job"].attributes}["job.id"] == job_id


def test_after_a_whole_run_no_secret_stands_in_any_line_of_the_log(traced: House, outside: Outside) -> None:
    outside.answers["/refused" + HOOK] = [(500, {})] * 4
    delivered = submit(traced, outside, "/traced.png", "/refused")
    failed = submit(traced, outside, "/missing", "/refused")
    traced.ask(
        "GET", f"/jobs/{failed}?api_key=hunter2-query", headers={"Authorization": "Bearer hunter2-guess"}
    )
    for job_id in (delivered, failed):
        wait_for(partial(traced.events, "delivery dead", job_id, "serve"), "its delivery was given up")

    text = traced.log_path("serve").read_text()
    assert "request" in text
    assert not [
        secret for secret in ("hunter2", KEY, SECRET, SECRET.removeprefix("whsec_")) if secret in text
    ]
