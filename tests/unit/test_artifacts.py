from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ai_engine.artifacts import ArtifactStore


def test_a_file_is_known_by_its_size_and_sha256(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)

    artifact = store.put_bytes("job", "mesh.stl", b"triangles")

    assert (artifact.size, artifact.sha256) == (9, hashlib.sha256(b"triangles").hexdigest())
    assert store.path(artifact).read_bytes() == b"triangles"
    assert store.has(artifact)


def test_a_file_that_is_gone_or_cut_short_is_not_there(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifact = store.put_bytes("job", "mesh.stl", b"triangles")

    store.path(artifact).write_bytes(b"tri")
    assert not store.has(artifact)
    store.path(artifact).unlink()
    assert not store.has(artifact)


def test_a_write_that_breaks_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifact = store.put_bytes("job", "mesh.stl", b"triangles")

    def break_down(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        store.put("job", "mesh.stl", break_down)

    assert store.path(artifact).read_bytes() == b"triangles"
    assert [file.name for file in (tmp_path / "job").iterdir()] == ["mesh.stl"]


def test_a_file_is_not_seen_under_its_name_before_it_is_whole(tmp_path: Path) -> None:
    seen_while_writing = []

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        seen_while_writing.append((tmp_path / "job" / "mesh.stl").exists())

    ArtifactStore(tmp_path).put("job", "mesh.stl", write)

    assert seen_while_writing == [False]
