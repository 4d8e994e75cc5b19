"""There and back between meshes and solids; and other programs on what comes out of the whole room."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.broken_meshes import BROKEN
from support.solid_shapes import cube, joined, sphere

from ai_engine.additions.attach import attach
from ai_engine.additions.base import add_base
from ai_engine.additions.hollow import hollow
from ai_engine.additions.solid import mesh_of, num_bodies, solid_of
from ai_engine.errors import AdditionUnfit
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import FileNotes, write_mesh
from ai_engine.wishes.additions import Attach, Base, Hollow

WITHIN_S = 240
ADDED: dict[str, Callable[[Mesh], Mesh]] = {
    "hollow": lambda mesh: hollow(mesh, Hollow(wall_mm=2)).mesh,
    "engraved base": lambda mesh: add_base(mesh, Base("round", 8, text="Ida 7")).mesh,
    "embossed base": lambda mesh: (
        add_base(mesh, Base("rounded", 8, text="Ida 7", text_style="embossed")).mesh
    ),
    "keyring": lambda mesh: attach(mesh, Attach("keyring", 5, 3)).mesh,
    "magnet": lambda mesh: attach(mesh, Attach("magnet", 8, 2)).mesh,
}


def test_there_and_back_keeps_the_volume() -> None:
    mesh = mesh_of(solid_of(cube(10.0)))
    assert solid_of(mesh).volume() == pytest.approx(1000)
    assert mesh.vertices.dtype == np.float32


def test_an_open_mesh_is_refused() -> None:
    with pytest.raises(AdditionUnfit, match="not closed"):
        solid_of(BROKEN["open_ball"]())


def test_hollows_are_no_bodies() -> None:
    inner = cube(4.0)
    shell = joined(cube(10.0), Mesh(inner.vertices, inner.faces[:, ::-1].copy()), cube(2.0, (20.0, 0.0, 0.0)))
    assert num_bodies(solid_of(shell)) == 2


@pytest.mark.parametrize("add", ADDED.values(), ids=list(ADDED))
def test_other_programs_find_nothing_to_repair_and_slice_it(
    add: Callable[[Mesh], Mesh], tmp_path: Path
) -> None:
    if not (shutil.which("admesh") and shutil.which("prusa-slicer")):
        pytest.skip("ADMESH OR PRUSA-SLICER IS MISSING: no second opinion")
    write_mesh(add(sphere(32, 18.0)), tmp_path / "a.stl", "stl", notes=FileNotes("a", is_mm=True))
    found = run("admesh", "--exact", "--normal-directions", tmp_path / "a.stl")
    faults = [line for line in found.splitlines() if line.startswith(("Edges fixed", "Facets", "Backwards"))]
    assert faults
    assert all("   0" in line or line.endswith(" 0") for line in faults), found
    run("prusa-slicer", "--export-gcode", "--output", tmp_path / "a.gcode", tmp_path / "a.stl")
    assert (tmp_path / "a.gcode").stat().st_size > 10_000


def run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, timeout=WITHIN_S, check=False)
    output = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, output
    return output
