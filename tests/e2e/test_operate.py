"""The page for operators in a real browser, against the running service."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect
from service.house import ROOT, House, Outside, wait_for

from ai_engine.web.api_keys import new_key, setting_entry
from e2e.studio_page import DEADLINE_MS, FAINT_TEXTS

expect.set_options(timeout=DEADLINE_MS)

KEYS = {name: new_key() for name in ("shop", "boss")}


@pytest.fixture(scope="module")
def house(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A running service with an operator, slow enough to be watched."""
    settings = {
        "API_KEYS": ",".join(setting_entry(name, key) for name, key in KEYS.items()),
        "OPERATORS": "boss",
        "STAND_IN_STEP_S": "0.3",
        "DOWNLOAD_ATTEMPTS": "1",
        "WEBHOOK_DELAYS_S": "0",
        "JOBS_IN_FLIGHT": "1",
    }
    service = House(tmp_path_factory.mktemp("operate"), settings, key=KEYS["shop"])
    with service.serving():
        yield service


@pytest.fixture
def page(browser: Browser, house: House) -> Iterator[Page]:
    """The page, as it asks for a key."""
    opened = browser.new_context(viewport={"width": 1120, "height": 760}).new_page()
    opened.set_default_timeout(DEADLINE_MS)
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "request",
        lambda sent: None if f":{house.port}/" in sent.url else faults.append(f"asked for {sent.url}"),
    )
    opened.goto(f"http://127.0.0.1:{house.port}/operate")
    yield opened
    opened.context.close()
    assert faults == []


def give_key(page: Page, name: str) -> None:
    if not page.locator("#key-dialog").is_visible():
        page.get_by_role("button", name="API key").click()
    page.locator("#key-field").fill(KEYS[name])
    page.get_by_role("button", name="Use this key").click()
    expect(page.locator("#key-dialog")).to_be_hidden()


def die(house: House, outside: Outside, path: str) -> str:
    """The id of a job whose delivery is a dead letter."""
    outside.answers[path] = [(500, {})]
    job_id = house.submit(asset_id=path[1:], image_url=outside.url("/a.png"), webhook_url=outside.url(path))
    wait_for(lambda: (house.job(job_id)["deliveries"] or [{}])[-1].get("state") == "dead", "it is dead")
    return job_id


def test_a_key_that_is_no_operators_sees_nothing(page: Page, house: House) -> None:
    give_key(page, "shop")

    expect(page.locator("#state")).to_have_text("Your key is of none of OPERATORS.")
    expect(page.locator("table.operate-table")).to_have_count(0)


def test_an_operator_sees_queues_workers_their_jobs_and_failures(
    page: Page, house: House, outside: Outside
) -> None:
    failed = house.submit(image_url=outside.url("/none.jpg"))
    house.wait_until(failed, "failed")
    running, waiting = (
        house.submit(image_url=outside.url("/a.png"), num_inference_steps=100) for _ in range(2)
    )
    give_key(page, "boss")

    expect(page.locator("#state")).to_contain_text("1 worker ready")
    expect(page.locator("#failures")).to_contain_text("image_download_failed")
    worker = page.locator("#workers tbody tr").first
    expect(worker).to_contain_text("ready")
    expect(worker).to_contain_text("shop")
    expect(worker.get_by_role("link", name=running[:8])).to_be_visible()
    queue = page.locator("#queues tbody tr", has_text="default")
    expect(queue.locator("td").nth(2)).not_to_have_text("0")
    expect(page.locator("#disk")).to_contain_text("free")
    assert page.evaluate(FAINT_TEXTS, 4.5) == []
    for job_id in (running, waiting):
        assert house.ask("DELETE", f"/jobs/{job_id}").status == 202
        house.wait_until_over(job_id)
    expect(worker).to_contain_text("idle")


def test_dead_deliveries_are_sent_again_at_one_press(page: Page, house: House, outside: Outside) -> None:
    job_ids = {die(house, outside, path) for path in ("/chair", "/table")}
    give_key(page, "boss")

    expect(page.locator("#dead tbody tr")).to_have_count(2)
    expect(page.locator("#dead tbody tr").first).to_contain_text("HTTP 500")
    page.get_by_role("button", name="Redeliver all").click()

    expect(page.locator("#redelivered")).to_have_text("2 deliveries sent again.")
    expect(page.locator("#dead")).to_contain_text("None: every delivery was made")
    wait_for(lambda: [len(outside.posts(path)) for path in ("/chair", "/table")] == [2, 2], "they came again")
    assert {outside.posts(path)[-1].event["data"]["job_id"] for path in ("/chair", "/table")} == job_ids


@pytest.mark.skipif(
    os.environ.get("STUDIO_SCREENSHOTS") != "1", reason="STUDIO_SCREENSHOTS=1 writes docs/operate*.png"
)
def test_the_pictures_of_the_page_are_taken(page: Page, house: House, outside: Outside) -> None:
    for path in ("/garden-chair", "/vase", "/mug"):
        die(house, outside, path)
    house.wait_until(house.submit(image_url=outside.url("/none.jpg")), "failed")
    jobs = [house.submit(image_url=outside.url("/a.png"), num_inference_steps=100) for _ in range(4)]
    give_key(page, "boss")
    schemes: tuple[tuple[Literal["light", "dark"], str], ...] = (
        ("light", "operate"),
        ("dark", "operate-dark"),
    )
    for scheme, name in schemes:
        page.emulate_media(color_scheme=scheme)
        expect(page.locator("#workers li").first).to_contain_text("%")
        page.screenshot(path=ROOT / f"docs/{name}.png", full_page=True)
    for job_id in jobs:
        house.ask("DELETE", f"/jobs/{job_id}")
