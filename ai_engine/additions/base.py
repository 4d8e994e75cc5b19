"""Joins a pedestal to a solid: its own from the object's footprint, or one of the caller's.

The object is sunk until the section at the pedestal's top covers `CONTACT_SHARE` of its ground plan, as a flat base
does (`printing.prepare.MIN_BASE_SHARE`): a ball is then held by a disc of 0.39 of its diameter. It is never sunk by
more than `MAX_SUNK_SHARE` of its height; a foot that is smaller than that is joined with what it has there.
"""

from __future__ import annotations

from dataclasses import dataclass

import manifold3d
import numpy as np

from ai_engine.additions.lettering import contour_points, fit_text
from ai_engine.additions.solid import Added, mesh_of, num_bodies, solid_of
from ai_engine.errors import AdditionUnfit
from ai_engine.facts import AdditionFacts
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import Doubles, row_lengths
from ai_engine.wishes.additions import Base

CONTACT_SHARE = 0.15
MAX_SUNK_SHARE = 0.2
SUNK_STEPS = 12
MIN_SUNK_MM = 0.2
SEGMENTS = 128
CORNER_SHARE = 0.15
"""Radius of a rounded base's corners, as a share of its shorter side."""
TEXT_WIDTH_SHARE, TEXT_HEIGHT_SHARE = 0.85, 0.62
"""Of the flat or forward half of a side, and of its height."""
NOT_JOINED = "A part of the object does not reach the base and is not joined to it."
FORWARD = 0.5
"""Text goes as far round a base as its normal is within 60 degrees of the front."""


def contact_depth(mesh: Mesh) -> float:
    """How far the object is sunk into a pedestal, in mm.

    Raises:
        AdditionUnfit: the mesh is no solid.
    """
    return _depth(solid_of(mesh))


def _depth(solid: manifold3d.Manifold) -> float:
    _, _, bottom, _, _, top = solid.bounding_box()
    wanted = CONTACT_SHARE * solid.project().area()
    deepest = (top - bottom) * MAX_SUNK_SHARE
    least = min(MIN_SUNK_MM, deepest)
    depths = least + (deepest - least) * np.linspace(0, 1, SUNK_STEPS) ** 2
    return next((float(d) for d in depths if solid.slice(bottom + float(d)).area() >= wanted), float(deepest))


def add_base(mesh: Mesh, options: Base, *, depth: float | None = None) -> Added:
    """The mesh on a base of its own, standing on z = 0; `depth`: how far it is sunk, `contact_depth` unless given.

    Raises:
        AdditionUnfit: the mesh is no solid, or the text does not fit.
    """
    solid = solid_of(mesh)
    outline = outline_of(solid.project(), options)
    pedestal = outline.extrude(options.height_mm)
    if options.text is not None:
        pedestal = letter_pedestal(pedestal, outline, options)
    x0, y0, x1, y1 = outline.bounds()
    return _join_pedestal(solid, pedestal, ((x0 + x1) / 2, (y0 + y1) / 2), options.height_mm, depth)


def add_pedestal(mesh: Mesh, pedestal: Mesh, *, depth: float | None = None) -> Added:
    """The mesh on the caller's pedestal, the middle of its ground plan over the middle of the pedestal's top.

    Raises:
        AdditionUnfit: either is no solid.
    """
    solid, stand = solid_of(mesh), solid_of(pedestal)
    _, _, bottom, _, _, top = stand.bounding_box()
    ceiling = stand.slice(top - max(0.01, 1e-3 * (top - bottom)))
    x0, y0, x1, y1 = ceiling.bounds()
    px0, py0, px1, py1 = solid.project().bounds()
    stand = stand.translate(((px0 + px1 - x0 - x1) / 2, (py0 + py1 - y0 - y1) / 2, -bottom))
    return _join_pedestal(solid, stand, ((px0 + px1) / 2, (py0 + py1) / 2), top - bottom, depth)


def _join_pedestal(
    solid: manifold3d.Manifold,
    pedestal: manifold3d.Manifold,
    middle: tuple[float, float],
    top: float,
    depth: float | None,
) -> Added:
    """Object and pedestal as one, centred over the origin, the object sunk into the pedestal's top."""
    depth = _depth(solid) if depth is None else depth
    _, _, bottom, _, _, _ = solid.bounding_box()
    lifted = solid.translate((0.0, 0.0, top - depth - bottom))
    # What would come out beneath the pedestal is cut off; a hair above the plate, so that no two faces coincide.
    held = lifted.trim_by_plane((0.0, 0.0, 1.0), min(0.05, top / 4))
    whole = (held + pedestal).translate((-middle[0], -middle[1], 0.0))
    remarks: tuple[str, ...] = ()
    if num_bodies(whole) > 1:
        remarks = (NOT_JOINED,)
    facts = AdditionFacts("base", round(whole.volume() - solid.volume(), 1))
    return Added(mesh_of(whole), facts, remarks)


def outline_of(footprint: manifold3d.CrossSection, options: Base) -> manifold3d.CrossSection:
    """The ground plan of a base round a footprint; a flat side of it, or its middle, faces -y."""
    x0, y0, x1, y1 = footprint.bounds()
    half = np.asarray([x1 - x0, y1 - y0]) / 2
    width, depth = 2 * (half + options.margin_mm)
    points = np.concatenate(contour_points(footprint)) - np.asarray([(x0 + x1) / 2, (y0 + y1) / 2])
    radius = float(row_lengths(points).max()) + options.margin_mm
    if options.shape == "round":
        found = manifold3d.CrossSection.circle(radius, SEGMENTS)
    elif options.shape == "hex":
        found = manifold3d.CrossSection.circle(radius / np.cos(np.pi / 6), 6)
    elif options.shape == "oval":
        # In the footprint's proportion, as large as holds all of it.
        reach = half * float(row_lengths(points / half).max()) + options.margin_mm
        found = manifold3d.CrossSection.circle(1.0, SEGMENTS).scale((float(reach[0]), float(reach[1])))
    elif options.shape == "square":
        found = manifold3d.CrossSection.square((width, depth), True)
    else:
        corner = CORNER_SHARE * min(width, depth)
        inner = manifold3d.CrossSection.square((width - 2 * corner, depth - 2 * corner), True)
        found = inner.offset(corner, manifold3d.JoinType.Round, 2.0, SEGMENTS)
    return found.translate(((x0 + x1) / 2, (y0 + y1) / 2))


@dataclass(frozen=True, eq=False)
class Front:
    """The forward part of an outline, run through from left to right."""

    points: Doubles
    """[n, 2]."""
    along: Doubles
    """The way to each point [n], 0 in the middle."""

    @property
    def length(self) -> float:
        """From end to end."""
        return float(self.along[-1] - self.along[0])

    def bend(self, flat: Doubles, middle_z: float) -> Doubles:
        """Points (along, up, out) [n, 3] as (x, y, z) on this front."""
        along, up, out = flat.T
        place = np.stack([np.interp(along, self.along, self.points[:, axis]) for axis in (0, 1)], axis=1)
        normal = np.stack([np.interp(along, self.along, self._normals()[:, axis]) for axis in (0, 1)], axis=1)
        normal /= np.maximum(row_lengths(normal), 1e-9)[:, None]
        xy = place + out[:, None] * normal
        return np.stack([xy[:, 0], xy[:, 1], middle_z + up], axis=1)

    def _normals(self) -> Doubles:
        tangent = np.gradient(self.points, axis=0)
        return np.stack([tangent[:, 1], -tangent[:, 0]], axis=1) / row_lengths(tangent)[:, None]


def front_of(outline: manifold3d.CrossSection) -> Front:
    """The run of an outline's edges that face forward: one flat side, or the forward third of a curve."""
    ring = max((np.asarray(contour, np.float64) for contour in outline.to_polygons()), key=len)
    edges = np.roll(ring, -1, axis=0) - ring
    outward_y = -edges[:, 0] / row_lengths(edges)
    lowest = int(np.argmin(ring[:, 1] + np.roll(ring, -1, axis=0)[:, 1]))
    # Corners end a side: an edge belongs to the run while it turns by less than 20 degrees from its neighbour.
    first = last = lowest
    while _goes_on(edges, outward_y, first, -1):
        first -= 1
    while _goes_on(edges, outward_y, last, 1):
        last += 1
    points = ring[np.arange(first, last + 2) % len(ring)]
    along = np.concatenate([[0.0], np.cumsum(row_lengths(np.diff(points, axis=0)))])
    return Front(points, along - along[-1] / 2)


def _goes_on(edges: Doubles, outward_y: Doubles, edge: int, step: int) -> bool:
    here, after = edge % len(edges), (edge + step) % len(edges)
    turn = edges[here] @ edges[after] / np.linalg.norm(edges[here]) / np.linalg.norm(edges[after])
    return bool(turn > np.cos(np.radians(20)) and outward_y[after] < -FORWARD)


def letter_pedestal(
    pedestal: manifold3d.Manifold, outline: manifold3d.CrossSection, options: Base
) -> manifold3d.Manifold:
    """The pedestal with the text on its front.

    Raises:
        AdditionUnfit: the font lacks a character, or strokes would be thinner than a printer's line.
    """
    front = front_of(outline)
    text = fit_text(
        options.text or "",
        width_mm=front.length * TEXT_WIDTH_SHARE,
        height_mm=options.height_mm * TEXT_HEIGHT_SHARE,
    )
    outward = options.text_style == "embossed"
    x0, _, x1, _ = outline.bounds()
    if not outward and options.text_depth_mm > (x1 - x0) / 4:
        raise AdditionUnfit("The text is engraved deeper than the base holds.")
    under, over = (0.3, options.text_depth_mm) if outward else (options.text_depth_mm, 0.3)
    flat = text.extrude(under + over).translate((0.0, 0.0, -under))
    if len(front.points) > 2:
        flat = flat.refine_to_length(max(0.5, front.length / 200))
    letters = flat.warp_batch(lambda points: front.bend(np.asarray(points), options.height_mm / 2))
    return pedestal + letters if outward else pedestal - letters
