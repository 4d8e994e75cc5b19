"""Dependencies of the compatible routes: the caller, the body within the API's limits, the job, another error form.

A route here turns another service's fields into those of `JobRequest`, and a job into that service's answer; admission,
queue and files are the API's own.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from ai_engine.api.dependencies import Service, find_summary
from ai_engine.api.job_routes import submit
from ai_engine.api.request_body import (
    MAX_PARTS,
    Reading,
    RequestHeaders,
    body_type,
    parse_json,
    submission_of,
)
from ai_engine.api.request_schema import NEEDS_IMAGE_URL, JobRequest
from ai_engine.errors import InvalidField, RequestRefused
from ai_engine.facts import VIEWS
from ai_engine.images.data_url import is_data_url
from ai_engine.images.formats import DownloadLimits
from ai_engine.job import Job
from ai_engine.job_queue.records import JobSummary
from ai_engine.web.auth import Caller, bearer, caller_of, key_in_url, refuse_other_origins
from ai_engine.web.bodies import Bodies
from ai_engine.web.problems import problem_of

LOOK_S = 0.25
"""Between two looks whether a job is over."""
_PICTURE = re.compile(rb':\s*"[^"]{1024,}"')
"""A picture among the fields of JSON: bare base64 or a data URL."""
_REFUSALS = (RequestRefused, ValidationError, OperationalError, InterfaceError)


@dataclass(frozen=True)
class Body:
    """What came in a request: fields, and file parts of a form."""

    fields: Mapping[str, Any]
    files: Sequence[tuple[str, UploadFile]] = ()


@dataclass(frozen=True)
class Asked:
    """One request by a known caller."""

    request: Request
    service: Service
    caller: Caller

    @asynccontextmanager
    async def body(self) -> AsyncIterator[Body]:
        """The fields of JSON or of a form, whose files can be read until the block ends.

        Raises:
            BodyTypeUnknown: it is neither, or compressed.
            BodyTooLarge: it has more bytes than four pictures need.
            DiskFull, NotReady, TooManyBodies: there is no room for it now.
            CrossOrigin: a page of another origin had a browser send the form.
            InvalidField: it can't be read.
        """
        if is_form := body_type(self.request) != "application/json":
            refuse_other_origins(self.request, self.service.settings)
        bodies: Bodies = self.request.app.state.access.bodies
        most = self._reading().max_bytes(len(VIEWS))
        with bodies.hold(self.caller.who) as held, ExitStack() as files:
            async with bodies.whole(self.request, held, most) as body:
                if not is_form:
                    yield Body(await body.run(lambda: _object(body.file.read(), self._reading())))
                    return
                parts = (await body.form(max_files=len(VIEWS), max_fields=MAX_PARTS)).multi_items()
                uploads = [(name, part) for name, part in parts if isinstance(part, UploadFile)]
                for _, part in uploads:
                    files.callback(part.file.close)
                yield Body({name: part for name, part in parts if isinstance(part, str) and part}, uploads)

    async def submit(self, fields: Mapping[str, Any], picture: UploadFile | None = None) -> Job:
        """The queued job of these fields of `JobRequest`; `picture` came as a file.

        Raises:
            pydantic.ValidationError: a field is unknown or out of bounds.
            RequestRefused: as `POST /generate-3d` refuses.
        """

        def run() -> Job:
            request = JobRequest.model_validate(fields, context=None if picture else NEEDS_IMAGE_URL)
            files = {} if picture is None else {"image": picture}
            how = self._reading()
            with how.files:
                job, _ = submit(self.service, submission_of(request, files, how))
            return job

        return await run_in_threadpool(run)

    async def summary(self) -> JobSummary:
        """What one row says of the job of the path; raises JobNotFound."""
        return await run_in_threadpool(self.find_known, self.request.path_params["job_id"])

    def find_known(self, job_id: str) -> JobSummary:
        """What one row says of a job of the caller; raises JobNotFound."""
        return find_summary(self.service, self.caller, job_id)

    async def wait_until_over(self, job_id: str) -> JobSummary:
        """The job when it is over. It is cancelled when the caller hangs up, for no other knows its id.

        Raises:
            ClientDisconnect: the caller hung up.
        """
        while True:
            known = await run_in_threadpool(self.service.engine.summary, job_id)
            if known.result is not None:
                return known
            if await self.request.is_disconnected():
                await run_in_threadpool(self.service.engine.cancel, known)
                raise ClientDisconnect()
            await asyncio.sleep(LOOK_S)

    def _reading(self) -> Reading[JobRequest]:
        headers = RequestHeaders(
            self.caller.owner,
            self.request.headers.get("idempotency-key"),
            self.request.headers.get("traceparent"),
        )
        return Reading(JobRequest, headers, DownloadLimits(max_bytes=self.service.settings.image_max_bytes))


Answer = Callable[[Asked], Awaitable[Response]]
Refuse = Callable[[Mapping[str, Any], int, Mapping[str, str]], Response]
"""A problem as the other service would answer it: the problem, the status, the headers."""


def answering(answer: Answer, refuse: Refuse) -> Callable[[Request], Awaitable[Response]]:
    """`answer` as an endpoint, whose refusals have the form that `refuse` gives them."""

    async def endpoint(request: Request) -> Response:
        try:
            sent = await bearer(request)
            caller = caller_of(request, sent.credentials if sent else key_in_url(request))
            service: Service = request.app.state.service
            service.require_connection()
            return await answer(Asked(request, service, caller))
        except _REFUSALS as error:
            return _refuse(problem_of(request, error), refuse)

    return endpoint


def _refuse(answer: JSONResponse, refuse: Refuse) -> Response:
    carried = {
        name: value for name, value in answer.headers.items() if name in ("retry-after", "www-authenticate")
    }
    return refuse(json.loads(bytes(answer.body)), answer.status_code, carried)


def _object(data: bytes, how: Reading[JobRequest]) -> Mapping[str, Any]:
    fields = parse_json(data, how, _PICTURE)
    if not isinstance(fields, dict):
        raise InvalidField("body", "must be a JSON object", code="json_invalid")
    return fields


def as_picture_url(text: object, field: str) -> str:
    """A picture as `image_url` takes it: a URL as it is, bare base64 as a data URL.

    Raises:
        InvalidField: it is no text.
    """
    if not isinstance(text, str) or not text:
        raise InvalidField(field, "a picture in base64 is needed", code="missing")
    is_url = is_data_url(text) or text[:8].lower().startswith(("http://", "https://"))
    return text if is_url else f"data:image/png;base64,{text}"
