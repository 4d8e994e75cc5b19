"""The tools as an MCP server over standard input and output. The work is that of `Engine`: here or at a service.

A tool reads the files that the assistant names and writes where it says, with the rights of the person who started it;
a file that is there already is left alone unless `overwrite` is given. A mesh is a job, so that an assistant whose
calls may not take long begins one and waits for it later.
"""

import os
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field, create_model

from ai_engine import __version__
from ai_engine.api.request_schema import JobRequest
from ai_engine.assistants.jobs_here import JobsHere
from ai_engine.assistants.jobs_there import JobsThere
from ai_engine.assistants.mesh_jobs import MeshJob, MeshJobs, UnknownJob, gcode_path, write_files
from ai_engine.engine.engine import ENGINE_FIELDS, PRINT_FIELDS, Engine
from ai_engine.engine.generated import GenerationFailed, ServerRefused
from ai_engine.engine.remote import RemoteEngine
from ai_engine.errors import JobError, MeshUnreadable, StartupError
from ai_engine.job import JobStatus
from ai_engine.mesh_files.sniff import format_of

LONGEST_WAIT_S = 600.0
INSTRUCTIONS = (
    "Makes closed, printable 3D meshes of single objects from pictures. Begin with generate_mesh, which waits for the "
    "mesh unless wait is false; wait_for_mesh goes on waiting, list_jobs lists. height_mm gives millimetres with Z up. "
    "The report says whether a slicer can print the mesh. finish_mesh changes height, face count or format of a mesh "
    "without computing it again; check_mesh reports on any mesh file."
)
Out = Annotated[
    str, Field(description="Path of the file to write; its suffix is the format: .stl .3mf .glb .obj .ply")
]
MeshPath = Annotated[str, Field(description="Path of an STL, 3MF, GLB, OBJ or PLY file.")]
Overwrite = Annotated[bool, Field(description="Replace the file if it is there already.")]
JobId = Annotated[str, Field(description="As generate_mesh gave it.", pattern=r"^[0-9a-f]{32}$")]
Wait = Annotated[bool, Field(description="Answer when the job is over.")]
Status = Annotated[JobStatus | None, Field(description="Only those that stand so.")]
Limit = Annotated[int, Field(ge=1, le=200)]
AnyContext = Context[Any, Any]
T = TypeVar("T")


def fields_model(
    name: str, fields: tuple[str, ...], request: type[BaseModel] = JobRequest
) -> type[BaseModel]:
    """A model of these fields of a request, each optional."""
    known = request.model_fields
    chosen: dict[str, Any] = {field: (known[field].annotation, known[field]) for field in fields}
    return create_model(name, __config__=ConfigDict(extra="forbid"), **chosen)


MeshOptions: Any = fields_model("MeshOptions", ENGINE_FIELDS)
FinishOptions: Any = fields_model("PrintOptions", PRINT_FIELDS)


@dataclass(frozen=True)
class FileTools:
    """The tools, whose meshes are files of this machine."""

    engine: Engine
    jobs: MeshJobs

    async def generate_mesh(
        self,
        context: AnyContext,
        picture: Annotated[str, Field(description="Path, http(s) URL or data URL of the picture.")],
        out: Out,
        mask: Annotated[str | None, Field(description="Path or URL of your own mask of it.")] = None,
        options: MeshOptions | None = None,
        overwrite: Overwrite = False,
        wait: Wait = True,
    ) -> dict[str, Any]:
        """Turns a picture of one object into a closed mesh file, and reports on it. Takes seconds to minutes."""
        wishes = given_fields(options)
        path = _writable(out, overwrite=overwrite, is_sliced="slice" in wishes)
        wishes |= {"format": format_of(path), "mask": mask and os.path.expanduser(mask)}
        asked = partial(self.engine.request, os.path.expanduser(picture), **wishes)
        job_id = await _in_thread(lambda: self.jobs.begin(*asked(), path))
        if not wait:
            return (await _in_thread(partial(self.jobs.look, job_id))).as_dict()
        try:
            job = await self._follow(job_id, context)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), suppress(ToolError):
                await _in_thread(partial(self.jobs.cancel, job_id))
            raise
        if job.error is not None:
            raise ToolError(f"{job.error['detail']} ({job.error['code']})")
        return job.as_dict()

    async def wait_for_mesh(self, context: AnyContext, job_id: JobId) -> dict[str, Any]:
        """The job when it is over, or as it stands after ten minutes; progress is reported meanwhile."""
        return (await self._follow(job_id, context)).as_dict()

    async def get_job(self, job_id: JobId) -> dict[str, Any]:
        """How far a job is, and what came out."""
        return (await _in_thread(partial(self.jobs.look, job_id))).as_dict()

    async def cancel_job(self, job_id: JobId) -> dict[str, Any]:
        """Stops a job that waits or runs."""
        await _in_thread(partial(self.jobs.cancel, job_id))
        return await self.get_job(job_id)

    async def list_jobs(self, status: Status = None, limit: Limit = 20) -> dict[str, Any]:
        """The latest jobs, newest first: of this session, or of your key where they run at a service."""
        return {"jobs": await _in_thread(partial(self.jobs.latest, status, limit))}

    async def finish_mesh(
        self, mesh: MeshPath, out: Out, options: FinishOptions | None = None, overwrite: Overwrite = False
    ) -> dict[str, Any]:
        """Repairs, scales or simplifies a mesh file and writes it in any format. No model, no device."""
        wishes = given_fields(options)
        path = _writable(out, overwrite=overwrite, is_sliced="slice" in wishes)
        wishes |= {"format": format_of(path)}
        finished = await _in_thread(partial(self.engine.finish, Path(mesh).expanduser(), **wishes))
        await _in_thread(lambda: write_files(path, finished.bytes_as(format_of(path)), finished.gcode))
        return {"file": str(path)} | asdict(finished.facts(format_of(path)))

    async def check_mesh(self, mesh: MeshPath) -> dict[str, Any]:
        """What a slicer will find in a mesh file, as it is: watertight, printable, size in mm, warnings."""
        return asdict(await _in_thread(partial(self.engine.check, Path(mesh).expanduser())))

    async def _follow(self, job_id: str, context: AnyContext) -> MeshJob:
        """The job when it is over, or as it stands after LONGEST_WAIT_S; each step is reported once."""
        num_reported = 0
        job = await _in_thread(partial(self.jobs.look, job_id))
        with anyio.move_on_after(LONGEST_WAIT_S):
            while True:
                for step in job.steps[num_reported:]:
                    await context.report_progress(step.progress, 1.0, step.stage)
                num_reported = len(job.steps)
                if job.is_over:
                    break
                await anyio.sleep(self.jobs.look_every_s)
                job = await _in_thread(partial(self.jobs.look, job_id))
        return job


def serve_stdio(engine: Engine) -> None:
    """Serves the tools over standard input and output until that is closed; then what runs here is stopped."""
    backend = engine.backend
    jobs: MeshJobs = JobsThere(backend) if isinstance(backend, RemoteEngine) else JobsHere(backend)
    with closing(jobs):
        mcp_server(engine, jobs).run("stdio")


def mcp_server(engine: Engine, jobs: MeshJobs) -> MCPServer[Any]:
    """The server with its tools, not yet running."""
    server: MCPServer[Any] = MCPServer("ai-engine", version=__version__, instructions=INSTRUCTIONS)
    tools = FileTools(engine, jobs)
    for tool in (
        tools.generate_mesh,
        tools.wait_for_mesh,
        tools.finish_mesh,
        tools.check_mesh,
        tools.get_job,
        tools.list_jobs,
        tools.cancel_job,
    ):
        server.add_tool(tool)
    return server


def given_fields(options: BaseModel | None) -> dict[str, Any]:
    """The fields that were given."""
    return {} if options is None else options.model_dump(exclude_unset=True)


def _writable(out: str, *, overwrite: bool, is_sliced: bool) -> Path:
    """The path to write to.

    Raises:
        ToolError: its suffix is that of no format, or the file, or the G-code beside it, is there already.
    """
    path = Path(out).expanduser()
    try:
        format_of(path)
    except ValueError as error:
        raise ToolError(str(error)) from error
    for file in (path, gcode_path(path))[: 1 + is_sliced]:
        if file.exists() and not overwrite:
            raise ToolError(f"{file} is there already; give overwrite or another name.")
    return path


async def _in_thread(work: Callable[[], T]) -> T:
    """What `work` gives back; its errors as those of the tool, in words for the assistant.

    Raises:
        ToolError: it went wrong.
    """
    try:
        return await anyio.to_thread.run_sync(work)
    except (
        GenerationFailed,
        ServerRefused,
        MeshUnreadable,
        JobError,
        UnknownJob,
        StartupError,
        OSError,
        ValueError,
    ) as error:
        raise ToolError(str(error)) from error
