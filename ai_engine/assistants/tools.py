"""The tools as an MCP server over standard input and output. The work is that of `Engine`: here or at a service.

A tool reads the files that the assistant names and writes where it says, with the rights of the person who started it;
a file that is there already is left alone unless `overwrite` is given.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import anyio.from_thread
import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field, create_model

from ai_engine import __version__
from ai_engine.api.request_schema import JobRequest
from ai_engine.engine.engine import ENGINE_FIELDS, PRINT_FIELDS, Engine
from ai_engine.engine.generated import GenerationFailed, ServerRefused, write_whole
from ai_engine.errors import JobError, MeshUnreadable, StartupError
from ai_engine.mesh_files.sniff import format_of

INSTRUCTIONS = (
    "Makes closed, printable 3D meshes of single objects from pictures. Begin with generate_mesh; height_mm gives "
    "millimetres with Z up. The report says whether a slicer can print the mesh. finish_mesh changes height, face "
    "count or format of a mesh without computing it again; check_mesh reports on any mesh file."
)
Out = Annotated[
    str, Field(description="Path of the file to write; its suffix is the format: .stl .3mf .glb .obj .ply")
]
Overwrite = Annotated[bool, Field(description="Replace the file if it is there already.")]
T = TypeVar("T")


def fields_model(
    name: str, fields: tuple[str, ...], request: type[BaseModel] = JobRequest
) -> type[BaseModel]:
    """A model of these fields of a request, each optional."""
    known = request.model_fields
    chosen: dict[str, Any] = {field: (known[field].annotation, known[field]) for field in fields}
    return create_model(name, __config__=ConfigDict(extra="forbid"), **chosen)


@dataclass(frozen=True)
class Tools:
    """What the tools work with."""

    engine: Engine

    async def generate(
        self,
        context: Context[Any, Any],
        picture: str,
        mask: str | None,
        out: str,
        fields: dict[str, Any],
        overwrite: bool,
    ) -> dict[str, Any]:
        """Makes the mesh of a picture and writes it; the facts of it."""
        path = _writable(out, overwrite=overwrite)

        def progress(stage: str, done: int, total: int) -> None:
            anyio.from_thread.check_cancelled()
            anyio.from_thread.run(partial(context.report_progress, done, total, stage))

        work = partial(
            self.engine.generate, picture, mask=mask, progress=progress, format=format_of(path), **fields
        )
        made = await _in_thread(work)
        write_whole(path, made.data)
        facts = asdict(made.facts)
        return {
            "file": str(path),
            "seed": made.seed,
            "model": made.model,
            "timings_s": made.timings_s,
        } | facts

    async def finish(self, mesh: str, out: str, fields: dict[str, Any], overwrite: bool) -> dict[str, Any]:
        """Finishes a mesh file once more and writes it; the facts of it."""
        path = _writable(out, overwrite=overwrite)
        finished = await _in_thread(partial(self.engine.finish, Path(mesh), **fields))
        write_whole(path, finished.bytes_as(format_of(path)))
        return {"file": str(path)} | asdict(finished.facts(format_of(path)))

    async def check(self, mesh: str) -> dict[str, Any]:
        """The report on a mesh file."""
        return asdict(await _in_thread(partial(self.engine.check, Path(mesh))))


def mcp_server(engine: Engine) -> MCPServer[Any]:
    """The server with its tools, not yet running."""
    server: MCPServer[Any] = MCPServer("ai-engine", version=__version__, instructions=INSTRUCTIONS)
    tools = Tools(engine)
    mesh_options, print_options = (
        fields_model("MeshOptions", ENGINE_FIELDS),
        fields_model("PrintOptions", PRINT_FIELDS),
    )

    async def generate_mesh(
        context: Context[Any, Any],
        picture: Annotated[str, Field(description="Path, http(s) URL or data URL of the picture.")],
        out: Out,
        mask: Annotated[str | None, Field(description="Path or URL of your own mask of it.")] = None,
        options: mesh_options | None = None,  # type: ignore[valid-type]
        overwrite: Overwrite = False,
    ) -> dict[str, Any]:
        """Turns a picture of one object into a closed mesh file, and reports on it. Takes seconds to minutes."""
        return await tools.generate(context, picture, mask, out, given_fields(options), overwrite)

    async def finish_mesh(
        mesh: Annotated[str, Field(description="Path of an STL, 3MF, GLB, OBJ or PLY file.")],
        out: Out,
        options: print_options | None = None,  # type: ignore[valid-type]
        overwrite: Overwrite = False,
    ) -> dict[str, Any]:
        """Repairs, scales or simplifies a mesh file and writes it in any format. No model, no device."""
        return await tools.finish(mesh, out, given_fields(options), overwrite)

    async def check_mesh(
        mesh: Annotated[str, Field(description="Path of an STL, 3MF, GLB, OBJ or PLY file.")],
    ) -> dict[str, Any]:
        """What a slicer will find in a mesh file, as it is: watertight, printable, size in mm, warnings."""
        return await tools.check(mesh)

    for tool in (generate_mesh, finish_mesh, check_mesh):
        server.add_tool(tool)
    return server


def given_fields(options: BaseModel | None) -> dict[str, Any]:
    """The fields that were given."""
    return {} if options is None else options.model_dump(exclude_unset=True)


def _writable(out: str, *, overwrite: bool) -> Path:
    """The path to write to.

    Raises:
        ToolError: its suffix is that of no format, or the file is there already.
    """
    path = Path(out).expanduser()
    try:
        format_of(path)
    except ValueError as error:
        raise ToolError(str(error)) from error
    if path.exists() and not overwrite:
        raise ToolError(f"{path} is there already; give overwrite or another name.")
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
        StartupError,
        OSError,
        ValueError,
    ) as error:
        raise ToolError(str(error)) from error
