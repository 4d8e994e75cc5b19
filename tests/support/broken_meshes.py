"""Meshes that are broken on purpose, by name. Each is small and says in a line what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ai_engine.mesh.mesh import Mesh
from support.solid_shapes import cube, joined, sphere


def mesh_of(vertices: object, faces: object) -> Mesh:
    return Mesh(np.asarray(vertices, np.float32).reshape(-1, 3), np.asarray(faces, np.int32).reshape(-1, 3))


def open_ball() -> Mesh:
    """One triangle of a ball is missing."""
    ball = sphere(16)
    return mesh_of(ball.vertices, ball.faces[1:])


def half_ball() -> Mesh:
    """Open at a large flat rim, as a shape that the box cuts off."""
    ball = sphere(17)
    is_upper = ball.vertices[:, 1] > -1e-6
    return mesh_of(ball.vertices, ball.faces[is_upper[ball.faces].all(axis=1)])


def cup() -> Mesh:
    """A ball with a large rim that is not flat: nobody can know what is missing."""
    ball = sphere(24)
    x, y, _ = ball.vertices.T
    is_kept = y < 0.35 * np.sin(4 * np.arctan2(ball.vertices[:, 2], x))
    return mesh_of(ball.vertices, ball.faces[is_kept[ball.faces].all(axis=1)])


def some_flipped() -> Mesh:
    """A fifth of the faces look inwards."""
    faces = sphere(16).faces.copy()
    faces[::5] = faces[::5, ::-1]
    return mesh_of(sphere(16).vertices, faces)


def inside_out() -> Mesh:
    """All faces look inwards."""
    return mesh_of(cube().vertices, cube().faces[:, ::-1])


def doubled_faces() -> Mesh:
    """Some faces are there twice."""
    ball = sphere(16)
    return mesh_of(ball.vertices, np.concatenate([ball.faces, ball.faces[100:140]]))


def opposite_pair() -> Mesh:
    """A flap of a face and its opposite stands on an edge, as decimation leaves them."""
    ball = sphere(16)
    a, b = ball.faces[50, :2]
    flap = [[a, b, len(ball.vertices)], [b, a, len(ball.vertices)]]
    return mesh_of(
        np.concatenate([ball.vertices, [1.2 * ball.vertices[a]]]), np.concatenate([ball.faces, flap])
    )


def floaters() -> Mesh:
    """Forty small cubes float round a ball."""
    random = np.random.default_rng(3)
    places = random.normal(size=(40, 3))
    places *= 1.5 / np.linalg.norm(places, axis=1, keepdims=True)
    return joined(sphere(24), *(cube(0.01, tuple(place)) for place in places.tolist()))


def inner_floater() -> Mesh:
    """A bubble, smaller than a floater may be, in a ball."""
    bubble = cube(0.05)
    return joined(sphere(24), mesh_of(bubble.vertices, bubble.faces[:, ::-1]))


def hollow_ball() -> Mesh:
    """Nothing is wrong: a ball with a hollow in it, whose faces look into the hollow."""
    inner = sphere(20, radius=0.6)
    return joined(sphere(24), mesh_of(inner.vertices, inner.faces[:, ::-1]))


def hollow_inside_out() -> Mesh:
    """The same with every face turned."""
    mesh = hollow_ball()
    return mesh_of(mesh.vertices, mesh.faces[:, ::-1])


def touching_edge() -> Mesh:
    """Two cubes share an edge: it has four faces."""
    return joined(cube(), cube(centre=(2, 2, 0)))


def touching_point() -> Mesh:
    """Two cubes share a corner: closed, though not a surface there."""
    return joined(cube(), cube(centre=(2, 2, 2)))


def slit() -> Mesh:
    """A tunnel that has closed to an edge of four faces: two blocks touch along it, and full layers hold both ends."""
    is_full = np.ones((2, 2, 3), np.bool_)
    is_full[0, 1, 1] = is_full[1, 0, 1] = False
    padded = np.pad(is_full, 1)
    squares = []
    for axis in range(3):
        for step in (1, -1):
            is_outer = padded & ~np.roll(padded, -step, axis)
            for cell in np.argwhere(is_outer):
                one, other = np.delete(np.eye(3), axis, axis=0)
                if (step > 0) != (axis == 1):
                    one, other = other, one
                corner = cell + np.eye(3)[axis] * (step > 0)
                squares.append([corner, corner + other, corner + one + other, corner + one])
    points = np.asarray(squares, np.float32).reshape(-1, 3)
    vertices, places = np.unique(points, axis=0, return_inverse=True)
    a, b, c, d = places.reshape(-1, 4).T
    return mesh_of(vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]))


def soup() -> Mesh:
    """A ball as loose triangles, three vertices each, as STL brings it."""
    ball = sphere(16)
    return mesh_of(ball.corners().reshape(-1, 3), np.arange(3 * len(ball.faces)).reshape(-1, 3))


def slivers() -> Mesh:
    """Faces with two corners at one place lie along the edges, and vertices lie loose."""
    ball = sphere(16)
    a, b = ball.faces[10, :2]
    twin = len(ball.vertices)
    vertices = np.concatenate([ball.vertices, [ball.vertices[a]], [[9, 9, 9]]])
    return mesh_of(vertices, np.concatenate([ball.faces, [[a, twin, b], [a, a, b]]]))


def not_numbers() -> Mesh:
    """One vertex is NaN, another infinite."""
    ball = sphere(16)
    vertices = ball.vertices.copy()
    vertices[40], vertices[300] = np.nan, np.inf
    return mesh_of(vertices, ball.faces)


def one_triangle() -> Mesh:
    """A single face encloses nothing."""
    return mesh_of([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]])


def moebius() -> Mesh:
    """A strip with one side."""
    count = 40
    turn = 2 * np.pi * np.arange(count) / count
    points = []
    for angle in turn:
        for width in (-0.3, 0.3):
            radius = 1 + width * np.cos(angle / 2)
            points.append((radius * np.cos(angle), radius * np.sin(angle), width * np.sin(angle / 2)))
    faces = []
    for i in range(count):
        a, b = 2 * i, 2 * i + 1
        c, d = (2 * i + 2, 2 * i + 3) if i + 1 < count else (1, 0)
        faces += [[a, b, c], [b, d, c]]
    return mesh_of(points, faces)


def empty() -> Mesh:
    """No vertex, no face."""
    return mesh_of([], [])


def all_broken() -> Mesh:
    """Open, flipped, doubled, with floaters, NaN and a touching cube, all at once."""
    mesh = joined(some_flipped(), floaters(), not_numbers(), doubled_faces())
    vertices = (
        mesh.vertices + np.asarray([3, 0, 0], np.float32) * (np.arange(len(mesh.vertices)) < 600)[:, None]
    )
    return mesh_of(vertices, mesh.faces)


BROKEN: dict[str, Callable[[], Mesh]] = {
    shape.__name__: shape
    for shape in (
        open_ball, half_ball, cup, some_flipped, inside_out, doubled_faces, opposite_pair, floaters, inner_floater,
        hollow_ball, hollow_inside_out, touching_edge, touching_point, slit, soup, slivers, not_numbers, one_triangle,
        moebius, empty,
    )
}  # fmt: skip
