"""A ring at the top of a solid, over its mass; a pocket for a disc magnet in a back that is cut flat."""

from __future__ import annotations

import manifold3d
import numpy as np

from ai_engine.additions.drains import widest_point
from ai_engine.additions.solid import Added, mesh_of, num_bodies, solid_of
from ai_engine.errors import AdditionUnfit
from ai_engine.facts import AdditionFacts
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import signed_volumes
from ai_engine.wishes.additions import MAGNET_WALL_MM, Attach

SEGMENTS = 128
PLAY_MM = 0.1
"""How much wider than its magnet a pocket is."""
BAR_SHARE, MIN_BAR_MM = 0.3, 1.6
"""Width of a ring's bar, as a share of its hole."""
MAX_CUT_SHARE = 0.3
STEPS = 16


def attach(mesh: Mesh, options: Attach) -> Added:
    """The mesh, in millimetres with Z up, with a ring or a pocket.

    Raises:
        AdditionUnfit: the mesh is no solid, or there is no place for it.
    """
    return _with_ring(mesh, options) if options.kind == "keyring" else _with_pocket(mesh, options)


def _with_ring(mesh: Mesh, options: Attach) -> Added:
    """A ring that stands upright, its hole seen from the front, sunk until it holds the object firmly."""
    solid = solid_of(mesh)
    bodies = num_bodies(solid)
    radius = options.diameter_mm / 2
    bar = max(BAR_SHARE * options.diameter_mm, MIN_BAR_MM)
    x, y = _mass_centre(mesh)
    _, _, bottom, _, _, top = solid.bounding_box()
    for sink in np.linspace(bar / 2, bar / 2 + 0.2 * (top - bottom), STEPS).tolist():
        place = _nearest(solid.slice(top - min(sink, bar / 2)), x, y)
        centre = (*place, top - sink + bar + radius)
        ring = _disc(radius + bar, options.depth_mm, centre) - _disc(radius, 2 * options.depth_mm, centre)
        contact = (ring ^ solid).volume()
        if contact < 0.25 * bar * bar * options.depth_mm:
            continue
        whole = (solid + ring) - _disc(radius, options.depth_mm + 0.02, centre)
        if num_bodies(whole) <= bodies:
            return Added(mesh_of(whole), AdditionFacts("keyring", round(whole.volume() - solid.volume(), 1)))
    raise AdditionUnfit("The ring finds no hold at the top of the object: it is too thin there.")


def _disc(
    radius: float, thickness: float, centre: tuple[float, float, float], *, behind: bool = False
) -> manifold3d.Manifold:
    """A disc that stands upright, round `centre`; `behind`: from there to the front alone."""
    disc = manifold3d.Manifold.cylinder(thickness, radius, radius, SEGMENTS, not behind)
    return disc.rotate((90.0, 0.0, 0.0)).translate(centre)


def _mass_centre(mesh: Mesh) -> tuple[float, float]:
    corners = mesh.corners().astype(np.float64)
    volumes = signed_volumes(corners)
    x, y, _ = (volumes[:, None] * corners.sum(axis=1) / 4).sum(axis=0) / volumes.sum()
    return float(x), float(y)


def _nearest(section: manifold3d.CrossSection, x: float, y: float) -> tuple[float, float]:
    """The middle of that part of a section which lies nearest to a place."""
    points = [widest_point(part) for part in section.decompose()]
    found = [point for point in points if point is not None]
    return min(found, key=lambda point: float(np.hypot(point[0] - x, point[1] - y)), default=(x, y))


def _with_pocket(mesh: Mesh, options: Attach) -> Added:
    """The back cut off as little as gives the pocket a flat place with `MAGNET_WALL_MM` of wall all round."""
    solid = solid_of(mesh)
    _, front, _, _, back, _ = solid.bounding_box()
    radius = (options.diameter_mm + PLAY_MM) / 2
    for cut in (back - (back - front) * MAX_CUT_SHARE * np.linspace(0.005, 1, STEPS) ** 2).tolist():
        flat = solid.trim_by_plane((0.0, -1.0, 0.0), -cut)
        section = _section(solid, cut)
        room = section.offset(-(radius + MAGNET_WALL_MM))
        spot = widest_point(room)
        if spot is None:
            continue
        centre = (spot[0], cut, spot[1])
        walled = _disc(radius + MAGNET_WALL_MM, options.depth_mm + MAGNET_WALL_MM, centre, behind=True)
        if (walled - flat).volume() > 1e-3 * walled.volume():
            continue
        pocket = _disc(radius, options.depth_mm, centre, behind=True)
        lid = _disc(radius, 0.5, (centre[0], cut + 0.5, centre[2]), behind=True)
        whole = flat - pocket - lid
        return Added(mesh_of(whole), AdditionFacts("magnet", round(whole.volume() - solid.volume(), 1)))
    raise AdditionUnfit(
        f"No back holds a magnet of {options.diameter_mm:g} x {options.depth_mm:g} mm with "
        f"{MAGNET_WALL_MM} mm of wall left round it."
    )


def _section(solid: manifold3d.Manifold, y: float) -> manifold3d.CrossSection:
    """The section at a plane across y, its axes x and z."""
    # (x, y, z) -> (x, z, -y)
    return solid.rotate((-90.0, 0.0, 0.0)).slice(-y)
