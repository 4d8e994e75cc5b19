from __future__ import annotations

import io

import pytest
import trimesh

from ai_engine.api.finishing.sent_mesh import check_mesh_bytes, check_start
from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.errors import InvalidField


@pytest.mark.parametrize("file_format", ["stl", "stl_ascii", "3mf", "obj", "ply", "glb"])
def test_each_format_begins_as_one_that_is_read(file_format: str) -> None:
    data = trimesh.creation.box((1, 2, 3)).export(file_type=file_format)
    check_start(io.BytesIO(data if isinstance(data, bytes) else data.encode()), "mesh")


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"<html>", bytes(85)])
def test_anything_else_is_refused_by_the_field(data: bytes) -> None:
    with pytest.raises(InvalidField) as caught:
        check_start(io.BytesIO(data), "mesh_url")
    assert (caught.value.field, caught.value.field_code) == ("mesh_url", "mesh_invalid")


def test_a_file_over_the_limit_is_refused_by_its_size() -> None:
    limits = MeshLimits(max_bytes=100)
    check_mesh_bytes(100, limits, "mesh")
    with pytest.raises(InvalidField) as caught:
        check_mesh_bytes(101, limits, "mesh")
    assert caught.value.field_code == "mesh_too_large"
