"""Two programs that are not ours open what we write: ADMesh finds nothing to repair, PrusaSlicer slices it.

Both are Debian packages: `apt-get install --no-install-recommends admesh prusa-slicer` (439 MB unpacked).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.broken_meshes import BROKEN
from support.solid_shapes import sphere

from ai_engine.facts import MeshFormat
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import write_mesh
from ai_engine.printing.prepare import finish
from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.print_options import PrintOptions

WITHIN_S = 240
NOT_TO_REPAIR = ("cup", "moebius", "empty", "one_triangle")
"""What is missing there can't be known, or nothing is there."""
MESHES = [name for name in BROKEN if name not in NOT_TO_REPAIR]
OPTIONS = {
    "upright": PrintOptions(height_mm=30),
    "flat base": PrintOptions(height_mm=30, flat_base=True),
    "few faces": PrintOptions(height_mm=30, flat_base=True, target_faces=400),
}

needs_admesh = pytest.mark.skipif(
    shutil.which("admesh") is None, reason="ADMESH IS MISSING: no second opinion. apt-get install admesh"
)
needs_slicer = pytest.mark.skipif(
    shutil.which("prusa-slicer") is None,
    reason="PRUSA-SLICER IS MISSING: nothing was sliced. apt-get install --no-install-recommends prusa-slicer",
)


def finished(name: str, options: PrintOptions) -> Mesh:
    return finish(BROKEN[name](), options)[0]


def run(*command: str | Path) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        timeout=WITHIN_S,
        check=False,
    )
    output = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, output
    return output


def admesh_findings(path: Path) -> dict[str, list[int]]:
    """Each line of ADMesh's table that counts a fault, with its numbers."""
    output = run("admesh", "--exact", "--normal-directions", path)
    faults = (
        *("disconnected edge", "Total disconnected facets", "Degenerate facets", "Edges fixed"),
        *("Facets removed", "Facets added", "Facets reversed", "Backwards edges"),
    )
    found = {}
    for line in output.splitlines():
        name, _, rest = line.partition(":")
        if any(fault in name for fault in faults):
            found[name.strip()] = [int(number) for number in re.findall(r"\d+", rest.split("Volume")[0])]
    return found


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
