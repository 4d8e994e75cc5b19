from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from support.broken_meshes import BROKEN, hollow_ball
from support.solid_shapes import cube, joined, sphere

from ai_engine.errors import NotPrintable
from ai_engine.mesh.mesh import Mesh
from ai_engine.printing.orientation import z_up
from ai_engine.printing.prepare import finish
from ai_engine.printing.report import report
from ai_engine.wishes.print_options import PrintOptions


def faces_changed(mesh: Mesh, faces: np.ndarray) -> Mesh:
    return Mesh(mesh.vertices, faces.astype(np.int32))


def box(x: float, y: float, z: float) -> Mesh:
    return Mesh(cube(1).vertices * np.asarray([x, y, z], np.float32), cube().faces)


def test_a_cube_is_closed_with_its_true_volume_and_size() -> None:
    found = report(cube(side=2.0, centre=(5, 6, 7)))
    assert found.is_watertight
    assert found.is_winding_consistent
    assert found.volume == pytest.approx(8.0)
    assert found.area == pytest.approx(24.0)
    assert found.bbox == pytest.approx((2.0, 2.0, 2.0))
    assert (found.num_bodies, found.num_faces, found.num_vertices) == (1, 12, 8)
    assert found.warnings == ()


def test_a_missing_face_is_an_open_surface() -> None:
    found = report(faces_changed(cube(), cube().faces[1:]))
    assert not found.is_watertight
    assert not found.is_closed
    assert found.is_manifold
    assert found.is_winding_consistent
    assert found.warnings == ("The surface is not closed: it ends at 3 edges.",)


def test_one_flipped_face_breaks_the_winding_and_leaves_it_closed() -> None:
    faces = cube().faces.copy()
    faces[4] = faces[4, ::-1]
    found = report(faces_changed(cube(), faces))
    assert found.is_closed
    assert not found.is_watertight
    assert not found.is_winding_consistent
    assert found.warnings == ("Some faces look the wrong way.",)


def test_a_mesh_inside_out_is_said_to_be() -> None:
    found = report(faces_changed(cube(), cube().faces[:, ::-1]))
    assert found.is_watertight
    assert found.volume == pytest.approx(-8.0)
    assert found.warnings == ("The faces look inwards.",)


def test_a_doubled_face_is_not_manifold() -> None:
    found = report(faces_changed(cube(), np.concatenate([cube().faces, cube().faces[:1]])))
    assert not found.is_manifold
    assert not found.is_watertight


def test_an_edge_with_four_faces_is_not_manifold_though_closed() -> None:
    first, second = cube(), cube(centre=(2, 2, 0))
    upright_edge = {0: 2, 4: 6}  # the second cube's corners that are the first one's
    faces = np.vectorize(lambda number: upright_edge.get(number, number + 8))(second.faces)
    both = Mesh(
        np.concatenate([first.vertices, second.vertices]),
        np.concatenate([first.faces, faces]).astype(np.int32),
    )
    found = report(both)
    assert found.is_closed
    assert found.is_winding_consistent
    assert not found.is_manifold
    assert not found.is_watertight


def test_separate_parts_are_counted_and_loose_vertices_are_not() -> None:
    found = report(joined(cube(), cube(centre=(9, 0, 0)), sphere(4)))
    assert found.num_bodies == 3
    assert found.is_watertight
    loose = Mesh(np.concatenate([cube().vertices, [[50, 50, 50]]]).astype(np.float32), cube().faces)
    assert report(loose).num_bodies == 1
    assert report(loose).bbox == pytest.approx((2.0, 2.0, 2.0))


def test_a_hollow_is_told_apart_from_a_part() -> None:
    found = report(hollow_ball())
    assert (found.num_bodies, found.num_hollows) == (1, 1)
    assert "hollow" in found.warnings[0]


def test_no_face_is_nothing_to_print() -> None:
    found = report(Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)))
    assert not found.is_watertight
    assert not found.is_closed
    assert (found.num_bodies, found.volume) == (0, 0.0)
    assert found.blockers == ("There is nothing to print.",)


def test_walls_too_thin_for_any_printer_are_not_printable() -> None:
    thin = box(40, 60, 0.5)
    _, found = finish(thin, PrintOptions(height_mm=60))
    assert found.smallest_wall == pytest.approx(0.5, rel=0.02)
    assert found.printers == ()
    with pytest.raises(NotPrintable, match=r"0\.50 mm"):
        finish(thin, PrintOptions(height_mm=60, require_printable=True))


@pytest.mark.parametrize(
    ("thickness", "printers"), [(0.9, ("resin",)), (1.2, ("fdm", "resin")), (9.0, ("fdm", "resin"))]
)
def test_walls_are_held_against_each_kind_of_printer(thickness: float, printers: tuple[str, ...]) -> None:
    _, found = finish(box(40, 60, thickness), PrintOptions(height_mm=60, require_printable=True))
    assert found.printers == printers


def test_model_units_are_not_held_against_printers() -> None:
    _, found = finish(box(1, 1, 0.01), PrintOptions(require_printable=True))
    assert found.smallest_wall is None
    assert found.printers == ()


def test_overhang_and_contact_of_a_cube_on_its_corner_and_on_its_face() -> None:
    flat = report(z_up(cube(20)), units="mm")
    assert flat.overhang_share == 0
    assert flat.contact_area == pytest.approx(400)
    turned = cube(20).vertices @ np.linalg.qr(np.asarray([[1.0, 1, 1], [0, 1, 2], [1, 0, 3]]))[0]
    on_corner = report(Mesh(turned.astype(np.float32), cube().faces), units="mm")
    assert on_corner.contact_area == 0
    assert "Little of it stands flat on the plate." in on_corner.warnings


def test_a_mushroom_hangs_over() -> None:
    stem, cap = box(4, 4, 10), box(20, 20, 4)
    cap = Mesh(cap.vertices + np.asarray([0, 0, 7.001], np.float32), cap.faces)
    assert report(joined(stem, cap), units="mm").overhang_share == pytest.approx(
        400 / (160 + 32 + 800 + 320), rel=0.01
    )


def test_the_report_is_made_from_what_a_slicer_sees() -> None:
    finished, found = finish(sphere(8), see=lambda mesh: cube())
    assert len(finished.faces) == 256
    assert found.num_faces == 12


def test_the_report_becomes_plain_json_of_modest_size() -> None:
    _, found = finish(BROKEN["touching_edge"](), PrintOptions(height_mm=30, flat_base=True))
    told = json.loads(json.dumps(asdict(found.facts())))
    assert told["watertight"] is True
    assert told["bodies"] == 2
    assert told["bbox_mm"][2] == 30
    assert told["printable"] is True
    assert len(json.dumps(told)) < 1500
