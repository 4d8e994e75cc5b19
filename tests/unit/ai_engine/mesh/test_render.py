from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from support.solid_shapes import cube, joined, sphere

from ai_engine.demo.picture_strip import picture_strip
from ai_engine.images.cutout import Cutout
from ai_engine.mesh import render as mesh_view
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.render import FRAME_SHARE, View, draw

EMPTY = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
FRONT = View(azimuth_deg=0, elevation_deg=0)


def drawn(mesh: Mesh, view: View = FRONT, side_px: int = 128) -> np.ndarray:
    """True where the mesh differs from the bare backdrop."""
    picture, backdrop = (np.asarray(draw(shown, view, side_px)).astype(int) for shown in (mesh, EMPTY))
    return np.abs(picture - backdrop).max(axis=2) > 6


def nearest_by_hand(points: np.ndarray, faces: np.ndarray, side: int) -> np.ndarray:
    """The slow twin: each pixel asks each face that is turned to the viewer."""
    nearest, depth = np.full((side, side), -1), np.full((side, side), -np.inf)
    for number, face in enumerate(faces):
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = points[face].astype(float)
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= 0:
            continue
        for y in range(side):
            for x in range(side):
                a = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                b = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                z = a * az + b * bz + (1 - a - b) * cz
                if min(a, b, 1 - a - b) >= 0 and z > depth[y, x]:
                    nearest[y, x], depth[y, x] = number, z
    return nearest


def test_the_fast_filling_agrees_with_the_slow_one() -> None:
    rng = np.random.default_rng(0)
    points = (rng.uniform(-4, 28, (60, 3))).astype(np.float32)
    faces = rng.permutation(60).reshape(20, 3).astype(np.int32)
    fast, _ = mesh_view._nearest_faces(points, faces, 24)
    assert np.array_equal(fast, nearest_by_hand(points, faces, 24))


def test_a_sphere_covers_its_disc() -> None:
    share = drawn(sphere(48)).mean()
    assert share == pytest.approx(np.pi / 4 * FRAME_SHARE**2, rel=0.03)


def test_a_cube_from_the_front_is_a_square() -> None:
    covered = drawn(cube())
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    assert np.ptp(rows) == pytest.approx(128 * FRAME_SHARE, abs=2)
    assert np.ptp(columns) == pytest.approx(128 * FRAME_SHARE, abs=2)
    assert covered[rows[0] : rows[-1], columns[0] : columns[-1]].all()


@pytest.mark.parametrize(("azimuth_deg", "is_right"), [(0, True), (180, False)])
def test_what_is_at_plus_x_is_on_the_right_from_the_front_and_on_the_left_from_behind(
    azimuth_deg: float, is_right: bool
) -> None:
    mesh = joined(sphere(16), cube(0.5, (2.5, 0, 0)))
    covered = drawn(mesh, View(azimuth_deg, 0)).sum(axis=0)
    widest = np.argmax(covered) - 64
    assert bool(widest < 0) is is_right


def test_up_is_up() -> None:
    covered = drawn(joined(sphere(16), cube(0.5, (0, 2.5, 0)))).sum(axis=1)
    assert np.argmax(covered) > 64


def test_from_above_the_front_is_below() -> None:
    covered = drawn(joined(sphere(16), cube(0.5, (0, 0, 2.5))), View(0, 80)).sum(axis=1)
    assert np.argmax(covered) < 64


def test_the_lit_side_is_brighter_than_the_other() -> None:
    grey = np.asarray(draw(sphere(48), FRONT, 128).convert("L")).astype(int)
    assert grey[44, 44] > grey[90, 90] + 40


def test_a_flat_side_has_one_normal_up_to_its_edges_and_a_ball_has_many() -> None:
    corners = mesh_view._corner_normals(cube(), np.arange(12, dtype=np.int32))
    assert np.allclose(np.abs(corners).max(axis=2), 1)
    ball = sphere(24)
    rounded = mesh_view._corner_normals(ball, np.arange(len(ball.faces), dtype=np.int32))
    assert np.array_equal(rounded, ball.vertex_normals[ball.faces])


def test_edges_are_smooth() -> None:
    grey = np.asarray(draw(cube(), View(0, 0), 64).rotate(0).convert("L")).astype(int)
    tilted = np.asarray(draw(cube(), View(30, 30), 64).convert("L")).astype(int)
    assert len(np.unique(tilted)) > len(np.unique(grey))


def test_an_empty_mesh_is_a_bare_backdrop() -> None:
    assert draw(EMPTY, FRONT, 64).size == (64, 64)


def test_a_flat_or_degenerate_mesh_can_be_drawn() -> None:
    line = Mesh(np.asarray([[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.float32), np.asarray([[0, 1, 2]], np.int32))
    assert draw(line, View(), 32).size == (32, 32)


def test_the_same_mesh_gives_the_same_picture() -> None:
    assert draw(sphere(24), View(), 96).tobytes() == draw(sphere(24), View(), 96).tobytes()


def test_the_strip_shows_four_panels_with_captions() -> None:
    cutout = Cutout(np.zeros((30, 60, 4), np.uint8))
    strip = picture_strip(Image.new("RGB", (60, 30), "red"), cutout, cube(), side_px=200)
    pixels = np.asarray(strip)
    assert strip.size == (4 * 206 + 6, 222)
    assert pixels[106, 106].tolist() == [255, 0, 0]
    assert {tuple(pixel) for pixel in pixels[70:150, 220:400].reshape(-1, 3)} >= {
        (222, 222, 222),
        (246, 246, 246),
    }
    assert (pixels[206:] < 120).any()
