from __future__ import annotations

import numpy as np
from support.solid_shapes import cube, joined, sphere

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.topology import (
    EdgeFacts,
    compact,
    components,
    edge_facts,
    edge_groups,
    face_bodies,
    together,
    weld,
    weld_corners,
    weld_rims,
)


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
    again = weld_corners(ball.corners())
    assert len(again.vertices) == len(ball.vertices)
    assert np.array_equal(again.corners(), ball.corners())


def test_welded_vertices_come_in_the_order_of_the_file() -> None:
    corners = sphere(6).corners()
    again = weld_corners(corners)
    assert np.array_equal(again.vertices[again.faces[0]], corners[0])
    assert again.faces.ravel()[:3].tolist() == [0, 1, 2]
    assert np.all(again.faces.ravel() <= np.maximum.accumulate(again.faces.ravel()))


def closed(mesh: Mesh) -> bool:
    return edge_facts(mesh.faces, len(mesh.vertices)).is_solid


def test_the_halves_of_an_edge_are_gathered_and_those_that_run_down_come_first() -> None:
    ball = sphere(6)
    groups = edge_groups(ball.faces, len(ball.vertices))
    assert groups.counts.tolist() == [2] * (3 * len(ball.faces) // 2)
    assert groups.runs_up.tolist() == [False, True] * len(groups.counts)
    face, corner = np.divmod(groups.half_edges, 3)
    ends = np.stack([ball.faces[face, corner], ball.faces[face, (corner + 1) % 3]], axis=1)
    assert np.array_equal(np.sort(ends[0::2]), np.sort(ends[1::2]))


def test_two_shells_whose_rims_nearly_meet_become_one_body() -> None:
    ball = sphere(12)
    is_upper = ball.corners()[:, :, 1].mean(axis=1) > 0
    upper, lower = (compact(ball.vertices, ball.faces[part]) for part in (is_upper, ~is_upper))
    apart = joined(upper, Mesh(lower.vertices + np.float32(1e-4), lower.faces))
    assert not closed(apart)

    meeting = weld_rims(apart, 1e-3)

    assert closed(meeting)
    assert len(meeting.vertices) == len(ball.vertices)
    assert set(face_bodies(meeting.faces, len(meeting.vertices)).tolist()) == {0}
    assert weld_rims(apart, 1e-6) is apart, "too far apart to be one"


def test_where_a_surface_is_closed_no_vertex_is_joined_however_near() -> None:
    near = joined(cube(), cube(centre=(2.0001, 0, 0)))
    assert weld_rims(near, 0.01) is near


def test_a_rim_that_is_finer_than_the_tolerance_does_not_shrink_to_a_point() -> None:
    ball = sphere(24)
    cup = compact(ball.vertices, ball.faces[ball.corners()[:, :, 1].mean(axis=1) < 0.5])
    for tolerance in (0.2, 0.5):
        assert len(weld_rims(cup, tolerance).faces) == len(cup.faces)


def test_meshes_put_together_share_nothing_and_one_alone_stays_itself() -> None:
    nothing = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    one, other = cube(), sphere(5)
    both = together(one, nothing, other)
    assert np.array_equal(both.corners(), np.concatenate([one.corners(), other.corners()]))
    assert together(nothing, one) is one
    assert together(nothing, nothing) is nothing


def test_vertices_without_a_face_go_and_the_faces_stay_where_they_were() -> None:
    ball = sphere(8)
    half = compact(ball.vertices, ball.faces[::2])
    assert np.array_equal(half.corners(), ball.corners()[::2])
    assert np.array_equal(np.unique(half.faces), np.arange(len(half.vertices)))


def test_links_tie_nodes_together_in_both_directions() -> None:
    labels = components(np.asarray([4, 1]), np.asarray([0, 2]), 5)
    assert labels[4] == labels[0]
    assert labels[1] == labels[2]
    assert len(set(labels.tolist())) == 3
