"""The tools over HTTP, at `/mcp` of a service: jobs for callers with a key. Each tool asks the API as its caller would.

So keys, limits and checks are those of the API, in one place. Sessions are not kept: any API process answers any
request.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import httpx2
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ai_engine import __version__
from ai_engine.api.request_body import BASE64_GROWTH
from ai_engine.api.request_schema import VariantRequest
from ai_engine.assistants.tools import fields_model, given_fields
from ai_engine.engine.engine import ENGINE_FIELDS, PRINT_FIELDS
from ai_engine.engine.remote import problem_line
from ai_engine.job import JobStatus
from ai_engine.settings import Settings
from ai_engine.web.auth import Access, bearer, known_caller
from ai_engine.web.bodies import MAX_REQUEST_BYTES, declared_bytes

PATH = "/mcp"
LOOK_EVERY_S = 0.5
LONGEST_WAIT_S = 600.0
SESSION = "assistant"
"""`session_id` of the jobs that come this way."""
PASSED_ON = ("authorization", "host", "origin")
"""Headers of the caller that go along with the questions to the API."""
INSTRUCTIONS = (
    "Makes closed, printable 3D meshes of single objects from pictures. generate_mesh queues a job, and waits for it "
    "unless wait is false; wait_for_mesh goes on waiting. The job's print report says whether a slicer can print it; "
    "mesh_url is where the file is fetched, with the same key. finish_mesh makes another file of a job's mesh (height, "
    "faces, base, format) without computing it again. check_mesh reports on any mesh file, and repairs it."
)
JobId = Annotated[str, Field(description="As generate_mesh gave it.", pattern=r"^[0-9a-f]{32}$")]
Picture = Annotated[
    str, Field(description="http(s) URL of the picture, or data:image/...;base64, with its bytes.")
]
CallersMesh = Annotated[
    str,
    Field(
        description="http(s) URL of an STL, 3MF, OBJ, PLY or GLB file, or data:...;base64, with its bytes. In "
        "millimetres with Z up, GLB in metres with Y up."
    ),
]
FileName = Annotated[str, Field(description="Becomes the file's name.", pattern=r"^[A-Za-z0-9._-]{1,64}$")]
NewName = Annotated[FileName | None, Field(description="Name of the new file; the job's unless given.")]
Webhook = Annotated[str | None, Field(description="Where the mesh is delivered, besides.")]
Wait = Annotated[bool, Field(description="Answer when the job is over.")]
Status = Annotated[JobStatus | None, Field(description="Only those that stand so.")]
Limit = Annotated[int, Field(ge=1, le=200)]
MeshOptions: Any = fields_model("MeshOptions", (*ENGINE_FIELDS, "format", "formats", "priority"))
FinishOptions: Any = fields_model(
    "FinishOptions",
    (*PRINT_FIELDS, "thumbnail", "format", "formats", "priority", "timeout_s"),
    VariantRequest,
)
AnyContext = Context[Any, Any]


def add_mcp(app: Starlette) -> None:
    """Serves the tools at PATH of `app`."""
    settings: Settings = app.state.service.settings
    max_bytes = MAX_REQUEST_BYTES + int(settings.image_max_bytes * BASE64_GROWTH)
    manager = StreamableHTTPSessionManager(
        app=_server(app)._lowlevel_server, stateless=True, max_request_body_size=max_bytes
    )
    app.router.routes.append(Route(PATH, _Endpoint(manager, max_bytes)))
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(running: Starlette) -> AsyncIterator[Any]:
        async with before(running) as state, manager.run():
            yield state

    app.router.lifespan_context = lifespan


class _Endpoint:
    """The protocol's own handler, for callers with a key."""

    def __init__(self, manager: StreamableHTTPSessionManager, max_bytes: int) -> None:
        self.manager, self.max_bytes = manager, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        caller = await known_caller(request, await bearer(request))
        access: Access = request.app.state.access
        with access.bodies.hold(caller.who) as held:
            held.grow_to(min(declared_bytes(request) or self.max_bytes, self.max_bytes))
            await self.manager.handle_request(scope, receive, send)


@dataclass(frozen=True)
class JobTools:
    """The tools, each a question to the API of `app`."""

    app: Starlette

    async def generate_mesh(
        self,
        context: AnyContext,
        picture: Picture,
        name: FileName = "mesh",
        webhook_url: Webhook = None,
        options: MeshOptions | None = None,
        wait: Wait = True,
    ) -> dict[str, Any]:
        """Turns a picture of one object into a closed mesh: a job, and its result when it is over."""
        fields = _fields(
            options, session_id=SESSION, asset_id=name, image_url=picture, webhook_url=webhook_url
        )
        async with _api(self.app, context) as api:
            return await _begin(api, "/generate-3d", fields, context, wait=wait)

    async def finish_mesh(
        self,
        context: AnyContext,
        job_id: JobId,
        name: NewName = None,
        webhook_url: Webhook = None,
        options: FinishOptions | None = None,
        wait: Wait = True,
    ) -> dict[str, Any]:
        """Finishes a job's mesh once more, in other formats or at another height: a new job, which needs no device.
        Options that are left out are the defaults, not the first job's.
        """
        fields = _fields(options, asset_id=name, webhook_url=webhook_url)
        async with _api(self.app, context) as api:
            return await _begin(api, f"/jobs/{job_id}/variants", fields, context, wait=wait)

    async def check_mesh(
        self,
        context: AnyContext,
        mesh: CallersMesh,
        name: FileName = "mesh",
        webhook_url: Webhook = None,
        options: FinishOptions | None = None,
        wait: Wait = True,
    ) -> dict[str, Any]:
        """What a slicer will find in a mesh file: a job, whose `check` is the report on it as it came. The job's mesh
        is the same repaired and finished by the options; `print` is the report on that.
        """
        fields = _fields(options, session_id=SESSION, asset_id=name, mesh_url=mesh, webhook_url=webhook_url)
        async with _api(self.app, context) as api:
            return await _begin(api, "/mesh-checks", fields, context, wait=wait)

    async def wait_for_mesh(self, context: AnyContext, job_id: JobId) -> dict[str, Any]:
        """The job when it is over, or as it stands after ten minutes; progress is reported meanwhile."""
        async with _api(self.app, context) as api:
            return await _wait_for(api, job_id, context)

    async def get_job(self, context: AnyContext, job_id: JobId) -> dict[str, Any]:
        """How far a job is, and what came out."""
        async with _api(self.app, context) as api:
            return await _job(api, job_id)

    async def cancel_job(self, context: AnyContext, job_id: JobId) -> dict[str, Any]:
        """Stops a job that waits or runs."""
        async with _api(self.app, context) as api:
            return await _ask(api, "DELETE", f"/jobs/{job_id}")

    async def list_jobs(
        self, context: AnyContext, status: Status = None, limit: Limit = 20
    ) -> dict[str, Any]:
        """Your latest jobs, newest first."""
        wanted: dict[str, Any] = {"limit": limit} | ({} if status is None else {"status": status.value})
        async with _api(self.app, context) as api:
            return await _ask(api, "GET", "/jobs", params=wanted)


def _server(app: Starlette) -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("ai-engine", version=__version__, instructions=INSTRUCTIONS)
    tools = JobTools(app)
    for tool in (
        tools.generate_mesh,
        tools.finish_mesh,
        tools.check_mesh,
        tools.wait_for_mesh,
        tools.get_job,
        tools.cancel_job,
        tools.list_jobs,
    ):
        server.add_tool(tool)
    return server


@asynccontextmanager
async def _api(app: Starlette, context: AnyContext) -> AsyncIterator[httpx2.AsyncClient]:
    """The API of this process, asked in the caller's name."""
    sent = context.headers or {}
    headers = {name: sent[name] for name in PASSED_ON if name in sent}
    request = context.request_context.request
    address = (
        (request.client.host, request.client.port)
        if request is not None and request.client
        else ("unknown", 0)
    )
    transport = httpx2.ASGITransport(app=app, client=address)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://localhost", headers=headers
    ) as client:
        yield client


async def _ask(api: httpx2.AsyncClient, method: str, path: str, **content: Any) -> dict[str, Any]:
    """The answer's JSON.

    Raises:
        ToolError: the API refuses; with its sentence and code.
    """
    answer = await api.request(method, path, **content)
    said: dict[str, Any] = json.loads(answer.content)
    if not answer.is_success:
        raise ToolError(problem_line(said))
    return said


def _fields(options: BaseModel | None, **named: str | None) -> dict[str, Any]:
    """The fields of a request: the named ones that are there, and the options that were given."""
    return {name: value for name, value in named.items() if value is not None} | given_fields(options)


async def _begin(
    api: httpx2.AsyncClient, path: str, fields: dict[str, Any], context: AnyContext, *, wait: bool
) -> dict[str, Any]:
    """The job that `fields` ask for: when it is over, or as it begins."""
    job_id = (await _ask(api, "POST", path, json=fields))["job_id"]
    return await (_wait_for(api, job_id, context) if wait else _job(api, job_id))


async def _job(api: httpx2.AsyncClient, job_id: str) -> dict[str, Any]:
    job = await _ask(api, "GET", f"/jobs/{job_id}")
    is_done = job["status"] == JobStatus.SUCCEEDED
    return job | ({"mesh_url": f"/jobs/{job_id}/mesh"} if is_done else {})


async def _wait_for(api: httpx2.AsyncClient, job_id: str, context: AnyContext) -> dict[str, Any]:
    waited_s, reported = 0.0, ("", -1.0)
    while True:
        job = await _job(api, job_id)
        if job["ended_at"] is not None or waited_s >= LONGEST_WAIT_S:
            return job
        if (job["stage"], job["progress"]) != reported:
            reported = (job["stage"], job["progress"])
            await context.report_progress(job["progress"], 1.0, job["stage"])
        await asyncio.sleep(LOOK_EVERY_S)
        waited_s += LOOK_EVERY_S
