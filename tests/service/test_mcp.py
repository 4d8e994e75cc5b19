"""Tools for assistants at a running service, with the protocol's own client: at /mcp, and over standard streams."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
import trimesh
from mcp import Client, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from ai_engine.mesh_files.read import read_mesh
from ai_engine.web.api_keys import new_key, setting_entry
from service.house import ROOT, House, Outside, cut_out_png, wait_for
from service.test_mesh_checks import as_data_url, serve

BOX: bytes = trimesh.creation.box((20, 20, 30)).export(file_type="stl")
KEYS = {name: new_key() for name in ("shop", "press")}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    keys = ",".join(setting_entry(name, key) for name, key in KEYS.items())
    one = House(tmp_path_factory.mktemp("mcp"), {"MCP": "1", "API_KEYS": keys}, key=KEYS["shop"])
    with one.serving():
        yield one


def talk(house: House, conversation: Callable[[Client], Awaitable[None]], *, key: str = "shop") -> None:
    async def main() -> None:
        headers = {"Authorization": f"Bearer {KEYS[key]}"}
        async with httpx2.AsyncClient(headers=headers, timeout=60) as http:
            transport = streamable_http_client(f"http://127.0.0.1:{house.port}/mcp", http_client=http)
            async with Client(transport) as client:
                await conversation(client)

    anyio.run(main)


def talk_over_stdio(house: House, conversation: Callable[[Client], Awaitable[None]]) -> None:
    """A conversation with `ai-engine mcp --server`, which needs no model of its own."""
    words = ["mcp", "--server", f"http://127.0.0.1:{house.port}", "--key", KEYS["shop"]]
    command = StdioServerParameters(
        command=sys.executable, args=[str(ROOT / "main.py"), *words], env={"MODEL_PATH": "absent"}
    )

    async def main() -> None:
        async with Client(stdio_client(command)) as client:
            await conversation(client)

    anyio.run(main)


def said(answer: Any) -> dict[str, Any]:
    assert not answer.is_error, answer.content
    found: dict[str, Any] = answer.structured_content
    return found


def test_a_picture_becomes_a_mesh_and_progress_is_heard(house: House, outside: Outside) -> None:
    heard: list[str | None] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async def conversation(client: Client) -> None:
        arguments = {
            "picture": outside.url("/a.png"),
            "name": "vase",
            "options": {"height_mm": 50, "seed": 3},
        }
        job = said(await client.call_tool("generate_mesh", arguments, progress_callback=hear))
        assert (job["status"], job["asset_id"], job["print"]["bbox_mm"][2]) == ("succeeded", "vase", 50)
        assert job["mesh_url"] == f"/jobs/{job['job_id']}/mesh"
        listed = said(await client.call_tool("list_jobs", {"limit": 1}))
        assert [one["job_id"] for one in listed["jobs"]] == [job["job_id"]]

    talk(house, conversation)
    assert heard


def test_a_job_can_be_begun_waited_for_and_cancelled(house: House, outside: Outside) -> None:
    async def conversation(client: Client) -> None:
        slow = {"picture": outside.url("/a.png"), "wait": False, "options": {"num_inference_steps": 100}}
        begun = said(await client.call_tool("generate_mesh", slow))
        cancelled = said(await client.call_tool("cancel_job", {"job_id": begun["job_id"]}))
        over = said(await client.call_tool("wait_for_mesh", {"job_id": cancelled["job_id"]}))
        assert over["status"] in ("cancelled", "succeeded")
        assert (
            said(await client.call_tool("get_job", {"job_id": begun["job_id"]}))["job_id"] == begun["job_id"]
        )

    talk(house, conversation)


def test_a_jobs_mesh_is_finished_again_without_the_device(house: House, outside: Outside) -> None:
    async def conversation(client: Client) -> None:
        picture = {"picture": outside.url("/a.png"), "name": "vase", "options": {"seed": 3}}
        first = said(await client.call_tool("generate_mesh", picture))
        again = {"job_id": first["job_id"], "options": {"height_mm": 30, "formats": ["3mf", "glb"]}}
        job = said(await client.call_tool("finish_mesh", again | {"name": "small"}))

        assert (job["variant_of"], job["asset_id"], job["artifact"]["units"]) == (
            first["job_id"],
            "small",
            "mm",
        )
        assert [file["format"] for file in job["artifacts"]] == ["3mf", "glb"]
        assert job["print"]["bbox_mm"][2] == 30
        assert "denoise" not in job["timings_s"]

    talk(house, conversation)


def test_a_mesh_of_the_callers_own_is_checked_by_url_and_as_upload(house: House, outside: Outside) -> None:
    outside.pictures["/box.stl"] = serve(BOX)

    async def conversation(client: Client) -> None:
        for mesh in (outside.url("/box.stl"), as_data_url(BOX)):
            wishes = {"mesh": mesh, "name": "box", "options": {"height_mm": 60, "formats": ["3mf", "stl"]}}
            job = said(await client.call_tool("check_mesh", wishes))
            assert (job["kind"], job["status"], job["asset_id"]) == ("mesh_check", "succeeded", "box")
            assert (job["check"]["printable"], job["check"]["bbox_mm"]) == (True, [20, 20, 30])
            assert job["print"]["bbox_mm"] == [40, 40, 60]
            assert [file["format"] for file in job["artifacts"]] == ["3mf", "stl"]
            assert job["mesh_url"] == f"/jobs/{job['job_id']}/mesh"
        for wrong, words in (("/etc/passwd", "mesh_url"), (as_data_url(b"no mesh"), "no mesh in STL")):
            refused = await client.call_tool("check_mesh", {"mesh": wrong})
            assert refused.is_error
            assert words in str(refused.content)

    talk(house, conversation)


def test_a_picture_as_large_as_the_api_takes_goes_up_with_the_call(house: House) -> None:
    # Beyond the end of a PNG readers do not look: a picture of 5 MB that is quickly read.
    picture = "data:image/png;base64," + base64.b64encode(cut_out_png() + bytes(5_000_000)).decode()

    async def conversation(client: Client) -> None:
        job = said(await client.call_tool("generate_mesh", {"picture": picture}))
        assert job["status"] == "succeeded"

    talk(house, conversation)


def test_over_standard_streams_files_stay_here_and_jobs_run_there(house: House, tmp_path: Path) -> None:
    (tmp_path / "cup.png").write_bytes(cut_out_png())
    cup, mesh = tmp_path / "cup.stl", tmp_path / "small.3mf"
    heard: list[str | None] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async def conversation(client: Client) -> None:
        wishes = {"picture": str(tmp_path / "cup.png"), "out": str(cup), "options": {"height_mm": 50}}
        begun = said(await client.call_tool("generate_mesh", wishes | {"wait": False}))
        waiting = await client.call_tool("wait_for_mesh", {"job_id": begun["job_id"]}, progress_callback=hear)
        assert (said(waiting)["status"], said(waiting)["file"]) == ("succeeded", str(cup))
        listed = said(await client.call_tool("list_jobs", {"limit": 1}))["jobs"]
        assert (listed[0]["job_id"], listed[0]["asset_id"]) == (begun["job_id"], "cup")
        options = {"height_mm": 20}
        said(await client.call_tool("finish_mesh", {"mesh": str(cup), "out": str(mesh), "options": options}))
        report = said(await client.call_tool("check_mesh", {"mesh": str(mesh)}))
        assert (report["printable"], report["bbox_mm"][2]) == (True, 20)
        absent = await client.call_tool("get_job", {"job_id": "0" * 32})
        assert "not_found" in str(absent.content)

    talk_over_stdio(house, conversation)
    assert heard
    assert house.job(house.ask("GET", "/jobs?limit=1").json["jobs"][0]["job_id"])["artifact"]["size"] == len(
        cup.read_bytes()
    )
    assert read_mesh(mesh.read_bytes()).format == "3mf"


def test_the_example_client_has_a_mesh_made_finished_and_checked(house: House, tmp_path: Path) -> None:
    (tmp_path / "cup.png").write_bytes(cut_out_png())
    command = [sys.executable, "examples/mcp_client.py", f"http://127.0.0.1:{house.port}"]

    done = subprocess.run(
        [*command, str(tmp_path / "cup.png")],
        cwd=ROOT,
        env=os.environ | {"AI_ENGINE_KEY": KEYS["shop"]},
        capture_output=True,
        text=True,
        check=True,
    )

    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines if line.startswith(">")] == [
        *("generate_mesh", "finish_mesh", "check_mesh"),
    ]
    assert len([line for line in lines if '"printable": true' in line]) == 3
    assert lines[-3:] == [
        "< mesh_check checked succeeded",
        "< variant smaller succeeded",
        "< generation first succeeded",
    ]


def test_another_key_sees_nothing_of_it(house: House, outside: Outside) -> None:
    job_id = house.submit(image_url=outside.url("/a.png"))
    wait_for(lambda: house.job(job_id)["ended_at"] is not None, "it is over")

    async def conversation(client: Client) -> None:
        for tool in ("get_job", "wait_for_mesh", "finish_mesh", "cancel_job"):
            answer = await client.call_tool(tool, {"job_id": job_id})
            assert answer.is_error
            assert "not_found" in str(answer.content)
        assert said(await client.call_tool("list_jobs", {}))["jobs"] == []

    talk(house, conversation, key="press")


@pytest.mark.parametrize("key", [None, "aie_wrong"])
def test_without_a_key_there_is_nothing(house: House, key: str | None) -> None:
    headers = {"Accept": "application/json, text/event-stream"} | (
        {"Authorization": f"Bearer {key}"} if key else {}
    )
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answer = httpx2.post(f"http://127.0.0.1:{house.port}/mcp", json=call, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


def test_what_the_api_refuses_is_said_in_its_words(house: House) -> None:
    async def conversation(client: Client) -> None:
        for picture in ("http://169.254.169.254/latest", "/etc/passwd", "file:///etc/passwd"):
            forbidden = await client.call_tool("generate_mesh", {"picture": picture})
            assert forbidden.is_error
            assert "image_url" in str(forbidden.content)
        wrong = await client.call_tool(
            "generate_mesh", {"picture": "https://example.com/a.png", "options": {"height_mm": 0}}
        )
        assert wrong.is_error
        assert "height_mm" in str(wrong.content)

    talk(house, conversation)
