from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ai_engine.errors import StartupError
from ai_engine.storage.store import LocalStore


def test_a_file_is_known_by_its_size_and_sha256(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)

    artifact = store.put_bytes("job", "mesh.stl", b"triangles")

    assert (artifact.size, artifact.sha256) == (9, hashlib.sha256(b"triangles").hexdigest())
    assert store.path(artifact).read_bytes() == b"triangles"
    assert store.has(artifact)


def test_a_file_that_is_gone_or_cut_short_is_not_there(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    artifact = store.put_bytes("job", "mesh.stl", b"triangles")

    path = store.path(artifact)
    path.write_bytes(b"tri")
    assert not store.has(artifact)
    path.unlink()
    assert not store.has(artifact)
    with pytest.raises(FileNotFoundError):
        store.path(artifact)
    with pytest.raises(FileNotFoundError):
        store.read(artifact)


def test_a_write_that_breaks_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
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

    LocalStore(tmp_path).put("job", "mesh.stl", write)

    assert seen_while_writing == [False]


def test_a_file_is_read_in_pieces_whole_or_in_part(tmp_path: Path) -> None:
    store, data = LocalStore(tmp_path), bytes(range(256)) * 3000
    artifact = store.put_bytes("job", "mesh.stl", data)

    assert len(list(store.read(artifact))) == 3
    for start, stop in ((0, None), (1, 2), (262_143, 262_145), (767_999, None), (9, 9)):
        assert b"".join(store.read(artifact, start, stop)) == data[start:stop]


def test_only_folders_of_jobs_are_listed_and_only_the_named_one_is_removed(tmp_path: Path) -> None:
    store, job_ids = LocalStore(tmp_path / "jobs"), ["0" * 32, "1" * 32]
    assert list(store.jobs()) == []
    for name in (*job_ids, "notes"):
        store.put_bytes(name, "mesh.stl", b"triangles")

    assert sorted(job_id for job_id, _ in store.jobs()) == job_ids
    store.remove(job_ids[0])

    assert [job_id for job_id, _ in store.jobs()] == job_ids[1:]
    assert (tmp_path / "jobs" / "notes" / "mesh.stl").exists()


def test_a_folder_that_can_not_be_written_is_told_by_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StartupError, match="DATA_DIR"):
        LocalStore(tmp_path / "file" / "jobs").check()
