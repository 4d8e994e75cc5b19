"""The file parts of a form: which there may be, and what each leaves no room for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ai_engine.api.submissions.sent_pedestal import num_embedded_chars
from ai_engine.errors import BodyTooLarge, InvalidField
from ai_engine.facts import VIEWS
from ai_engine.images.data_url import is_data_url
from ai_engine.web.bodies import MAX_REQUEST_BYTES

PICTURE_PART = "image"
MASK_PART = "mask"
MESH_PART = "mesh"
URL_OF_PART = {PICTURE_PART: "image_url", MASK_PART: "mask_url", MESH_PART: "mesh_url"}
"""The file parts of a form, each with the field that may name a URL in its place."""
_IN_PLACE_OF: dict[str, tuple[str, ...]] = {
    PICTURE_PART: ("image_url", "image_urls", "cut_out_id"),
    MASK_PART: ("mask_url", "image_urls", "cut_out_id", "matting_model"),
    MESH_PART: ("mesh_url",),
} | dict.fromkeys(VIEWS, (PICTURE_PART, MASK_PART, "image_url", "image_urls", "cut_out_id", "mask_url"))
"""The fields and parts that a file part leaves no room for."""


def check_parts(files: Mapping[str, Any], texts: Mapping[str, str], known: tuple[str, ...]) -> None:
    """Checks the names of a form's `files` and `texts`; `known`: the names that a file may have.

    Raises:
        InvalidField: a file's name is unknown, two parts exclude each other, or a text stands in a file's place.
        BodyTooLarge: besides what is embedded the texts have more bytes than a request.
    """
    for name in files:
        if name not in known:
            names = "a file's part is called " + " or ".join(known) if known else "no file is wanted"
            raise InvalidField(name, names, code="unknown_field")
    for name in known:
        if name in texts:
            raise InvalidField(name, "must be a file part, with a filename", code="not_a_file")
        if name in files:
            _check_alone(name, {*files, *texts})
    urls = URL_OF_PART.values()
    sizes = [len(text) for name, text in texts.items() if name not in urls or not is_data_url(text)]
    if sum(sizes) - num_embedded_chars(texts.get("base", "")) > MAX_REQUEST_BYTES:
        raise BodyTooLarge(f"Besides the pictures in it a form has {MAX_REQUEST_BYTES} bytes at most.")


def _check_alone(name: str, others: Collection[str]) -> None:
    """Refuses what the file part `name` leaves no room for."""
    for other in _IN_PLACE_OF[name]:
        if other in others:
            detail = f"the part {name} came in the form: leave this out"
            if MASK_PART in (name, other):
                raise InvalidField(other, detail, code="two_outlines")
            raise InvalidField(other, detail, code="two_pictures")
