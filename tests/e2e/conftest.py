from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright
from service.house import House, Outside

from e2e.studio_page import CHROMIUM, FLAGS, Studio


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Not for the session: while its driver runs, no other test can run an event loop."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install --no-install-recommends chromium")
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def outside() -> Iterator[Outside]:
    world = Outside()
    yield world
    world.close()


@pytest.fixture(scope="module")
def house(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A running service with the stand-in model, slow enough to be watched."""
    settings = {"STAND_IN_STEP_S": "0.3", "DOWNLOAD_ATTEMPTS": "1", "WEBHOOK_DELAYS_S": "0,0.2,0.2"}
    service = House(tmp_path_factory.mktemp("studio"), settings)
    with service.serving():
        yield service


@pytest.fixture
def open_studio(browser: Browser) -> Iterator[Callable[..., Studio]]:
    """Opens the studio of a service. At the end: no console error, no outside request."""
    opened: list[Studio] = []

    def open_one(house: House, **context: Any) -> Studio:
        opened.append(Studio.open(browser, f"http://127.0.0.1:{house.port}", **context))
        return opened[-1]

    yield open_one
    for studio in opened:
        studio.page.context.close()
        assert studio.outside == []
        assert studio.faults == []


@pytest.fixture
def studio(open_studio: Callable[..., Studio], house: House) -> Studio:
    """The studio of the running service."""
    return open_studio(house)
