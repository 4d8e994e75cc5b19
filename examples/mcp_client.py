"""An assistant's part, played by the protocol's own client: a mesh by the tools at /mcp, and what was said.

    AI_ENGINE_KEY=aie_... python examples/mcp_client.py http://localhost:8000 chair.png

The service runs with MCP=1. The picture is a file, which goes along as a data URL, or an http(s) URL. Of an answer the
fields are printed that are read first.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

OF_JOB = ("status", "job_id", "variant_of", "mesh_url")
OF_FILE = ("filename", "size")
OF_REPORT = ("watertight", "printable", "volume_cm3", "warnings")
LONGEST_SHOWN = 60


async def converse(address: str, picture: str) -> None:
    """A picture to a mesh, the same smaller and in two formats, a report on a mesh file, and the list of jobs."""
    key = os.environ.get("AI_ENGINE_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=600) as http,
        Client(streamable_http_client(f"{address}/mcp", http_client=http)) as client,
    ):
        print("tools:", ", ".join(tool.name for tool in (await client.list_tools()).tools))
        wishes = {"height_mm": 80, "seed": 7}
        job = await call(client, "generate_mesh", picture=as_url(picture), name="first", options=wishes)
        wishes = {"height_mm": 40, "formats": ["3mf", "glb"]}
        await call(client, "finish_mesh", job_id=job["job_id"], name="smaller", options=wishes)
        mesh = (await http.get(address + job["mesh_url"])).content
        await call(client, "check_mesh", mesh=as_data_url(mesh, "model/stl"), name="checked")
        listed = await client.call_tool("list_jobs", {"limit": 3})
        assert listed.structured_content is not None
        for one in listed.structured_content["jobs"]:
            print("<", one["kind"], one["asset_id"], one["status"])


async def call(client: Client, tool: str, **arguments: Any) -> Mapping[str, Any]:
    """The answer of a tool, which is printed with its progress as that comes.

    Raises:
        SystemExit: the tool refuses; with its words.
    """

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        print(f"  {message} {progress:.0%}")

    print(">", tool, json.dumps({name: shortened(value) for name, value in arguments.items()}))
    answer = await client.call_tool(tool, arguments, progress_callback=hear)
    if answer.is_error or answer.structured_content is None:
        raise SystemExit(f"{tool}: {answer.content}")
    show(answer.structured_content)
    return answer.structured_content


def show(job: Mapping[str, Any]) -> None:
    """Prints what is read first of a job."""
    shown = {name: job[name] for name in OF_JOB if job.get(name) is not None}
    shown["files"] = [{name: file[name] for name in OF_FILE} for file in job["artifacts"]]
    for name in ("check", "print"):
        if job.get(name):
            shown[name] = {fact: job[name][fact] for fact in OF_REPORT}
    print("<", json.dumps(shown))


def as_url(picture: str) -> str:
    """The picture as the tools take it: a file as a data URL."""
    is_url = picture.startswith(("http://", "https://"))
    return picture if is_url else as_data_url(Path(picture).read_bytes(), "image/png")


def as_data_url(data: bytes, media_type: str) -> str:
    """The bytes as a data URL."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def shortened(value: Any) -> Any:
    """The value, if it is a long text its beginning."""
    is_long = isinstance(value, str) and len(value) > LONGEST_SHOWN
    return value[: LONGEST_SHOWN // 2] + "..." if is_long else value


if __name__ == "__main__":
    anyio.run(converse, *sys.argv[1:3])
