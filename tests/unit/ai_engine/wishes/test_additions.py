"""Bounds of what may be added, and combinations that are refused with their reason."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from ai_engine.api.request_schema import IS_OF_MESH, JobRequest
from ai_engine.wishes.additions import Attach, Base, Hollow

GOOD = {"session_id": "s1", "asset_id": "a1", "image_url": "https://example.com/a.png", "height_mm": 60}


@pytest.mark.parametrize("kind", [Hollow, Base, Attach])
def test_each_member_is_described_to_callers(kind: Any) -> None:
    members = TypeAdapter(kind).json_schema()["properties"]
    assert [name for name, member in members.items() if not member.get("description")] == []


def test_an_empty_object_is_a_wish_with_its_defaults() -> None:
    options = JobRequest.model_validate(GOOD | {"hollow": {}, "base": '{"text": null}'}).print_options()
    assert (options.hollow, options.base, options.attach) == (Hollow(), Base(), None)


def test_a_null_is_no_wish() -> None:
    options = JobRequest.model_validate(GOOD | {"hollow": None, "base": None}).print_options()
    assert not options.has_additions


@pytest.mark.parametrize(
    ("fields", "place", "reason"),
    [
        ({"base": {}, "height_mm": None}, "base", "give height_mm too"),
        ({"hollow": {"wall_mm": 20}, "height_mm": 30}, "hollow", "walls of 20 mm leave nothing"),
        ({"hollow": {"drain": "none", "drain_diameter_mm": 5}}, "hollow", "there is no hole"),
        ({"base": {"text": "  "}}, "base", "shows nothing"),
        ({"base": {"mesh_url": "https://example.com/a.stl", "margin_mm": 1}}, "base", "a pedestal as it is"),
        ({"base": {"text": "Жar"}}, "base", r"'Ж' \(U\+0416\)"),
        ({"base": {"text": "a\nb"}}, "base", r"'\\n' \(U\+000A\)"),
        ({"base": {"text_style": "embossed"}}, "base", "there is no text"),
        ({"base": {}, "attach": {"kind": "magnet"}}, "attach", "ask for one of them"),
        ({"attach": {"kind": "magnet", "diameter_mm": 59}}, "attach", "need 60.6 mm"),
        ({"hollow": {}, "attach": {"kind": "magnet"}}, "attach", "wall_mm must be 2.8 at least"),
        ({"base": {"height_mm": 0.5}}, "base.height_mm", "greater than or equal to 1"),
        ({"base": {"colour": "red"}}, "base.colour", "Unexpected keyword"),
        ({"attach": {}}, "attach.kind", "required"),
        ({"hollow": "yes"}, "hollow", "must be a JSON object"),
        ({"hollow": [1]}, "hollow", "dictionary"),
        ({"hollow": {"wall_mm": float("nan")}}, "hollow.wall_mm", "than or equal"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name_with_the_reason(
    fields: dict[str, Any], place: str, reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason) as caught:
        JobRequest.model_validate(GOOD | fields)
    assert [".".join(map(str, one["loc"])) for one in caught.value.errors()] == [place]


def test_a_bad_height_is_the_only_fault_of_a_request_that_has_one() -> None:
    with pytest.raises(ValidationError) as caught:
        JobRequest.model_validate(GOOD | {"height_mm": -1, "base": {}})
    assert [one["loc"] for one in caught.value.errors()] == [("height_mm",)]


def test_a_mesh_that_is_there_has_its_own_height() -> None:
    fields = {name: value for name, value in GOOD.items() if name != "height_mm"}
    request = JobRequest.model_validate(fields | {"base": {}}, context=IS_OF_MESH)
    assert request.print_options().base == Base()


def test_a_keyring_goes_with_a_hollow_on_a_base() -> None:
    wishes = {"hollow": {}, "base": {"text": "Ada"}, "attach": {"kind": "keyring"}}
    assert JobRequest.model_validate(GOOD | wishes).print_options().has_additions
