"""The table: meshes broken on purpose, what goes out, what the report says of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from support.broken_meshes import BROKEN
from support.solid_shapes import cube, joined, sphere

from ai_engine.errors import EmptyMesh
from ai_engine.mesh.clean import clean
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import signed_volumes
from ai_engine.mesh.topology import edge_facts
from ai_engine.mesh_files.stl import read_stl
from ai_engine.printing.prepare import finish
from ai_engine.wishes.print_options import PrintOptions

DATA = Path(__file__).parents[3] / "data" / "cases"
BALL = 4 / 3 * np.pi


@dataclass(frozen=True)
class Row:
    """What is known of a broken mesh once it is finished."""

    repairs: dict[str, int]
    num_faces: int
    volume: float
    num_bodies: int = 1
    num_hollows: int = 0


TABLE = {
    "open_ball": Row({"holes_filled": 1}, 1024, BALL),
    "half_ball": Row({"holes_filled": 1}, 610, BALL / 2),
    "some_flipped": Row({"faces_turned": 205}, 1024, BALL),
    "inside_out": Row({"faces_turned": 12}, 12, 8.0),
    "doubled_faces": Row({"double_faces_removed": 40}, 1024, BALL),
    "opposite_pair": Row({"double_faces_removed": 2}, 1024, BALL),
    "floaters": Row({"parts_dropped": 40}, 2304, BALL),
    "inner_floater": Row({"parts_dropped": 1}, 2304, BALL),
    "hollow_ball": Row({}, 3904, BALL * (1 - 0.6**3), num_hollows=1),
    "hollow_inside_out": Row({"faces_turned": 3904}, 3904, BALL * (1 - 0.6**3), num_hollows=1),
    "touching_edge": Row({"seams_parted": 2}, 24, 16.0, num_bodies=2),
    "touching_point": Row({}, 24, 16.0),
    "slit": Row({"seams_parted": 1}, 76, 10.0),
    "soup": Row({}, 1024, BALL),
    "slivers": Row({"unusable_faces_removed": 2}, 1024, BALL),
    "not_numbers": Row({"unusable_faces_removed": 12, "holes_filled": 2}, 1020, BALL),
}
"""Of `BROKEN` all that can be made whole without guessing."""


@pytest.mark.parametrize("name", TABLE)
def test_what_is_broken_comes_out_as_the_solid_it_was_meant_to_be(name: str) -> None:
    expected = TABLE[name]
    _, found = finish(BROKEN[name]())
    assert found.is_watertight
    assert found.blockers == ()
    assert found.repairs == expected.repairs
    assert (found.num_faces, found.num_bodies, found.num_hollows) == (
        expected.num_faces,
        expected.num_bodies,
        expected.num_hollows,
    )
    assert found.volume == pytest.approx(expected.volume, rel=0.05)


@pytest.mark.parametrize("name", TABLE)
def test_cleaning_what_is_clean_changes_nothing(name: str) -> None:
    cleaned, _ = clean(BROKEN[name]())
    again, repairs = clean(cleaned)
    assert again is cleaned
    assert repairs.counts() == {}


@pytest.mark.parametrize("name", ["empty", "one_triangle"])
def test_what_encloses_nothing_is_an_empty_mesh(name: str) -> None:
    with pytest.raises(EmptyMesh) as caught:
        finish(BROKEN[name]())
    assert caught.value.stage == "finish"


def test_a_strip_with_one_side_never_comes_out_as_a_sound_solid_unsaid() -> None:
    _, found = finish(BROKEN["moebius"]())
    assert found.blockers


def test_a_mesh_broken_in_many_ways_at_once_is_mended_in_one_go() -> None:
    far = np.asarray([4, 0, 0], np.float32)
    other = BROKEN["not_numbers"]()
    mesh = joined(
        BROKEN["some_flipped"](),
        Mesh(other.vertices + far, other.faces),
        cube(0.01, (0, 3, 0)),
        sphere(16, 0.02),
    )
    _, found = finish(Mesh(mesh.vertices, np.concatenate([mesh.faces, mesh.faces[:9]])))
    assert found.is_watertight
    assert found.num_bodies == 2
    assert set(found.repairs) == {
        *("unusable_faces_removed", "double_faces_removed", "faces_turned", "holes_filled", "parts_dropped"),
    }


def test_random_damage_never_leaves_an_edge_that_disagrees() -> None:
    random = np.random.default_rng(11)
    for _ in range(20):
        faces = sphere(24).faces[random.random(2304) > 0.01].copy()
        flipped = random.random(len(faces)) < 0.1
        faces[flipped] = faces[flipped, ::-1]
        doubled = faces[random.random(len(faces)) < 0.05]
        cleaned, _ = clean(Mesh(sphere(24).vertices, np.concatenate([faces, doubled])))
        assert edge_facts(cleaned.faces, len(cleaned.vertices)).is_solid


@pytest.mark.parametrize(
    ("name", "volume", "repair"),
    [
        ("cube_with_fin", 1.0, "parts_dropped"),
        ("face_to_face", 2.0, "parts_dropped"),
        ("half_seam", 4.1604, "rim_vertices_joined"),
    ],
)
def test_meshes_of_public_reports_come_out_as_one_solid(name: str, volume: float, repair: str) -> None:
    mesh = read_stl((DATA / f"mesh-{name}.stl").read_bytes())
    finished, found = finish(mesh, PrintOptions(require_printable=True))
    assert (found.num_bodies, found.crossing_share) == (1, 0)
    assert found.volume == pytest.approx(volume, rel=1e-4)
    assert repair in found.repairs
    assert np.isin(finished.vertices, mesh.vertices).all()  # nothing was moved


def test_thousands_of_bodies_that_look_inwards_are_hollows_in_a_ball_and_turned_outside() -> None:
    places = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 12)] * 3), axis=-1).reshape(-1, 3)
    bubbles = joined(*(cube(0.004, (x, y, z)) for x, y, z in (*places.tolist(), *(places + 2).tolist())))
    mesh = joined(sphere(48), Mesh(bubbles.vertices, bubbles.faces[:, ::-1]))
    cleaned, repairs = clean(mesh, min_part_share=0.0)
    assert repairs.counts() == {"faces_turned": 12**3 * 12}
    assert signed_volumes(cleaned.corners()).sum() == pytest.approx(
        signed_volumes(sphere(48).corners()).sum()
    )


@pytest.mark.slow
def test_two_million_faces_go_through() -> None:
    ball = sphere(707)
    assert len(ball.faces) > 1_990_000
    finished, found = finish(ball, PrintOptions(height_mm=100, target_faces=200_000))
    assert found.is_watertight
    assert len(finished.faces) <= 200_000
    assert found.simplification_error is not None
    assert found.simplification_error < 0.05
