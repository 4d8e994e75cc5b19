from __future__ import annotations

import numpy as np
import pytest
from support.solid_shapes import cube, joined, sphere

from ai_engine.mesh.mesh import Mesh
from ai_engine.printing.wall_thickness import smallest_wall, wall_thickness


def turned(mesh: Mesh, seed: int = 5) -> Mesh:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    return Mesh((mesh.vertices @ rotation.T).astype(np.float32), mesh.faces)


def inward(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, np.ascontiguousarray(mesh.faces[:, ::-1]))


@pytest.mark.parametrize("thickness", [0.3, 0.8, 2.5])
def test_a_plate_is_as_thick_as_it_is_whichever_way_it_lies(thickness: float) -> None:
    plate = Mesh(cube(1).vertices * np.asarray([40, 30, thickness], np.float32), cube().faces)
    assert smallest_wall(turned(plate)) == pytest.approx(thickness, rel=0.01)


def test_a_shell_is_as_thick_as_the_gap_between_its_two_balls() -> None:
    shell = joined(sphere(64, radius=20), inward(sphere(60, radius=19)))
    assert smallest_wall(shell) == pytest.approx(1.0, rel=0.05)


def test_a_thick_block_has_no_thin_wall() -> None:
    assert smallest_wall(turned(cube(20))) is None
    assert np.isinf(wall_thickness(cube(20))).mean() > 0.99


def test_a_single_thin_fin_on_a_thick_body_is_found() -> None:
    fin = Mesh(cube(1).vertices * np.asarray([8, 0.6, 8], np.float32), cube().faces)
    assert smallest_wall(joined(cube(20), Mesh(fin.vertices + np.float32(20), fin.faces))) == pytest.approx(
        0.6, rel=0.02
    )


@pytest.mark.parametrize("radius", [0.5, 1.0, 2.0])
def test_a_small_ball_is_as_thick_as_its_diameter(radius: float) -> None:
    assert smallest_wall(sphere(48, radius)) == pytest.approx(2 * radius, rel=0.05)


def test_a_thin_plate_of_a_few_millimetres_is_as_thick_as_it_is() -> None:
    plate = Mesh(cube(1).vertices * np.asarray([3, 4, 0.4], np.float32), cube().faces)
    assert smallest_wall(turned(plate)) == pytest.approx(0.4, rel=0.01)
