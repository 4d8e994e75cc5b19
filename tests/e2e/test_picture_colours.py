"""Pictures of every kind that says what its colours mean, read by the service and shown by a browser."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Browser
from support.colour_pictures import colour_pictures

from ai_engine.images.formats import picture_format
from ai_engine.images.image_file import read_picture

SHOWN = """async (url) => {
    const picture = new Image();
    picture.src = url;
    await picture.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.drawImage(picture, 0, 0);
    return [...pen.getImageData(0, 0, canvas.width, canvas.height).data];
}"""
PICTURES = colour_pictures()


def shown_by(browser: Browser, data: bytes) -> NDArray[np.int64]:
    """Red, green, blue and alpha of each pixel, one behind the other."""
    kind = str(picture_format(data)).lower()
    page = browser.new_page()
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    pixels = page.evaluate(SHOWN, url)
    page.close()
    return np.array(pixels)


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_read_in_the_colours_that_the_browser_shows(browser: Browser, kind: str) -> None:
    read = np.asarray(read_picture(PICTURES[kind]).convert("RGBA")).ravel().astype(np.int64)
    assert np.abs(read - shown_by(browser, PICTURES[kind])).max() <= 5
