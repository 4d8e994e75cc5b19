"""Closed shapes drawn at random, and wishes drawn at random, for what must hold of any of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import manifold3d
import numpy as np
from skimage.measure import marching_cubes

from ai_engine.mesh.mesh import Mesh
from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.print_options import PrintOptions
from support.solid_shapes import sphere

Random = np.random.Generator
TEXTS = (None, "Ada", "LUNA 42", "Zoë & Müller", "i")
BASES: tuple[Literal["round", "square", "rounded", "hex", "oval"], ...] = (
    "round",
    "square",
    "rounded",
    "hex",
    "oval",
)


def random_shape(random: Random) -> Mesh:
    """One closed body of some units across, Y up, turned at random."""
    shape = SHAPES[int(random.integers(len(SHAPES)))](random)
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    return Mesh((shape.vertices @ turn.T).astype(np.float32), shape.faces)


def _ellipsoid(random: Random) -> Mesh:
    ball = sphere(int(random.integers(4, 40)))
    return Mesh((ball.vertices * random.uniform(0.3, 1, 3)).astype(np.float32), ball.faces)


def _wavy(random: Random) -> Mesh:
    """A ball whose radius goes up and down."""
    ball = sphere(48)
    waves = np.sin(ball.vertices @ random.uniform(-7, 7, (3, 4)) + random.uniform(0, 6, 4)).sum(axis=1)
    return Mesh((ball.vertices * (1 + 0.06 * waves[:, None])).astype(np.float32), ball.faces)


def _blocks(random: Random) -> Mesh:
    """Boxes and cylinders through one point: sharp edges, large faces, long thin triangles."""
    parts = []
    for _ in range(int(random.integers(1, 5))):
        long, wide, deep = random.uniform(0.15, 1, 3).tolist()
        rod = manifold3d.Manifold.cylinder(2 * long, wide, wide * float(random.uniform(0.2, 1)), 24, True)
        part = (
            rod if random.random() < 0.5 else manifold3d.Manifold.cube((2 * long, 2 * wide, 2 * deep), True)
        )
        parts.append(part.rotate(tuple(random.uniform(0, 360, 3).tolist())))
    return _mesh_of(manifold3d.Manifold.batch_boolean(parts, manifold3d.OpType.Add))


def _pierced(random: Random) -> Mesh:
    """A ball with tunnels."""
    solid = manifold3d.Manifold.sphere(1.0, 64)
    for _ in range(int(random.integers(1, 4))):
        rod = manifold3d.Manifold.cylinder(
            4, float(random.uniform(0.1, 0.3)), circular_segments=24, center=True
        )
        solid -= rod.rotate(tuple(random.uniform(0, 360, 3).tolist())).translate(
            tuple(random.uniform(-0.4, 0.4, 3).tolist())
        )
    return _mesh_of(max(solid.decompose(), key=lambda part: part.volume()))


def _grown(random: Random) -> Mesh:
    """Balls that run into each other, by marching cubes, as a shape model's meshes are."""
    axis = np.linspace(-1.6, 1.6, 56)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1)
    field, centre = np.zeros(grid.shape[:3]), np.zeros(3)
    for _ in range(int(random.integers(2, 7))):
        field += np.exp(-((grid - centre) ** 2).sum(axis=-1) / random.uniform(0.03, 0.12))
        centre = np.clip(centre + random.normal(0, 0.3, 3), -0.9, 0.9)
    vertices, faces, _, _ = marching_cubes(field, 0.4, gradient_direction="ascent")
    solid = manifold3d.Manifold(manifold3d.Mesh(vertices.astype(np.float32), faces.astype(np.uint32)))
    if solid.volume() < 0:
        solid = manifold3d.Manifold(
            manifold3d.Mesh(vertices.astype(np.float32), faces[:, ::-1].astype(np.uint32))
        )
    return _mesh_of(max(solid.decompose(), key=lambda part: part.volume()).scale((0.05, 0.05, 0.05)))


SHAPES: tuple[Callable[[Random], Mesh], ...] = (_ellipsoid, _wavy, _blocks, _pierced, _grown)


def _mesh_of(solid: manifold3d.Manifold) -> Mesh:
    found = solid.to_mesh()
    return Mesh(np.array(found.vert_properties[:, :3], np.float32), found.tri_verts.astype(np.int32))


def random_options(random: Random) -> PrintOptions:
    """Any wishes that go together, the height always among them."""
    kind = random.choice(["none", "keyring", "magnet"], p=[0.4, 0.35, 0.25])
    base = random_base(random) if random.random() < 0.6 and kind != "magnet" else None
    hollow = random_hollow(random, magnet=kind == "magnet") if random.random() < 0.5 else None
    return PrintOptions(
        height_mm=float(random.uniform(20, 90)),
        flat_base=bool(random.random() < 0.5),
        target_faces=int(random.integers(300, 20_000)) if random.random() < 0.3 else None,
        hollow=hollow,
        base=base,
        attach=None
        if kind == "none"
        else random_attach(random, "keyring" if kind == "keyring" else "magnet"),
    )


def random_base(random: Random) -> Base:
    """A base of any shape, with or without a text in either style."""
    shape, text = BASES[int(random.integers(5))], TEXTS[int(random.integers(len(TEXTS)))]
    height, margin = float(random.uniform(1, 20)), float(random.uniform(0, 10))
    if text is None:
        return Base(shape, height, margin)
    style: Literal["engraved", "embossed"] = "engraved" if random.random() < 0.5 else "embossed"
    return Base(shape, height, margin, text, style, float(random.uniform(0.2, 2)))


def random_hollow(random: Random, *, magnet: bool) -> Hollow:
    """Walls of any thickness that a magnet's pocket, where there is one, leaves room for."""
    wall = float(random.uniform(4, 6) if magnet else random.uniform(0.8, 5))
    return (
        Hollow(wall, "none") if random.random() < 0.3 else Hollow(wall, "auto", float(random.uniform(1, 6)))
    )


def random_attach(random: Random, kind: Literal["keyring", "magnet"]) -> Attach:
    """A ring or a magnet of any size."""
    deepest = 3.0 if kind == "magnet" else 6.0
    return Attach(kind, float(random.uniform(2, 14)), float(random.uniform(0.5, deepest)))
