"""Tools for assistants at a running service, with the protocol's own client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from ai_engine.web.api_keys import new_key, setting_entry
from service.house import House, Outside, wait_for

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
        forbidden = await client.call_tool("generate_mesh", {"picture": "http://169.254.169.254/latest"})
        assert forbidden.is_error
        assert "image_url" in str(forbidden.content)
        wrong = await client.call_tool(
            "generate_mesh", {"picture": "https://example.com/a.png", "options": {"height_mm": 0}}
        )
        assert wrong.is_error
        assert "height_mm" in str(wrong.content)

    talk(house, conversation)
