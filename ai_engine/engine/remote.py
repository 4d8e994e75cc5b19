"""Jobs at a service elsewhere, over its HTTP API. Needs no model and no torch.

A request that may have been lost is sent again under the same Idempotency-Key: it makes one job. A stream of events
that breaks is opened again where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import httpx2

from ai_engine.api.request_schema import JobRequest, VariantRequest
from ai_engine.engine.generated import Generated, GenerationFailed, Pictures, ServerRefused, StageProgress
from ai_engine.facts import MeshFacts, MeshFormat, PrintFacts
from ai_engine.stage_result import JobFailure

ATTEMPTS = 6
"""In a row that may fail before the service counts as out of reach."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
READ_TIMEOUT_S = 60.0
"""A stream of events says something every 15 s."""
_BUSY = frozenset({429, 502, 503, 504})

OF_VARIANT = set(VariantRequest.model_fields) - {
    *("webhook_url", "webhook_format", "upload_url", "upload_headers", "formats"),
}
"""The fields of a request that a file in another format is asked with: nothing is delivered a second time."""
T = TypeVar("T")


class RemoteEngine:
    """A client of one service."""

    def __init__(self, address: str, *, key: str | None = None) -> None:
        """Opens no connection yet; raises ValueError if `address` is no http(s) URL."""
        if not address.lower().startswith(("http://", "https://")):
            raise ValueError(f"{address!r} is no address of a service: it begins with http:// or https://")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx2.Timeout(READ_TIMEOUT_S, connect=10.0)
        try:
            self._client = httpx2.Client(base_url=address.rstrip("/"), headers=headers, timeout=timeout)
        except httpx2.InvalidURL as error:
            raise ValueError(f"{address!r} is no address of a service: {error}") from error
        # Also where nobody calls close().
        self._close = weakref.finalize(self, self._client.close)

    def generate(self, request: JobRequest, pictures: Pictures, progress: StageProgress) -> Generated:
        """The mesh that the request asks for.

        An exception on the way, KeyboardInterrupt too, cancels the job.

        Raises:
            GenerationFailed: the job ended without a mesh.
            ServerRefused: the service does not take the request, or can't be reached.
        """
        job_id = self.begin(request, pictures)
        return self._collect(request, self._wait_for(job_id, progress))

    def begin(self, request: JobRequest, pictures: Pictures) -> str:
        """The id of the new job that the request asks for; raises ServerRefused as `generate`."""
        fields = request.model_dump(mode="json", exclude_defaults=True)
        files = {part: (part, data) for part, data in pictures.by_part.items()}
        body: dict[str, Any] = {"data": _as_form(fields), "files": files} if files else {"json": fields}
        return self._submit("/generate-3d", body)

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as it stands; raises ServerRefused if it is not there for this key."""
        return self._read("GET", f"/jobs/{job_id}")

    def jobs(self, **wanted: Any) -> dict[str, Any]:
        """The latest jobs of the key, as `GET /jobs` lists them; raises ServerRefused as `generate`."""
        return self._read("GET", "/jobs", params=wanted)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Stops a job that waits or runs; how it then stands. Raises ServerRefused if it is not there for this key."""
        return self._read("DELETE", f"/jobs/{job_id}")

    def mesh(self, job: Mapping[str, Any]) -> bytes:
        """The mesh file of a job that succeeded; raises ServerRefused if it can't be had whole."""
        return self._download(job["job_id"], "mesh", job["artifact"]["sha256"])

    def gcode(self, job: Mapping[str, Any]) -> bytes | None:
        """What the slicer made of it; None where that was not asked. Raises ServerRefused as `mesh`."""
        slicing = job["print"].get("slicing")
        return self._download(job["job_id"], "gcode", slicing["gcode_sha256"]) if slicing else None

    def _read(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._ask(lambda: self._client.request(method, path, **content)).json()
        return found

    def _submit(self, route: str, body: dict[str, Any]) -> str:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return str(self._ask(lambda: self._client.post(route, headers=headers, **body)).json()["job_id"])

    def _wait_for(self, job_id: str, progress: StageProgress) -> dict[str, Any]:
        """The job when it has succeeded; it is cancelled by any exception on the way.

        Raises:
            GenerationFailed: it ended without a mesh.
            ServerRefused: the service can't be reached.
        """
        try:
            job = self._follow(job_id, progress)
        except BaseException:
            self._cancel_quietly(job_id)
            raise
        if job["status"] != "succeeded":
            raise GenerationFailed(JobFailure.from_dict(job["error"]))
        return job

    def _ask(self, send: Callable[[], httpx2.Response]) -> httpx2.Response:
        """The answer, a success; asked again where the service is busy or out of reach."""

        def send_once() -> httpx2.Response:
            answer = send()
            if answer.status_code in _BUSY:
                raise _Busy(_problem(answer), _seconds(answer.headers.get("retry-after")))
            if not answer.is_success:
                raise ServerRefused(_problem(answer))
            return answer

        return _insistently(send_once)

    def _follow(self, job_id: str, progress: StageProgress) -> dict[str, Any]:
        """The job when it is over."""
        last_event_id = ""

        def follow() -> dict[str, Any]:
            nonlocal last_event_id
            headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
            with self._client.stream("GET", f"/jobs/{job_id}/events", headers=headers) as answer:
                if answer.status_code in _BUSY:
                    raise _Busy("the service is busy", _seconds(answer.headers.get("retry-after")))
                if not answer.is_success:
                    answer.read()
                    raise ServerRefused(_problem(answer))
                for event_id, name, data in read_events(answer.iter_lines()):
                    last_event_id = event_id or last_event_id
                    if name == "done":
                        return data
                    if name == "progress":
                        progress(data["stage"], data["done"], data["total"])
            raise _Busy("the stream of events ended before the job did", None)

        return _insistently(follow)

    def _collect(self, request: JobRequest, job: dict[str, Any]) -> Generated:
        artifact, report = job["artifact"], PrintFacts.from_dict(job["print"])
        x, y, z = artifact["bbox"]
        asked = request.model_dump(
            mode="json", exclude_defaults=True, include=set(VariantRequest.model_fields) - {"slice"}
        )

        def make_other(file_format: MeshFormat) -> bytes:
            """The file of a variant: the service finishes the mesh again, without its device."""
            body = {"json": asked | {"format": file_format}}
            variant_id = self._submit(f"/jobs/{job['job_id']}/variants", body)
            return self.mesh(self._wait_for(variant_id, lambda stage, done, total: None))

        return Generated(
            format=artifact["format"],
            data=self.mesh(job),
            facts=MeshFacts(artifact["format"], artifact["faces"], artifact["units"], (x, y, z), report),
            seed=job["options"]["seed"],
            model=job["model"],
            timings_s=job["timings_s"],
            other_format=make_other,
            gcode=self.gcode(job),
        )

    def _download(self, job_id: str, route: str, sha256: str) -> bytes:
        data = self._ask(lambda: self._client.get(f"/jobs/{job_id}/{route}")).content
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ServerRefused(f"The {route} that came is not the one of the job: its sha256 differs.")
        return data

    def _cancel_quietly(self, job_id: str) -> None:
        with suppress(httpx2.HTTPError):
            self._client.delete(f"/jobs/{job_id}")

    def close(self) -> None:
        """Closes the connections."""
        self._close()


class _Busy(Exception):
    """The service asks to come later, after so many seconds where it says so."""

    def __init__(self, detail: str, after_s: float | None) -> None:
        super().__init__(detail)
        self.after_s = after_s


def _insistently(work: Callable[[], T]) -> T:
    """What `work` gives back, tried again while the service is busy or out of reach.

    Raises:
        ServerRefused: it stays so.
    """
    pause_s = FIRST_PAUSE_S
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return work()
        except (_Busy, httpx2.TransportError) as error:
            if attempt == ATTEMPTS:
                raise ServerRefused(f"The service can't be used: {error}") from error
            wished_s = error.after_s if isinstance(error, _Busy) else None
            time.sleep(min(wished_s if wished_s is not None else pause_s, LONGEST_PAUSE_S))
            pause_s *= 2
    raise AssertionError("unreachable")


def read_events(lines: Iterator[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Id, name and data of each server-sent event."""
    event_id = name = ""
    for line in lines:
        field, _, value = line.partition(": ")
        if field == "id":
            event_id = value
        elif field == "event":
            name = value
        elif field == "data":
            yield event_id, name, json.loads(value)
            event_id = ""


def _as_form(fields: dict[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and value.isdigit() else None


def problem_line(problem: Mapping[str, Any]) -> str:
    """What the API says is wrong with a request, and the code of it."""
    errors = "; ".join(f"{one['field']}: {one['detail']}" for one in problem.get("errors") or ())
    return f"{errors or problem['detail']} ({problem['code']})"


def _problem(answer: httpx2.Response) -> str:
    """What the service says is wrong, in one line."""
    try:
        return problem_line(answer.json())
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"The service answered {answer.status_code}."
