from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import trimesh

from ai_engine.caller_meshes import reader
from ai_engine.caller_meshes.read_apart import answer_of
from ai_engine.caller_meshes.read_here import ReadFacts
from ai_engine.errors import MeshBomb, TooManyFaces

ROOT = Path(__file__).parents[4]


def arguments(folder: Path, max_faces: int) -> list[str]:
    (folder / "part").write_bytes(trimesh.creation.box((1, 2, 3)).export(file_type="stl"))
    return [str(folder / "part"), str(folder / "mesh.npz"), str(max_faces), "0"]


def test_facts_and_refusals_are_one_line_of_json(tmp_path: Path) -> None:
    facts, refusal = reader.read(arguments(tmp_path, 12)), reader.read(arguments(tmp_path, 11))

    assert isinstance(facts, ReadFacts)
    assert isinstance(refusal, TooManyFaces)
    assert '"error": "mesh_too_many_faces"' in answer_of(refusal)
    assert '"format": "stl"' in answer_of(facts)


def test_memory_that_runs_out_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(reader, "read_here", full)
    assert isinstance(reader.read(arguments(tmp_path, 12)), MeshBomb)


def test_the_process_can_not_have_more_memory_than_its_limit() -> None:
    code = (
        "from ai_engine.caller_meshes.reader import limit_process; limit_process(); "
        "import numpy; numpy.ones(10**9)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "emory" in done.stderr
