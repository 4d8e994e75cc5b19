"""The measures behind the report, held against mathematics and against slow, readable twins."""

from __future__ import annotations

import numpy as np
import pytest
from support.solid_shapes import cube, joined, sphere

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.proximity import distances, hausdorff
from ai_engine.mesh.surface import spread
from ai_engine.mesh.topology import EdgeFacts, edge_facts, face_bodies, weld, welded
from ai_engine.printing.preview import preview_png
from ai_engine.printing.self_intersections import crossing_faces, crossing_share
from ai_engine.printing.wall_thickness import smallest_wall, wall_thickness


def turned(mesh: Mesh, seed: int = 5) -> Mesh:
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))
    return Mesh((mesh.vertices @ rotation.T).astype(np.float32), mesh.faces)


def inward(mesh: Mesh) -> Mesh:
    return Mesh(mesh.vertices, np.ascontiguousarray(mesh.faces[:, ::-1]))


def slow_edge_facts(faces: np.ndarray) -> EdgeFacts:
    runs: dict[tuple[int, int], list[bool]] = {}
    for face in faces.tolist():
        for start, end in zip(face, face[1:] + face[:1], strict=True):
            runs.setdefault((min(start, end), max(start, end)), []).append(start < end)
    return EdgeFacts(
        num_boundary=sum(len(run) % 2 for run in runs.values()),
        num_non_manifold=sum(len(run) > 2 for run in runs.values()),
        num_misoriented=sum(abs(2 * sum(run) - len(run)) > 1 for run in runs.values()),
    )


def test_edges_are_counted_as_a_slow_reader_counts_them() -> None:
    random = np.random.default_rng(1)
    for _ in range(30):
        faces = random.integers(0, 7, (random.integers(1, 30), 3)).astype(np.int32)
        faces = faces[
            (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
        ]
        assert edge_facts(faces, 7) == slow_edge_facts(faces)


def test_bodies_are_numbered_from_zero_and_share_no_vertex() -> None:
    mesh = joined(cube(), sphere(4), cube(centre=(5, 5, 5)))
    bodies = face_bodies(mesh.faces, len(mesh.vertices))
    assert set(bodies.tolist()) == {0, 1, 2}
    assert np.bincount(bodies).tolist() == [12, len(sphere(4).faces), 12]


def test_welding_joins_only_what_is_at_exactly_the_same_place() -> None:
    near = np.nextafter(np.float32(1), np.float32(2))
    mesh = Mesh(
        np.asarray([[1, 0.0, 0], [1, -0.0, 0], [near, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32),
        np.asarray([[0, 3, 4], [1, 3, 4], [2, 3, 4]], np.int32),
    )
    joined_up = weld(mesh)
    assert len(joined_up.vertices) == 4
    assert np.array_equal(joined_up.vertices[joined_up.faces], mesh.corners())
    assert weld(joined_up) is joined_up


def test_loose_triangles_become_the_mesh_they_were() -> None:
    ball = sphere(12)
    again = welded(ball.corners())
    assert len(again.vertices) == len(ball.vertices)
    assert np.array_equal(again.corners(), ball.corners())


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


def test_faces_that_cut_through_others_are_found_exactly() -> None:
    stick = Mesh(cube(1).vertices * np.asarray([0.2, 0.2, 9], np.float32), cube().faces)
    mesh = joined(cube(), turned(stick, seed=2))
    found = set(crossing_faces(mesh, np.arange(24)).tolist())
    assert found == slow_crossings(mesh)
    assert any(face < 12 for face in found)
    assert any(face >= 12 for face in found)


def slow_crossings(mesh: Mesh) -> set[int]:
    """All pairs, each edge against each face, by solving for where the line meets the plane."""
    corners = mesh.corners().astype(np.float64)
    found = set()
    for one in range(len(corners)):
        for other in range(len(corners)):
            if set(mesh.faces[one]) & set(mesh.faces[other]):
                continue
            for edge in range(3):
                start, end = corners[one, edge], corners[one, (edge + 1) % 3]
                a, b, c = corners[other]
                matrix = np.stack([end - start, a - b, a - c], axis=1)
                if abs(np.linalg.det(matrix)) < 1e-12:
                    continue
                along, u, v = np.linalg.solve(matrix, a - start)
                if 0 < along < 1 and u > 0 and v > 0 and u + v < 1:
                    found |= {one, other}
    return found


def test_bodies_that_only_touch_do_not_cut() -> None:
    assert crossing_share(joined(cube(), cube(centre=(2, 0, 0)))) == 0
    assert crossing_share(sphere(24)) == 0


def test_a_sample_estimates_the_share_of_all() -> None:
    shifted = Mesh(sphere(32).vertices + np.float32(0.5), sphere(32).faces)
    both = joined(sphere(32), shifted)
    exact = crossing_share(both)
    assert crossing_share(both, max_faces_tested=3000) == pytest.approx(exact, rel=0.3)


def test_points_spread_evenly_lie_on_the_surface() -> None:
    points = spread(sphere(64), 2000).points
    assert np.abs(np.linalg.norm(points, axis=1) - 1).max() < 0.002
    assert np.linalg.norm(points.mean(axis=0)) < 0.05
    assert len(spread(Mesh(np.zeros((3, 3), np.float32), np.asarray([[0, 1, 2]], np.int32)), 5).points) == 0


def test_distances_to_a_cube_are_those_of_geometry() -> None:
    points = np.random.default_rng(0).uniform(-3, 3, (500, 3))
    excess = np.abs(points) - 1
    expected = np.where((excess > 0).any(axis=1), np.linalg.norm(excess.clip(0), axis=1), -excess.max(axis=1))
    assert np.allclose(distances(points, cube()), expected, atol=1e-9)


def test_the_hausdorff_distance_of_two_balls_is_the_difference_of_their_radii() -> None:
    assert hausdorff(sphere(24), sphere(24, radius=1.1)) == pytest.approx(0.1, abs=0.002)
    assert hausdorff(sphere(24), sphere(24)) < 1e-7


def test_a_crumb_far_away_counts_whichever_mesh_has_it() -> None:
    with_crumb = joined(sphere(16), cube(0.1, (5, 0, 0)))
    assert hausdorff(sphere(16), with_crumb) == pytest.approx(4.05, abs=0.1)
    assert hausdorff(with_crumb, sphere(16)) == pytest.approx(4.05, abs=0.1)


def test_a_preview_is_a_small_png_of_two_views_and_the_same_every_time() -> None:
    png = preview_png(sphere(16), side_px=64)
    assert png.startswith(b"\x89PNG")
    assert (int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")) == (128, 64)
    assert len(png) < 20_000
    assert png == preview_png(sphere(16), side_px=64)


def test_points_that_are_scattered_to_one_number_are_still_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ai_engine.mesh.topology._MIX", np.zeros(3, np.uint64))
    ball = sphere(6)
    again = welded(ball.corners())
    assert len(again.vertices) == len(ball.vertices)
    assert np.array_equal(again.corners(), ball.corners())


def test_welded_vertices_come_in_the_order_of_the_file() -> None:
    corners = sphere(6).corners()
    again = welded(corners)
    assert np.array_equal(again.vertices[again.faces[0]], corners[0])
    assert again.faces.ravel()[:3].tolist() == [0, 1, 2]
    assert np.all(again.faces.ravel() <= np.maximum.accumulate(again.faces.ravel()))
