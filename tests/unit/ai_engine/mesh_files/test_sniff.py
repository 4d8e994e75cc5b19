from __future__ import annotations

import pytest

from ai_engine.mesh_files.sniff import format_of, format_of_start, is_binary_stl, sniffed_format


def test_suffix_and_content_say_which_format_a_file_is_in() -> None:
    assert format_of("a/b.3MF") == "3mf"
    assert sniffed_format(b"glTF....") == "glb"
    with pytest.raises(ValueError, match="end in"):
        format_of("mesh.step")


def test_a_binary_stl_is_as_long_as_its_faces_need() -> None:
    start = bytes(80) + (3).to_bytes(4, "little")
    assert is_binary_stl(start, 84 + 3 * 50)
    assert not is_binary_stl(start, 84 + 3 * 50 + 1)
    assert format_of_start(start, 84 + 3 * 50) == "stl"
