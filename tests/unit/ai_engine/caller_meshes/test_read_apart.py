"""A file is read in another process: what breaks there, or never ends, is a typed error here."""

from __future__ import annotations

from pathlib import Path

import pytest
import trimesh
from support.mesh_bombs import BOMBS

from ai_engine.caller_meshes import read_apart as module
from ai_engine.caller_meshes.read_apart import read_apart
from ai_engine.caller_meshes.read_here import read_here
from ai_engine.errors import JobCancelled, MeshBomb, MeshUnreadable


def file_of(data: bytes, folder: Path) -> Path:
    (folder / "part").write_bytes(data)
    return folder / "part"


def test_it_gives_what_reading_here_gives(tmp_path: Path) -> None:
    source = file_of(trimesh.creation.box((1, 2, 3)).export(file_type="3mf"), tmp_path)

    facts = read_apart(source, tmp_path / "apart.npz", max_faces=12)

    assert facts == read_here(source, tmp_path / "here.npz", max_faces=12)
    assert (tmp_path / "apart.npz").read_bytes() == (tmp_path / "here.npz").read_bytes()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_no_more_than_the_process_may_have(name: str, tmp_path: Path) -> None:
    data, codes = BOMBS[name]
    with pytest.raises(MeshUnreadable) as caught:
        read_apart(file_of(data, tmp_path), tmp_path / "mesh.npz", max_faces=20_000)
    assert caught.value.code in codes


def test_a_process_that_ends_without_an_answer_had_too_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(MeshBomb):
        read_apart(file_of(b"ply\n", tmp_path), tmp_path / "mesh.npz", max_faces=12)


def test_a_process_that_takes_too_long_is_ended_and_so_is_one_whose_job_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 600\n")
    sleeper.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(sleeper))
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    source = file_of(b"ply\n", tmp_path)

    def stop() -> None:
        raise JobCancelled

    with pytest.raises(JobCancelled):
        read_apart(source, tmp_path / "mesh.npz", max_faces=12, look=stop)
    monkeypatch.setattr(module, "MAX_READ_S", 0.0)
    with pytest.raises(MeshBomb, match="longer"):
        read_apart(source, tmp_path / "mesh.npz", max_faces=12)


def test_the_process_gets_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teller = tmp_path / "teller"
    teller.write_text(f"#!/bin/sh\nenv > {tmp_path}/env\n")
    teller.chmod(0o700)
    monkeypatch.setattr("sys.executable", str(teller))
    monkeypatch.setenv("WEBHOOK_SECRET", "whsec_hidden")
    with pytest.raises(MeshBomb):
        read_apart(file_of(b"ply\n", tmp_path), tmp_path / "mesh.npz", max_faces=12)
    assert "whsec_hidden" not in (tmp_path / "env").read_text()
