"""The API's page in a real browser, against the running service."""

from __future__ import annotations

from playwright.sync_api import Browser
from service.house import House


def test_the_page_shows_every_route_and_asks_no_other_server(browser: Browser, house: House) -> None:
    page = browser.new_page()
    asked: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: faults.append(str(error)))

    page.goto(f"http://127.0.0.1:{house.port}/docs")
    page.locator(".opblock-summary-path", has_text="/generate-3d").first.wait_for(timeout=120_000)

    assert page.locator(".opblock").count() >= 20
    assert [
        url for url in asked if f":{house.port}/" not in url and not url.startswith(("data:", "blob:"))
    ] == []
    assert faults == []
    page.close()
