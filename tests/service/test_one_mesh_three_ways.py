"""The command, the Python call and the service: the same bytes for the same picture, seed, options and name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ai_engine import Engine
from ai_engine.mesh_files.read import read_mesh
from service.house import ROOT, House

PICTURE = ROOT / "examples" / "pictures" / "vase.png"
FIELDS: dict[str, Any] = {
    "height_mm": 80.0,
    "seed": 7,
    "octree_resolution": 64,
    "num_inference_steps": 4,
    "format": "3mf",
    "base": {"shape": "rounded", "text": "Ada 42", "height_mm": 10},
}
EMBEDDED = {"MODEL_VARIANT": "", "MATTING_MODEL": "tiny", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    one = House(tmp_path_factory.mktemp("three-ways"), settings=EMBEDDED)
    with one.serving():
        yield one


def command(folder: Path, *arguments: str) -> bytes:
    given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in FIELDS.items()}
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]
    out = folder / "vase.3mf"
    subprocess.run(
        [sys.executable, "main.py", "generate", str(PICTURE), "-o", str(out), *flags, *arguments],
        cwd=ROOT,
        check=True,
    )
    return out.read_bytes()


def test_the_service_the_command_and_the_call_give_the_same_bytes(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in EMBEDDED.items():
        monkeypatch.setenv(name, value)
    with Engine(f"http://127.0.0.1:{house.port}") as there:
        remote = there.generate(PICTURE, **FIELDS)
        as_stl = remote.bytes_as("stl")
    with Engine() as here:
        local = here.generate(PICTURE, **FIELDS)
        assert local.bytes_as("stl") == as_stl
    # The other format was a variant: the device worked once.
    assert len([line for line in house.log("serve") if line["message"] == "device taken"]) == 1

    assert remote.data == local.data == command(tmp_path)
    assert command(tmp_path, "--server", f"http://127.0.0.1:{house.port}") == local.data
    assert remote.report == local.report
    assert remote.model == local.model
    assert read_mesh(local.data).mesh.vertices[:, 2].max() > 80
