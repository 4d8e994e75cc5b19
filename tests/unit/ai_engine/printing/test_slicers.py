"""Two programs that are not ours open what we write: ADMesh finds nothing to repair, PrusaSlicer slices it.

Both are Debian packages: `apt-get install --no-install-recommends admesh prusa-slicer` (439 MB unpacked).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.broken_meshes import BROKEN
from support.mesh_files import NOTES, objects_of, strictly_read
from support.random_prints import random_options, random_shape
from support.slicing import admesh_findings, needs_admesh, needs_slicer, run
from support.solid_shapes import sphere

from ai_engine.additions.base import NOT_JOINED
from ai_engine.errors import AdditionUnfit
from ai_engine.facts import MeshFormat
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import through_stl, write_mesh
from ai_engine.printing.prepare import finish
from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.print_options import PrintOptions

NOT_TO_REPAIR = ("cup", "moebius", "empty", "one_triangle")
"""What is missing there can't be known, or nothing is there."""
MESHES = [name for name in BROKEN if name not in NOT_TO_REPAIR]
OPTIONS = {
    "upright": PrintOptions(height_mm=30),
    "flat base": PrintOptions(height_mm=30, flat_base=True),
    "few faces": PrintOptions(height_mm=30, flat_base=True, target_faces=400),
}


def finished(name: str, options: PrintOptions) -> Mesh:
    return finish(BROKEN[name](), options)[0]


@needs_admesh
@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("name", MESHES)
def test_admesh_finds_nothing_to_repair(tmp_path: Path, name: str, options: PrintOptions) -> None:
    write_mesh(finished(name, options), tmp_path / "a.stl", "stl")
    findings = admesh_findings(tmp_path / "a.stl")
    assert len(findings) == 10
    assert not any(any(numbers) for numbers in findings.values()), findings


@needs_admesh
def test_admesh_does_find_what_is_broken(tmp_path: Path) -> None:
    write_mesh(BROKEN["open_ball"](), tmp_path / "a.stl", "stl")
    assert admesh_findings(tmp_path / "a.stl")["Total disconnected facets"] == [3, 3]


@needs_slicer
@pytest.mark.parametrize("name", MESHES)
def test_prusa_slicer_slices_it(tmp_path: Path, name: str) -> None:
    write_mesh(finished(name, OPTIONS["flat base"]), tmp_path / "a.stl", "stl")
    output = run(
        *("prusa-slicer", "--export-gcode", "--layer-height", "0.3", "--fill-density", "5%"),
        *("--output", tmp_path / "a.gcode", tmp_path / "a.stl"),
    )
    gcode = (tmp_path / "a.gcode").read_text()
    assert "error" not in output.lower()
    heights = [float(height) for height in re.findall(r"^G1 Z([\d.]+)", gcode, re.MULTILINE)]
    assert 29 < max(heights) < 36


@needs_slicer
@pytest.mark.parametrize("file_format", ["stl", "3mf", "obj"])
def test_prusa_slicer_reads_every_format_it_knows_in_the_right_size(
    tmp_path: Path, file_format: MeshFormat
) -> None:
    mesh, found = finish(sphere(24), PrintOptions(height_mm=40, flat_base=True))
    write_mesh(mesh, tmp_path / f"a.{file_format}", file_format)
    told = dict(
        re.findall(
            r"^(\w+) = +(\S+)", run("prusa-slicer", "--info", tmp_path / f"a.{file_format}"), re.MULTILINE
        )
    )
    assert told["manifold"] == "yes"
    assert int(told["number_of_facets"]) == found.num_faces
    assert int(told["number_of_parts"]) == 1
    assert float(told["size_z"]) == pytest.approx(40)
    assert float(told["volume"]) == pytest.approx(found.volume, rel=1e-4)


ADDED = {
    "base": PrintOptions(height_mm=40, base=Base("hex", height_mm=9, text="Ada 42", text_style="embossed")),
    "hollow on a base": PrintOptions(height_mm=40, hollow=Hollow(2.0), base=Base("oval", text="Müller")),
    "hollow, closed": PrintOptions(height_mm=30, hollow=Hollow(2.5, "none")),
    "keyring": PrintOptions(height_mm=30, attach=Attach("keyring", 5, 3)),
    "magnet": PrintOptions(height_mm=30, attach=Attach("magnet", 10, 3)),
    "all, few faces": PrintOptions(
        height_mm=40, target_faces=6000, hollow=Hollow(), base=Base(text="Ada"), attach=Attach("keyring")
    ),
}
"""What is added to a ball of 24 rings."""


@needs_admesh
@pytest.mark.parametrize("options", ADDED.values(), ids=list(ADDED))
def test_admesh_finds_nothing_to_repair_in_what_was_added(tmp_path: Path, options: PrintOptions) -> None:
    write_mesh(finish(sphere(24), options)[0], tmp_path / "a.stl", "stl")
    findings = admesh_findings(tmp_path / "a.stl")
    assert len(findings) == 10
    assert not any(any(numbers) for numbers in findings.values()), findings


@needs_slicer
@pytest.mark.parametrize(
    "name", [one if one == "hollow on a base" else pytest.param(one, marks=pytest.mark.slow) for one in ADDED]
)
def test_prusa_slicer_slices_what_was_added(tmp_path: Path, name: str) -> None:
    mesh, found = finish(sphere(24), ADDED[name])
    write_mesh(mesh, tmp_path / "a.3mf", "3mf")
    told = dict(
        re.findall(r"^(\w+) = +(\S+)", run("prusa-slicer", "--info", tmp_path / "a.3mf"), re.MULTILINE)
    )
    assert told["manifold"] == "yes"
    assert float(told["volume"]) == pytest.approx(found.volume, rel=1e-4)
    output = run(
        *("prusa-slicer", "--export-gcode", "--layer-height", "0.3", "--fill-density", "5%"),
        *("--output", tmp_path / "a.gcode", tmp_path / "a.3mf"),
    )
    # Of walls that it makes itself it says, in some runs, that it reversed one.
    assert "error" not in re.sub(r".*reversing even wall line.*", "", output).lower()
    heights = re.findall(r"^G1 Z([\d.]+)", (tmp_path / "a.gcode").read_text(), re.MULTILINE)
    assert max(map(float, heights)) > found.bbox[2] - 1


def check_random_print(seed: int, folder: Path) -> str:
    """A random shape with random wishes: closed, one body, the parts' volume; and what three programs make of it.

    Gives the code of the refusal where a wish does not fit the shape.
    """
    random = np.random.default_rng(seed)
    shape, wishes = random_shape(random), random_options(random)
    try:
        mesh, found = finish(shape, wishes, see=lambda one: through_stl(one, folder / "a.stl"))
    except AdditionUnfit as refusal:
        return refusal.code
    assert found.is_watertight
    assert (NOT_JOINED in found.warnings) == (found.num_bodies > 1)
    if wishes.target_faces is None:
        plain = finish(shape, replace(wishes, hollow=None, base=None, attach=None))[1]
        parts = plain.volume + sum(one.volume_mm3 for one in found.additions)
        assert found.volume == pytest.approx(parts, rel=1e-3, abs=1)
    findings = admesh_findings(folder / "a.stl")
    assert not any(any(numbers) for numbers in findings.values()), findings
    write_mesh(mesh, folder / "a.3mf", "3mf", notes=NOTES)
    model, complaints = strictly_read(folder / "a.3mf")
    assert complaints == []
    assert all(one.IsValid() and one.IsManifoldAndOriented() for one in objects_of(model))
    # What stands on a tip has nothing in its first layer, which PrusaSlicer refuses without a raft.
    raft: tuple[str, ...] = () if wishes.base or wishes.flat_base else ("--raft-layers", "2")
    assert_sliced(folder / "a.3mf", *raft, top_mm=found.bbox[2])
    return "sliced"


def assert_sliced(path: Path, *flags: str, top_mm: float) -> None:
    """PrusaSlicer finds it closed, and prints up to its top."""
    assert re.search(r"^manifold = yes", run("prusa-slicer", "--info", path), re.MULTILINE)
    gcode = path.with_suffix(".gcode")
    shared = ("prusa-slicer", "--export-gcode", "--layer-height", "0.3", "--fill-density", "0%")
    run(*shared, *flags, "--output", gcode, path)
    heights = re.findall(r"^G1 Z([\d.]+)", gcode.read_text(), re.MULTILINE)
    assert max(map(float, heights)) > top_mm - 1


@needs_admesh
@needs_slicer
@pytest.mark.slow
@settings(max_examples=40, deadline=None, database=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_any_shape_with_any_wishes_is_a_solid_that_other_programs_take(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    assert check_random_print(seed, tmp_path_factory.mktemp("print")) in {"sliced", "addition_unfit"}
