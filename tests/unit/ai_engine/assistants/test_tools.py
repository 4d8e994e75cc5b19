"""With the protocol's own client, over the standard streams of a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters, stdio_client
from support.pictures import draw_disc

from ai_engine.api.request_schema import JobRequest
from ai_engine.mesh_files.read import read_mesh

ROOT = Path(__file__).parents[4]


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    return draw_disc(tmp_path / "disc.png")


def talk(conversation: Callable[[Client], Awaitable[None]], **settings: str) -> None:
    environment = {"MODEL_VARIANT": "stand-in", "MATTING_MODEL": "none", "OMP_NUM_THREADS": "1"} | settings
    command = StdioServerParameters(
        command=sys.executable, args=[str(ROOT / "main.py"), "mcp"], env=environment
    )

    async def main() -> None:
        async with Client(stdio_client(command)) as client:
            await conversation(client)

    anyio.run(main)


def test_a_picture_becomes_a_file_with_progress_then_a_smaller_one_and_a_report(
    disc: Path, tmp_path: Path
) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, total, message))

    async def conversation(client: Client) -> None:
        made = await client.call_tool(
            "generate_mesh",
            {"picture": str(disc), "out": str(tmp_path / "a.3mf"), "options": {"height_mm": 80, "seed": 3}},
            progress_callback=hear,
        )
        assert made.structured_content is not None
        assert made.structured_content["print"]["watertight"]
        assert made.structured_content["seed"] == 3
        assert made.structured_content["file"] == str(tmp_path / "a.3mf")
        finished = await client.call_tool(
            "finish_mesh",
            {"mesh": str(tmp_path / "a.3mf"), "out": str(tmp_path / "b.stl"), "options": {"height_mm": 40}},
        )
        assert not finished.is_error
        report = await client.call_tool("check_mesh", {"mesh": str(tmp_path / "b.stl")})
        assert report.structured_content is not None
        assert report.structured_content["bbox_mm"][2] == 40

    talk(conversation)
    assert read_mesh((tmp_path / "a.3mf").read_bytes()).mesh.vertices[:, 2].max() == pytest.approx(80)
    assert [message for _, _, message in heard if message == "denoise"]
    progress = [done for done, _, _ in heard]
    assert progress == sorted(progress)


def said(answer: Any) -> dict[str, Any]:
    assert not answer.is_error, answer.content
    found: dict[str, Any] = answer.structured_content
    return found


def test_a_mesh_is_begun_listed_waited_for_with_progress_and_cancelled(disc: Path, tmp_path: Path) -> None:
    heard: list[str | None] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async def begin(client: Client, name: str) -> str:
        wishes = {"picture": str(disc), "out": str(tmp_path / name), "wait": False}
        job_id: str = said(await client.call_tool("generate_mesh", wishes))["job_id"]
        return job_id

    async def conversation(client: Client) -> None:
        first, second = await begin(client, "a.stl"), await begin(client, "b.glb")
        listed = said(await client.call_tool("list_jobs", {}))["jobs"]
        assert [job["job_id"] for job in listed] == [second, first]
        assert said(await client.call_tool("cancel_job", {"job_id": second}))["status"] in (
            *("queued", "cancelled"),
        )
        done = await client.call_tool("wait_for_mesh", {"job_id": first}, progress_callback=hear)
        assert said(done)["status"] == "succeeded"
        assert said(done)["print"]["watertight"]
        over = said(await client.call_tool("wait_for_mesh", {"job_id": second}))
        assert (over["status"], over["file"]) == ("cancelled", None)
        assert said(await client.call_tool("get_job", {"job_id": first}))["file"] == str(tmp_path / "a.stl")
        failed = said(await client.call_tool("list_jobs", {"status": "failed", "limit": 5}))
        assert failed["jobs"] == []

    talk(conversation, STAND_IN_STEP_S="0.1")
    assert "denoise" in heard
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.stl", "disc.png"]


def test_a_call_that_the_client_cancels_stops_its_job(disc: Path, tmp_path: Path) -> None:
    async def conversation(client: Client) -> None:
        with anyio.CancelScope() as scope:

            async def cancel(progress: float, total: float | None, message: str | None) -> None:
                scope.cancel()

            wishes = {"picture": str(disc), "out": str(tmp_path / "a.stl")}
            await client.call_tool("generate_mesh", wishes, progress_callback=cancel)
        (job,) = said(await client.call_tool("list_jobs", {}))["jobs"]
        over = said(await client.call_tool("wait_for_mesh", {"job_id": job["job_id"]}))
        assert over["status"] == "cancelled"

    talk(conversation, STAND_IN_STEP_S="0.5")
    assert [path.name for path in tmp_path.iterdir()] == ["disc.png"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_its_files_are_removed(tmp_path: Path, number: signal.Signals) -> None:
    params = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "0"},
    }
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    environment = os.environ | {"MODEL_VARIANT": "stand-in", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, str(ROOT / "main.py"), "mcp"],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(hello) + "\n")
        process.stdin.flush()
        assert "ai-engine" in process.stdout.readline()
        assert list(tmp_path.iterdir())
        process.send_signal(number)
        assert process.wait(60) == 130
    assert list(tmp_path.iterdir()) == []


def test_the_tools_say_what_they_take() -> None:
    async def conversation(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools.keys() == {
            *("generate_mesh", "wait_for_mesh", "finish_mesh", "check_mesh"),
            *("get_job", "list_jobs", "cancel_job"),
        }
        described = str(tools["generate_mesh"].input_schema)
        assert str(JobRequest.model_fields["height_mm"].description) in described
        assert "webhook_url" not in described

    talk(conversation)


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("generate_mesh", {"picture": "absent.png", "out": "a.stl"}, "absent.png"),
        ("generate_mesh", {"picture": "{disc}", "out": "a.doc"}, "end in"),
        ("generate_mesh", {"picture": "{disc}", "out": "{disc}"}, "end in"),
        ("generate_mesh", {"picture": "{disc}", "out": "a.stl", "options": {"height_mm": -1}}, "height_mm"),
        (
            "generate_mesh",
            {"picture": "{disc}", "out": "a.stl", "options": {"webhook_url": "x"}},
            "webhook_url",
        ),
        ("finish_mesh", {"mesh": "{disc}", "out": "a.stl"}, "no mesh"),
        ("check_mesh", {"mesh": "{disc}"}, "no mesh"),
        ("wait_for_mesh", {"job_id": "0" * 32}, "no job"),
        ("cancel_job", {"job_id": "0" * 32}, "no job"),
    ],
)
def test_what_goes_wrong_is_said_and_nothing_is_written(
    disc: Path,
    tmp_path: Path,
    tool: str,
    arguments: dict[str, Any],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {
        name: value.format(disc=disc) if isinstance(value, str) else value
        for name, value in arguments.items()
    }

    async def conversation(client: Client) -> None:
        answer = await client.call_tool(tool, given)
        assert answer.is_error
        assert words in str(answer.content)

    talk(conversation)
    assert [path.name for path in tmp_path.iterdir()] == ["disc.png"]


def test_a_file_that_is_there_is_not_replaced_unasked(disc: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.stl"
    out.write_bytes(b"mine")

    async def conversation(client: Client) -> None:
        arguments = {"picture": str(disc), "out": str(out)}
        assert (await client.call_tool("generate_mesh", arguments)).is_error
        assert out.read_bytes() == b"mine"
        assert not (await client.call_tool("generate_mesh", arguments | {"overwrite": True})).is_error

    talk(conversation)
    assert out.read_bytes() != b"mine"
