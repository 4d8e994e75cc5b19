from __future__ import annotations

import numpy as np
from support.solid_shapes import cube, joined, sphere

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import EdgeFacts, edge_facts, face_bodies, weld, welded


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


def test_welded_vertices_come_in_the_order_of_the_file() -> None:
    corners = sphere(6).corners()
    again = welded(corners)
    assert np.array_equal(again.vertices[again.faces[0]], corners[0])
    assert again.faces.ravel()[:3].tolist() == [0, 1, 2]
    assert np.all(again.faces.ravel() <= np.maximum.accumulate(again.faces.ravel()))
