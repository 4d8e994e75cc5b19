"""Which file parts a form may have, and what they exclude."""

from __future__ import annotations

import pytest

from ai_engine.api.submissions.form_parts import check_parts
from ai_engine.errors import BodyTooLarge, InvalidField


@pytest.mark.parametrize(
    ("files", "texts", "known", "refused"),
    [
        ({"image"}, {"format": "stl"}, ("image", "mask"), None),
        ({"mesh"}, {"mesh_url": "x"}, ("mesh",), ("mesh_url", "two_pictures")),
        ({"image", "mask"}, {"matting_model": "x"}, ("image", "mask"), ("matting_model", "two_outlines")),
        ({"picture"}, {}, ("image", "mask"), ("picture", "unknown_field")),
        ({"mesh"}, {}, (), ("mesh", "unknown_field")),
        (set(), {"mesh": "x"}, ("mesh",), ("mesh", "not_a_file")),
    ],
)
def test_each_part_is_known_and_alone(
    files: set[str], texts: dict[str, str], known: tuple[str, ...], refused: tuple[str, str] | None
) -> None:
    if refused is None:
        check_parts(dict.fromkeys(files), texts, known)
        return
    with pytest.raises(InvalidField) as caught:
        check_parts(dict.fromkeys(files), texts, known)
    assert (caught.value.field, caught.value.field_code) == refused


def test_texts_are_small_besides_what_is_embedded() -> None:
    long = "x" * 70_000
    check_parts({}, {"mesh_url": f"data:{long}", "base": f'{{"mesh_url": "data:{long}"}}'}, ("mesh",))
    for text in ({"base": f'{{"text": "{long}"}}'}, {"webhook_url": long}):
        with pytest.raises(BodyTooLarge):
            check_parts({}, text, ("mesh",))
