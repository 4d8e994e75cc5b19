"""Wall thickness of a solid, by the largest ball that fits inside under a point of the surface.

After Ma, Bae and Choi 2012 ("shrinking ball"): a ball that touches the surface at a point from inside begins large
and shrinks until no other point of the surface is within. Where it then touches a wall that faces the first one,
the distance between the two is the thickness of the wall. In the mesh's own units.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import Doubles, Numbers, row_lengths, spread

CLOUD_POINTS, MIN_CLOUD_POINTS = 60_000, 5_000
CLOUD_SPACING = 0.1
"""Closer points are of no use for walls of half a millimetre; round the middle of a small ball a search visits each."""
PROBES = 3_000
MAX_ROUNDS = 30
FACING = -0.5
"""Two walls face each other when the cosine between their normals is below this (more than 120 degrees)."""
SMALLEST_TURN = 0.5
"""Cosine of the angle, seen from the ball's middle, under which another touch is unrest of the surface (60 degrees)."""
SLACK = 0.02
"""What reaches into a ball by less of its radius is unrest too: round the middle of a round solid all points do."""
THIN_SHARE = 0.01
THICKEST = 5.0
"""Thicker walls are not looked for. Where a ball may grow without bound, a search round its middle has no end."""


def smallest_wall(mesh: Mesh) -> float | None:
    """The thickness that 1 % of the surface stays below; None where that is more than `THICKEST`.

    Edges and tips run out to nothing on every solid: the thinnest single point would say nothing.
    """
    thickness = wall_thickness(mesh)
    if len(thickness) == 0:
        return None
    at_share = float(np.quantile(thickness, THIN_SHARE, method="lower"))
    return at_share if np.isfinite(at_share) else None


def wall_thickness(mesh: Mesh, *, num_probes: int = PROBES, num_points: int = CLOUD_POINTS) -> Doubles:
    """Thickness under points spread evenly over a closed surface [n]; infinite where no wall faces the point."""
    area = float(row_lengths(mesh.area_vectors).sum())
    num_points = min(num_points, max(int(area / CLOUD_SPACING**2), MIN_CLOUD_POINTS))
    cloud = spread(mesh, num_points)
    if len(cloud.points) == 0:
        return np.zeros(0)
    normals = _unit(mesh.area_vectors[cloud.faces])
    probes = np.arange(0, num_points, max(1, num_points // num_probes))
    touched = _find_touching(cloud.points, normals, probes, radius=THICKEST / 2)
    facing = np.einsum("na,na->n", normals[probes], normals[touched])
    # Down the probe's normal to the plane of the wall touched: exact for a plate, however coarse the cloud.
    depth = np.einsum("na,na->n", cloud.points[touched] - cloud.points[probes], normals[touched])
    is_wall = (facing < FACING) & (depth > 0)
    return np.where(is_wall, depth / np.where(is_wall, -facing, 1), np.inf)


def _find_touching(points: Doubles, normals: Doubles, probes: Numbers, *, radius: float) -> Numbers:
    """For each of `probes` the point that its largest inner ball touches as well; itself where there is none."""
    tree = cKDTree(points)
    touched = probes.copy()
    radii = np.full(len(probes), radius)
    shrinking = np.arange(len(probes))
    for _ in range(MAX_ROUNDS):
        here = probes[shrinking]
        centres = points[here] - radii[shrinking, None] * normals[here]
        reach, found = tree.query(centres)
        chord = points[here] - points[found]
        drop = np.einsum("na,na->n", chord, normals[here])
        is_inside = (reach < radii[shrinking] * (1 - SLACK)) & (drop > 0)
        smaller = row_lengths(chord) ** 2 / (2 * np.where(is_inside, drop, 1))
        is_inside &= _turn(points[here], points[found], normals[here], smaller) < SMALLEST_TURN
        shrinking, found = shrinking[is_inside], found[is_inside]
        touched[shrinking], radii[shrinking] = found, smaller[is_inside]
        if len(shrinking) == 0:
            break
    return touched


def _turn(one: Doubles, other: Doubles, normals: Doubles, radii: Doubles) -> Doubles:
    """The cosine of the angle between two points on a ball that touches the first from inside."""
    middle = one - radii[:, None] * normals
    return np.einsum("na,na->n", normals, other - middle) / np.maximum(row_lengths(other - middle), 1e-300)


def _unit(vectors: Doubles) -> Doubles:
    lengths = row_lengths(vectors)[:, None]
    return vectors / np.where(lengths > 0, lengths, 1)
