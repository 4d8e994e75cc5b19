from __future__ import annotations

from typing import Any

import pytest

from ai_engine.compatible.hunyuan3d import _fields
from ai_engine.errors import InvalidField

PICTURE = {"image": "iVBORw0K"}


def test_what_that_server_reads_becomes_a_job_of_the_same_meaning() -> None:
    said = {"octree_resolution": 128, "num_inference_steps": 5, "guidance_scale": 7.5, "num_chunks": 8000}

    fields = _fields(PICTURE | said | {"seed": 0, "remove_background": False, "type": "obj"})

    assert fields == said | {
        "session_id": "hunyuan3d",
        "asset_id": "mesh",
        "format": "obj",
        "seed": 0,
        "remove_background": "never",
        "image_url": "data:image/png;base64,iVBORw0K",
    }


def test_without_wishes_the_seed_is_theirs_and_the_rest_the_models_own() -> None:
    fields = _fields(
        PICTURE | {"texture": False, "face_count": 40_000, "mc_algo": "mc", "guidance_scale": None}
    )

    assert (fields["seed"], fields["format"]) == (1234, "glb")
    assert fields.keys() == {"session_id", "asset_id", "format", "seed", "image_url"}


def test_pictures_of_several_sides_are_views() -> None:
    fields = _fields(PICTURE | {"image_left": "bGVmdA==", "image_back": None, "image_right": "cmlnaHQ="})

    assert list(fields["image_urls"]) == ["front", "left", "right"]
    assert "image_url" not in fields


def test_a_picture_that_came_as_a_file_is_not_looked_for_in_the_fields() -> None:
    assert _fields({}, has_file=True).keys() == {"session_id", "asset_id", "format", "seed"}


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"text": "a chair"}, "text"),
        ({"mesh": "Z2xURg==", "image": "iVBORw0K"}, "mesh"),
        ({"image": "iVBORw0K", "texture": True}, "texture"),
        ({"image": "iVBORw0K", "texture": "true"}, "texture"),
        ({}, "image"),
        ({"image": 7}, "image"),
    ],
)
def test_what_is_not_made_here_is_refused_by_its_field(said: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidField) as error:
        _fields(said)

    assert error.value.field == field


def test_a_picture_beside_a_text_wins_as_there() -> None:
    assert "image_url" in _fields(PICTURE | {"text": "a chair"})
