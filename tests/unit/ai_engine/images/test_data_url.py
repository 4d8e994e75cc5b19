from __future__ import annotations

import base64
import textwrap

import pytest

from ai_engine.errors import ImageTooLarge, UnreadableImage
from ai_engine.images.data_url import decode_data_url
from ai_engine.images.formats import DownloadLimits

LIMITS = DownloadLimits(max_bytes=20_000)
DATA = bytes(range(256)) * 4 + b"x"
TEXT = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "head",
    [
        "data:image/png;base64,",
        "DATA:IMAGE/PNG;charset=x;BASE64,",
        " \ndata:image/png; base64,",
        "data:application/octet-stream;base64,",
        "data:;base64,",
    ],
)
def test_a_data_url_carries_its_bytes(head: str) -> None:
    assert decode_data_url(head + TEXT, LIMITS) == DATA


@pytest.mark.parametrize(
    "text",
    [
        TEXT.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
        "\r\n".join(textwrap.wrap(TEXT, 76)),
        "\n".join(textwrap.wrap(TEXT, 64)) + "\n",
        " ".join(textwrap.wrap(TEXT, 4)),
        TEXT.rstrip("="),
        TEXT.rstrip("=") + "====",
        TEXT.replace("+", "-").replace("/", "_"),
    ],
    ids=["percent-encoded", "lines of 76", "lines of 64", "blanks", "no padding", "much padding", "URL-safe"],
)
def test_base64_is_read_as_browsers_read_it(text: str) -> None:
    assert decode_data_url("data:image/png;base64," + text, LIMITS) == DATA


@pytest.mark.parametrize(
    "url",
    [
        "data:",
        "data:,",
        "data:image/png,abc",
        "data:text/html;base64,YWJj",
        "data:image/png;base64,a!b",
        "data:image/png;base64,YWJjZ",
        "data:image/png;base64,YW=Jj",
    ],
)
def test_what_is_no_picture_in_base64_is_refused(url: str) -> None:
    with pytest.raises(UnreadableImage):
        decode_data_url(url, LIMITS)


def test_a_data_url_over_the_limit_is_refused() -> None:
    with pytest.raises(ImageTooLarge):
        decode_data_url("data:image/png;base64," + base64.b64encode(bytes(20_001)).decode(), LIMITS)
