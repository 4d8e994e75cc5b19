from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support import broken_meshes
from support.slicing import needs_slicer
from support.solid_shapes import cube, sphere

import main
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import FileNotes, write_mesh
from ai_engine.mesh_files.read import read_mesh


def write(mesh: Mesh, path: Path) -> Path:
    write_mesh(mesh, path, "stl", notes=FileNotes(is_mm=True))
    return path


def run(*arguments: str | Path | float) -> int:
    return main.main([str(one) for one in arguments])


def test_a_good_mesh_is_printable_and_a_broken_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = (
        write(cube(20.0), tmp_path / "good.stl"),
        write(broken_meshes.open_ball(), tmp_path / "bad.stl"),
    )

    assert run("check", good) == 0
    assert run("check", bad) == 3
    assert run("check", good, bad) == 3
    assert "NOT PRINTABLE" in capsys.readouterr().out


def test_the_whole_report_comes_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", write(cube(20.0), tmp_path / "good.stl"), "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["watertight"], report["bodies"], report["bbox_mm"]) == (True, 1, [20.0, 20.0, 20.0])


def test_a_file_that_is_no_mesh_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.stl").write_bytes(b"no mesh")
    assert run("check", tmp_path / "a.stl") == 1
    assert run("check", tmp_path / "absent.stl") == 1
    assert "no mesh in STL" in capsys.readouterr().err
    assert run("check", "--json", tmp_path / "a.stl") == 1
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "mesh_invalid"


def test_a_mesh_is_scaled_and_written_in_another_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(cube(20.0), tmp_path / "a.stl")

    assert run("finish", source, "--height-mm", 60, "-o", tmp_path / "b.3mf") == 0

    assert capsys.readouterr().out == f"{tmp_path / 'b.3mf'}\n"
    assert read_mesh((tmp_path / "b.3mf").read_bytes()).mesh.vertices[:, 2].max() == pytest.approx(60)


def test_without_a_height_a_mesh_of_somebody_stays_as_tall_as_it_was(tmp_path: Path) -> None:
    assert run("finish", write(broken_meshes.open_ball(), tmp_path / "a.stl"), "-o", tmp_path / "b.stl") == 0
    before, after = (read_mesh((tmp_path / name).read_bytes()).mesh for name in ("a.stl", "b.stl"))
    assert after.vertices[:, 2].max() == pytest.approx(
        float(before.vertices[:, 2].max() - before.vertices[:, 2].min())
    )
    assert run("check", tmp_path / "b.stl") == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ["--height-mm", "0"],
        ["--base", "{bad"],
        ["--base", '{"shape": "cloud"}'],
        ["-o", "b.doc"],
        ["-o", "b.stl", "--format", "glb"],
    ],
)
def test_a_command_line_that_makes_no_sense_is_usage_in_one_line(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(cube(20.0), tmp_path / "a.stl")
    assert run("finish", source, "-o", tmp_path / "b.stl", *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ai-engine finish: ")


def test_nothing_is_written_where_the_mesh_can_not_be_finished(tmp_path: Path) -> None:
    (tmp_path / "a.stl").write_bytes(b"no mesh")
    assert run("finish", tmp_path / "a.stl", "-o", tmp_path / "b.stl") == 1
    assert not (tmp_path / "b.stl").exists()


def test_a_limit_to_the_files_bytes_is_kept_in_each_format(tmp_path: Path) -> None:
    source = write(sphere(60), tmp_path / "ball.stl")
    assert (
        run(
            "finish",
            source,
            "-o",
            tmp_path / "out",
            "--format",
            "stl",
            "--format",
            "glb",
            "--max-bytes",
            30_000,
        )
        == 0
    )
    sizes = [path.stat().st_size for path in (tmp_path / "out").iterdir()]
    assert len(sizes) == 2
    assert max(sizes) <= 30_000


def test_a_mesh_stands_on_a_pedestal_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slab = cube(1.0)
    slab = Mesh(slab.vertices * np.asarray([60, 60, 10], np.float32), slab.faces)
    part, stand = write(cube(20.0), tmp_path / "part.stl"), write(slab, tmp_path / "slab.stl")
    out = tmp_path / "out.stl"

    assert run("finish", part, "--base-mesh", stand, "-o", out) == 0
    sides = np.ptp(read_mesh(out.read_bytes()).mesh.vertices, axis=0)
    assert sides == pytest.approx([60, 60, 30], abs=1)
    assert run("finish", part, "--base-mesh", stand, "--base", "{}", "-o", out) == 2
    assert "give one" in capsys.readouterr().err
    assert run("finish", part, "--base-mesh", tmp_path / "none.stl", "-o", out) == 1


@needs_slicer
def test_g_code_is_written_beside_the_mesh(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(cube(20.0), tmp_path / "a.stl")

    assert run("finish", source, "--slice", '{"filament": "petg"}', "-o", tmp_path / "b.3mf") == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "b.3mf"), str(tmp_path / "b.gcode")]
    assert (tmp_path / "b.gcode").read_bytes().startswith(b"; generated by PrusaSlicer")


def test_g_code_without_a_slicer_is_a_failure_that_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLICER", "no-such-slicer")
    source = write(cube(20.0), tmp_path / "a.stl")

    assert run("finish", source, "--slice", "{}", "-o", tmp_path / "b.3mf") == 1
    assert "apt-get install prusa-slicer" in capsys.readouterr().err
    assert not (tmp_path / "b.3mf").exists()
