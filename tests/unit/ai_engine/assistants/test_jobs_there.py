"""Jobs at a service, whose part an HTTP server plays that answers as a test says."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ai_engine.api.request_schema import JobRequest
from ai_engine.assistants.jobs_there import JobsThere
from ai_engine.engine.generated import Pictures, ServerRefused
from ai_engine.engine.remote import RemoteEngine
from ai_engine.job import JobStatus

JOB_ID = "a" * 32
MESH, GCODE = b"a mesh", b"G28"
REQUEST = JobRequest(session_id="s", asset_id="vase", image_url="https://example.com/vase.png")


def job(status: str, stage: str = "denoise", progress: float = 0.4, **more: Any) -> dict[str, Any]:
    known = {"job_id": JOB_ID, "asset_id": "vase", "status": status, "stage": stage, "progress": progress}
    return known | {"artifact": None, "error": None} | more


def finished(**print_facts: Any) -> dict[str, Any]:
    sha256 = hashlib.sha256(MESH).hexdigest()
    artifact = {"format": "stl", "faces": 12, "units": "mm", "bbox": [1, 2, 3], "sha256": sha256}
    more = {"artifact": artifact, "options": {"seed": 3}, "model": {}, "timings_s": {}, "print": print_facts}
    return job("succeeded", "finish", 1.0, **more)


@dataclass
class Service:
    """What it answers to each method and path, and what it was asked."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    jobs: JobsThere = field(init=False)


@pytest.fixture
def service() -> Iterator[Service]:
    one = Service()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            one.asked.append(asked := f"{self.command} {self.path}")
            said = one.answers.get(asked)
            self.send_response(404 if said is None else 200)
            self.end_headers()
            problem = {"detail": "There is no such job.", "code": "not_found"}
            self.wfile.write(said if isinstance(said, bytes) else json.dumps(said or problem).encode())

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        engine = RemoteEngine(f"http://127.0.0.1:{server.server_port}")
        one.jobs = JobsThere(engine)
        yield one
        engine.close()
        server.shutdown()


def test_the_mesh_of_a_job_of_this_session_is_written_once_it_is_there(
    service: Service, tmp_path: Path
) -> None:
    path = f"GET /jobs/{JOB_ID}"
    service.answers |= {"POST /generate-3d": {"job_id": JOB_ID}, path: job("running"), f"{path}/mesh": MESH}
    job_id = service.jobs.begin(REQUEST, Pictures(), tmp_path / "vase.stl")
    running = service.jobs.look(job_id)
    service.answers[path] = finished()
    done = [service.jobs.look(job_id) for _ in range(2)]

    assert (running.status, running.file) == (JobStatus.RUNNING, None)
    assert [one.file for one in done] == [str(tmp_path / "vase.stl")] * 2
    assert [step.stage for step in done[1].steps] == ["denoise", "finish"]
    assert (tmp_path / "vase.stl").read_bytes() == MESH
    assert service.asked.count(f"{path}/mesh") == 1
    assert done[1].as_dict()["seed"] == 3


def test_gcode_comes_with_the_mesh_where_it_was_sliced(service: Service, tmp_path: Path) -> None:
    path = f"GET /jobs/{JOB_ID}"
    sliced = finished(slicing={"gcode_sha256": hashlib.sha256(GCODE).hexdigest()})
    service.answers |= {"POST /generate-3d": {"job_id": JOB_ID}, path: sliced}
    service.answers |= {f"{path}/mesh": MESH, f"{path}/gcode": GCODE}

    service.jobs.look(service.jobs.begin(REQUEST, Pictures(), tmp_path / "vase.stl"))

    assert (tmp_path / "vase.gcode").read_bytes() == GCODE


def test_a_job_that_another_program_began_is_seen_and_nothing_is_written(
    service: Service, tmp_path: Path
) -> None:
    service.answers[f"GET /jobs/{JOB_ID}"] = finished()
    done = service.jobs.look(JOB_ID)
    assert (done.status, done.file, done.as_dict()["faces"]) == (JobStatus.SUCCEEDED, None, 12)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_has_its_code(service: Service) -> None:
    error = {"code": "no_foreground", "detail": "Nothing."}
    service.answers[f"GET /jobs/{JOB_ID}"] = job("failed", error=error)
    assert service.jobs.look(JOB_ID).as_dict()["error"] == error


def test_the_list_is_that_of_the_key(service: Service) -> None:
    service.answers |= {
        "GET /jobs?limit=2": {"jobs": [{}, {}]},
        "GET /jobs?limit=5&status=failed": {"jobs": []},
    }
    assert service.jobs.latest(None, 2) == [{}, {}]
    assert service.jobs.latest(JobStatus.FAILED, 5) == []


def test_a_job_is_stopped_at_the_service(service: Service) -> None:
    service.answers[f"DELETE /jobs/{JOB_ID}"] = job("cancelled")
    service.jobs.cancel(JOB_ID)
    service.jobs.close()
    assert service.asked == [f"DELETE /jobs/{JOB_ID}"]


def test_an_id_of_no_job_is_refused_in_the_words_of_the_service(service: Service) -> None:
    for ask in (service.jobs.look, service.jobs.cancel):
        with pytest.raises(ServerRefused, match="no such job"):
            ask("0" * 32)
