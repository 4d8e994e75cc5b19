from __future__ import annotations

import pytest

from ai_engine.compatible.asked import as_picture_url
from ai_engine.errors import InvalidField


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("iVBORw0K", "data:image/png;base64,iVBORw0K"),
        ("data:image/jpeg;base64,/9j/", "data:image/jpeg;base64,/9j/"),
        (" data:image/jpeg;base64,/9j/", " data:image/jpeg;base64,/9j/"),
        ("DATA:image/png;base64,AA==", "DATA:image/png;base64,AA=="),
        ("https://example.com/a.png", "https://example.com/a.png"),
        ("/etc/passwd", "data:image/png;base64,/etc/passwd"),
    ],
)
def test_a_picture_is_a_url_or_base64_and_never_a_path(text: str, url: str) -> None:
    assert as_picture_url(text, "image") == url


@pytest.mark.parametrize("value", [None, "", 7, ["iVBORw0K"], {}])
def test_a_picture_that_is_no_text_is_named_by_its_field(value: object) -> None:
    with pytest.raises(InvalidField) as error:
        as_picture_url(value, "image_left")

    assert (error.value.field, error.value.field_code) == ("image_left", "missing")
