"""Costs against a pencil, and against the slicer where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from support.solid_shapes import cube

from ai_engine.facts import AdditionFacts
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import write_mesh
from ai_engine.printing.costs import BEDS_MM, INFILL, SHELL_MM, cost_of, weigh
from ai_engine.printing.report import report


def block(x: float, y: float, z: float) -> Mesh:
    points = cube(1.0).vertices * np.asarray([x, y, z], np.float32)
    points[:, 2] -= points[:, 2].min()
    return Mesh(points, cube().faces)


def test_a_cube_of_40_mm_has_the_grams_that_a_pencil_says() -> None:
    found = report(block(40, 40, 40), units="mm").costs
    assert found is not None
    shell = SHELL_MM * 6 * 40**2
    filament_cm3 = (shell + INFILL * (40**3 - shell)) / 1000
    assert found.grams["resin"] == pytest.approx(1.1 * 64, abs=0.06)
    assert found.grams["pla"] == pytest.approx(1.24 * filament_cm3, abs=0.06)
    assert found.grams["abs"] < found.grams["pla"] < found.grams["petg"]


def test_what_is_all_shell_takes_its_volume() -> None:
    assert cost_of(100.0, 400.0, (20, 20, 0.5)).grams["pla"] == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize(
    ("bbox", "does_fit"),
    [((250, 210, 220), True), ((210, 250, 220), True), ((250, 211, 220), False), ((10, 10, 221), False)],
)
def test_a_printer_holds_what_its_bed_is_as_large_as(
    bbox: tuple[float, float, float], does_fit: bool
) -> None:
    assert ("prusa mk4" in cost_of(1.0, 1.0, bbox).fits) is does_fit


def test_what_is_larger_than_every_bed_fits_none() -> None:
    assert cost_of(1.0, 1.0, (1000, 10, 10)).fits == ()
    assert set(cost_of(1.0, 1.0, (10, 10, 10)).fits) == set(BEDS_MM)


def test_there_are_no_costs_of_model_units_and_of_what_is_open() -> None:
    assert report(block(1, 1, 1)).costs is None
    opened = Mesh(block(10, 10, 10).vertices, cube().faces[1:])
    assert report(opened, units="mm").costs is None


def test_a_hollow_saves_the_resin_of_the_volume_that_it_takes_away() -> None:
    saved = weigh(AdditionFacts("hollow", volume_mm3=-46_656.0, count=1, drains=1))
    assert saved.resin_grams == pytest.approx(-1.1 * 46.656, abs=0.06)
    assert (saved.volume_mm3, saved.count, saved.drains) == (-46_656.0, 1, 1)


@pytest.mark.skipif(
    shutil.which("prusa-slicer") is None, reason="PRUSA-SLICER IS MISSING: nothing was sliced"
)
@pytest.mark.parametrize("size", [(40, 40, 40), (60, 60, 9), (20, 30, 50)])
def test_the_slicer_finds_about_the_same(tmp_path: Path, size: tuple[float, float, float]) -> None:
    """Within the worst errors of the fit, in which the first size alone took part."""
    mesh = block(*size)
    write_mesh(mesh, tmp_path / "a.stl", "stl")
    command = ["prusa-slicer", "--export-gcode", "--layer-height", "0.2", "--fill-density", "15%"]
    subprocess.run(
        [*command, "--nozzle-diameter", "0.4", "-o", str(tmp_path / "a.gcode"), str(tmp_path / "a.stl")],
        check=True,
        capture_output=True,
        timeout=240,
    )
    text = (tmp_path / "a.gcode").read_text(errors="replace")
    (used_cm3,) = re.findall(r"; filament used \[cm3\] = ([\d.]+)", text)
    (spent,) = re.findall(r"; estimated printing time \(normal mode\) = (.+)", text)
    units = {"d": 24.0, "h": 1.0, "m": 1 / 60, "s": 1 / 3600}
    hours = sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([dhms])", spent))
    found = report(mesh, units="mm").costs
    assert found is not None
    assert found.grams["pla"] == pytest.approx(1.24 * float(used_cm3), rel=0.35)
    assert found.hours == pytest.approx(hours, rel=0.4)
