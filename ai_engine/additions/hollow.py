"""Hollows a solid: an inner surface at a constant distance from the outer one, and holes that the resin leaves by.

The distance to the mesh has no sign: in a hollow that is there already it grows as it does in the solid. A part of the
space beyond the wall is all inside or all outside, so that one point of each part has to be looked at.
"""

from __future__ import annotations

import manifold3d
import numpy as np
from scipy import ndimage
from skimage.measure import marching_cubes

from ai_engine.additions.distance_field import DistanceField, distance_field
from ai_engine.additions.drains import Drain, drill_drain
from ai_engine.additions.solid import Added, mesh_of, solid_of
from ai_engine.errors import AdditionUnfit
from ai_engine.facts import AdditionFacts
from ai_engine.mesh.clean import clean
from ai_engine.mesh.mesh import Mesh
from ai_engine.wishes.additions import Hollow

CELLS_PER_WALL = 5
MAX_CELLS = 224
"""Along the longest side: the lattice then has 11 million points at most, 45 MB."""
CRUMB_SHARE = 0.01
"""Cavities of less volume than this share of the largest are not worth a hole."""


def hollow(mesh: Mesh, options: Hollow, *, floor_z: float | None = None) -> Added:
    """The mesh, in millimetres with Z up, with walls of `wall_mm`.

    `floor_z` is the top of what it will stand in: given, holes lie above it, at the back; else at the bottom.

    Raises:
        AdditionUnfit: the mesh is no solid, or nowhere thick enough to be hollowed.
    """
    solid = solid_of(mesh)
    cavities = _cavities(mesh, solid, options.wall_mm)
    if not cavities:
        raise AdditionUnfit(f"It is nowhere thick enough for walls of {options.wall_mm:g} mm round a hollow.")
    result, count, drains, remarks = solid, 0, 0, []
    for cavity in cavities:
        if options.drain == "none":
            result, count = result - cavity, count + 1
            continue
        open_hollow = drill_drain(result, solid, cavity, Drain(options, floor_z))
        if open_hollow is None:
            remarks.append("A hollow that no hole can reach was left filled.")
            continue
        result, count, drains = open_hollow, count + 1, drains + 1
    if count == 0:
        raise AdditionUnfit("No hole of that diameter can drain the hollow.")
    if options.drain == "none":
        remarks.append("The hollow is closed: resin that is trapped in it can't run out.")
    facts = AdditionFacts("hollow", round(result.volume() - solid.volume(), 1), count=count, drains=drains)
    return Added(mesh_of(result), facts, tuple(remarks))


def _cavities(mesh: Mesh, solid: manifold3d.Manifold, wall: float) -> list[manifold3d.Manifold]:
    """The solids to be taken out, the largest first."""
    longest = float(np.ptp(mesh.vertices, axis=0).max())
    field = distance_field(mesh, level=wall, cell=max(wall / CELLS_PER_WALL, longest / MAX_CELLS))
    labels, count = ndimage.label(field.values > wall)
    if count == 0:
        return []
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    boxes = ndimage.find_objects(labels)
    inside = [
        label for label in range(1, count + 1) if _is_inside(solid, field, labels, label, boxes[label - 1])
    ]
    if not inside:
        return []
    least = max(CRUMB_SHARE * max(sizes[label] for label in inside), 8)
    kept = sorted((label for label in inside if sizes[label] >= least), key=lambda label: -sizes[label])
    found = (_extract(field, labels, label, boxes[label - 1], wall) for label in kept)
    return [cavity for cavity in found if cavity is not None]


def _is_inside(
    solid: manifold3d.Manifold,
    field: DistanceField,
    labels: np.ndarray,
    label: int,
    box: tuple[slice, slice, slice],
) -> bool:
    """Whether one part of the space lies in the solid: a ray from its deepest point crosses the surface oddly often."""
    starts = np.asarray([side.start for side in box])
    if (starts == 0).any():
        return False
    depth = np.where(labels[box] == label, field.values[box], -1)
    deepest = starts + np.unravel_index(int(depth.argmax()), depth.shape)
    point = field.origin + field.cell * deepest
    lower, upper = np.reshape(solid.bounding_box(), (2, 3))
    # Askew: along an axis it would run through edges of meshes that have many such.
    far = point + np.asarray([0.0131, 0.0273, 1.0]) * 2 * float(np.ptp([lower, upper]))
    return len(solid.ray_cast(tuple(point), tuple(far))) % 2 == 1


def _extract(
    field: DistanceField,
    labels: np.ndarray,
    label: int,
    box: tuple[slice, slice, slice],
    wall: float,
) -> manifold3d.Manifold | None:
    """One part of the space beyond the wall as a solid: marching cubes; None where it encloses nothing."""
    wider = tuple(slice(side.start - 1, side.stop + 1) for side in box)
    others = (labels[wider] != label) & (labels[wider] != 0)
    depth = np.where(others, -field.cell, field.values[wider] - np.float32(wall))
    points, faces, _, _ = marching_cubes(depth, 0.0)
    starts = np.asarray([side.start for side in wider])
    placed = field.origin + field.cell * (points + starts)
    surface, _ = clean(Mesh(placed.astype(np.float32), faces.astype(np.int32)))
    cavity = solid_of(surface) if len(surface.faces) else None
    return cavity if cavity is None or cavity.volume() > 0 else None
