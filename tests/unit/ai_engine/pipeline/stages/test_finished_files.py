from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support import sample_job
from support.solid_shapes import cube

from ai_engine.errors import ResultTooLarge
from ai_engine.mesh_files.mesh_file import through_stl
from ai_engine.mesh_files.stl import read_stl
from ai_engine.pipeline.stages.finished_files import FinishedFiles
from ai_engine.printing.report import report
from ai_engine.storage.store import LocalStore
from ai_engine.wishes.print_options import PrintOptions


def files(folder: Path, **changes: object) -> FinishedFiles:
    return FinishedFiles(replace(sample_job.job(), **changes), LocalStore(folder), is_mm=True)  # type: ignore[arg-type]


def test_each_format_has_a_file_and_the_first_is_the_artifact(tmp_path: Path) -> None:
    to = files(tmp_path, format="ply", more_formats=("stl", "3mf"))
    mesh = through_stl(cube(10.0), tmp_path / "mesh.stl", to.notes)

    written = to.write(mesh, tmp_path / "mesh.stl")

    assert written.artifact.uri.endswith("mesh.ply")
    assert set(written.more_files) == {"stl", "3mf"}
    assert len(read_stl(to.store.path(written.more_files["stl"]).read_bytes()).faces) == 12
    assert written.drawable == written.more_files["stl"]
    assert to.facts(report(mesh, units="mm")).format == "ply"


def test_the_picture_is_drawn_where_it_is_wished(tmp_path: Path) -> None:
    to = files(tmp_path, print_options=PrintOptions(height_mm=10, thumbnail=True))
    mesh = through_stl(cube(10.0), tmp_path / "mesh.stl", to.notes)

    written = to.write(mesh, tmp_path / "mesh.stl")

    assert written.drawable is None
    assert written.preview is not None
    assert to.store.path(written.preview).read_bytes().startswith(b"\x89PNG")


def test_a_file_over_max_bytes_is_refused_with_both_numbers(tmp_path: Path) -> None:
    to = files(tmp_path, print_options=PrintOptions(height_mm=10, max_bytes=100))
    mesh = through_stl(cube(10.0), tmp_path / "mesh.stl", to.notes)
    with pytest.raises(ResultTooLarge, match="684 bytes, 100"):
        to.write(mesh, tmp_path / "mesh.stl")
