"""The studio in a real browser, as the tests use it: Debian's Chromium, watched for what it must not do."""

from __future__ import annotations

import io
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request

Picture = NDArray[np.uint8]
CHROMIUM = shutil.which("chromium")
DEADLINE_MS = 240_000
"""Long, since it only passes where something is broken."""
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

CARRIED = """([bytes, name, text]) => {
    const carried = new DataTransfer();
    if (text) carried.setData("text", text);
    else carried.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
    return carried;
}"""
"""What a drop or a paste brings along: a file, or a text."""

FAINT_TEXTS = """(least) => {
    const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const luminance = () => {
        const linear = [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => value / 255)
            .map((share) => (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const paint = (colour) => { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); return luminance(); };
    const contrast = (element) => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) layers.unshift(getComputedStyle(at));
        const shown = layers.map((style) => paint(style.backgroundColor)).at(-1);
        pen.globalAlpha = layers.reduce((share, style) => share * style.opacity, 1);
        const text = paint(layers.at(-1).color);
        pen.globalAlpha = 1;
        return (Math.max(text, shown) + 0.05) / (Math.min(text, shown) + 0.05);
    };
    const hasText = (element) => [...element.childNodes].some((one) => one.nodeType === 3 && one.data.trim());
    return [...document.body.querySelectorAll("*")]
        .filter((one) => one.checkVisibility({ opacityProperty: true }) && hasText(one) && !one.closest("option"))
        .filter((one) => contrast(one) < least)
        .map((one) => `${contrast(one).toFixed(2)} ${one.className} ${one.textContent}`);
}"""
"""The texts with less contrast to their ground than that (WCAG 2.2, 1.4.3; gradients are left out)."""


@dataclass
class Studio:
    """One open page of the studio."""

    page: Page
    origin: str
    errors: list[str] = field(default_factory=list)
    """What the console said went wrong."""
    forgiven: tuple[str, ...] = ()
    """Parts of what Chromium itself says of requests that a test makes fail on purpose."""
    outside: list[str] = field(default_factory=list)
    """Addresses of others that were asked for something."""

    @classmethod
    def open(cls, browser: Browser, origin: str, *, fragment: str = "", **context: Any) -> Studio:
        """The page, loaded, with its options laid out."""
        page = browser.new_context(**{"viewport": {"width": 1120, "height": 680}} | context).new_page()
        page.set_default_timeout(DEADLINE_MS)
        studio = cls(page, origin)
        page.on("console", studio._heard)
        page.on("pageerror", lambda error: studio.errors.append(str(error)))
        page.on("request", studio._asked)
        page.goto(f"{origin}/{fragment}")
        page.locator("#service-state[data-state=ready]").wait_for()
        page.locator(".option").first.wait_for()
        return studio

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "blob:", "data:")):
            self.outside.append(request.url)

    @property
    def faults(self) -> list[str]:
        """What went wrong and should not have."""
        return [error for error in self.errors if not any(part in error for part in self.forgiven)]

    def drop(self, picture: bytes, name: str = "chair.png") -> None:
        """Drops a file on the page."""
        self.drop_on("#drop", picture, name)
        self.page.locator("#drop img").wait_for()

    def drop_on(self, place: str, picture: bytes, name: str) -> None:
        """Drops a file on one element of the page."""
        files = self.page.evaluate_handle(CARRIED, [list(picture), name, ""])
        self.page.dispatch_event(place, "drop", {"dataTransfer": files})

    def paste(self, *, file: bytes = b"", text: str = "") -> None:
        """Pastes a picture or a text."""
        carried = self.page.evaluate_handle(CARRIED, [list(file), "pasted.png", text])
        self.page.evaluate(
            """carried => document.body.dispatchEvent(
                new ClipboardEvent("paste", { clipboardData: carried, bubbles: true }))""",
            carried,
        )

    def fill(self, **options: object) -> None:
        """Sets options by the API's names."""
        for name, value in options.items():
            control = self.page.locator(f"#options [name={name}]").first
            self.page.locator(f"details:not([open]):has([name={name}]) > summary").evaluate_all(
                "all => all.forEach(one => one.click())"
            )
            if control.get_attribute("type") == "radio":
                self.page.locator(f"#options label:has([name={name}][value='{value}'])").click()
            elif control.get_attribute("type") == "checkbox":
                control.set_checked(bool(value))
            else:
                control.fill(str(value))

    def generate(self) -> str:
        """Sends the job; its id."""
        with self.page.expect_response(lambda answer: answer.url.endswith("/generate-3d")) as sent:
            self.page.get_by_role("button", name="Generate", exact=True).click()
        answer = sent.value
        assert answer.status == 202, answer.text()
        return str(answer.json()["job_id"])

    def shape(self, which: int = 0) -> Any:
        """The canvas of pane A (0) or B (1), once there is a mesh on it."""
        canvas = self.page.locator(".pane").nth(which).locator("canvas")
        canvas.wait_for()
        return canvas

    def picture_of(self, locator: Any, *, is_moving: bool = False) -> Picture:
        """What is seen there (height, width, RGB), once two looks at it are the same unless it moves."""
        before = b""
        for _ in range(1 if is_moving else 60):
            after = locator.screenshot()
            if after == before:
                break
            before = after
            self.page.wait_for_timeout(100)
        return np.asarray(Image.open(io.BytesIO(before)).convert("RGB"))

    def changed(self, locator: Any, before: Picture, *, share: float, is_moving: bool = False) -> Picture:
        """What is seen there, once more than that share of its pixels is not as before.

        A busy browser may draw long after it was asked, so one look is not enough.
        """
        ends_at = time.monotonic() + DEADLINE_MS / 1000
        while difference(before, after := self.picture_of(locator, is_moving=is_moving)) <= share:
            assert time.monotonic() < ends_at, f"{difference(before, after):.4f} of the picture changed"
        return after

    def save(self, path: Path) -> None:
        """A screenshot of the window."""
        path.write_bytes(self.page.screenshot())


def difference(one: Picture, other: Picture) -> float:
    """Share of the pixels that are not the same in both."""
    return float((one != other).any(axis=-1).mean())


def num_colours(picture: Picture) -> int:
    """How many different colours there are."""
    return len(np.unique(picture.reshape(-1, 3), axis=0))
