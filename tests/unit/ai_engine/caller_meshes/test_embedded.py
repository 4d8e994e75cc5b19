from __future__ import annotations

import base64

import pytest

from ai_engine.caller_meshes.embedded import decode_mesh_url
from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.errors import MeshTooLarge, MeshUnreadable

LIMITS = MeshLimits(max_bytes=1000)


@pytest.mark.parametrize("head", ["data:model/stl;base64,", "data:;base64,", "DATA:text/plain;x=1;BASE64,"])
def test_a_data_url_of_any_media_type_is_decoded(head: str) -> None:
    assert decode_mesh_url(head + base64.b64encode(b"solid").decode(), LIMITS) == b"solid"


@pytest.mark.parametrize("url", ["data:model/stl,solid", "data:model/stl;base64", "data:;base64,!!!"])
def test_a_data_url_without_base64_is_no_mesh(url: str) -> None:
    with pytest.raises(MeshUnreadable):
        decode_mesh_url(url, LIMITS)


def test_a_data_url_is_as_bounded_as_a_download() -> None:
    with pytest.raises(MeshTooLarge):
        decode_mesh_url("data:;base64," + base64.b64encode(bytes(1001)).decode(), LIMITS)
