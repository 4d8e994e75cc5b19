"""Holes that liquid resin leaves a hollow by: as low as the hollow is, beneath or at the back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import manifold3d
import numpy as np

from ai_engine.additions.solid import count_shells
from ai_engine.mesh.surface import Doubles
from ai_engine.wishes.additions import Hollow

SEGMENTS = 32
CANDIDATES = 12


@dataclass(frozen=True)
class Drain:
    """What a hole must be like."""

    options: Hollow
    floor_z: float | None
    """None: holes go down. Else they go back, above it."""

    @property
    def radius(self) -> float:
        """Of the hole."""
        return self.options.drain_diameter_mm / 2


def drill_drain(
    before: manifold3d.Manifold, solid: manifold3d.Manifold, cavity: manifold3d.Manifold, drain: Drain
) -> manifold3d.Manifold | None:
    """`before` without `cavity` and without a hole from it to the outside of `solid`; None where none opens it.

    The hole starts where the cavity is widest near its lowest reach and ends past the first face outside of it.
    """
    num_shells = count_shells(before) + count_shells(cavity)
    for start in _starts(cavity, drain):
        drill = _drill(solid, start, drain)
        if drill is None:
            continue
        # Both at once: a boolean of the large solid costs more than all else here.
        found = before - (cavity + drill)
        # Open when the shell that bounded the hollow has become a part of another.
        if count_shells(found) < num_shells:
            return found
    return None


def _starts(cavity: manifold3d.Manifold, drain: Drain) -> Iterator[Doubles]:
    """Points in the cavity, the lowest first, where its level section is widest; far back among equals."""
    _, _, bottom, _, _, top = cavity.bounding_box()
    step = (top - bottom) / CANDIDATES
    lowest = bottom
    if drain.floor_z is not None:
        lowest = max(bottom, drain.floor_z + drain.radius * 1.1)
        if lowest >= top:
            return
    for height in np.linspace(lowest + min(0.3, step / 2), top - step / 2, CANDIDATES).tolist():
        point = widest_point(cavity.slice(height))
        if point is not None:
            yield np.asarray([*point, height])


def widest_point(section: manifold3d.CrossSection) -> tuple[float, float] | None:
    """A point of a plane section that is about as far from its border as any, of several the one farthest back."""
    if section.is_empty():
        return None
    low, high = 0.0, float(np.sqrt(section.area() / np.pi)) * 1.01
    inner = section
    for _ in range(12):
        middle = (low + high) / 2
        shrunk = section.offset(-middle, manifold3d.JoinType.Round, 2.0, SEGMENTS)
        if shrunk.is_empty():
            high = middle
        else:
            low, inner = middle, shrunk
    pieces = [np.asarray(contour) for contour in inner.to_polygons()]
    x, y = max((piece.mean(axis=0) for piece in pieces), key=lambda middle: float(middle[1]))
    return float(x), float(y)


def _drill(solid: manifold3d.Manifold, start: Doubles, drain: Drain) -> manifold3d.Manifold | None:
    """A cylinder from `start` down or back through the wall."""
    direction = np.asarray([0.0, 0.0, -1.0] if drain.floor_z is None else [0.0, 1.0, 0.0])
    lower, upper = np.reshape(solid.bounding_box(), (2, 3))
    hits = solid.ray_cast(tuple(start), tuple(start + direction * float(np.sum(upper - lower))))
    if not hits:
        return None
    wall_end = abs(float(np.dot(np.asarray(hits[0].position) - start, direction)))
    room = abs(float(np.dot(np.asarray(hits[1].position) - start, direction))) if len(hits) > 1 else np.inf
    # Past the wall by its own diameter, so that a slanted wall is open over the whole hole; not into the next part.
    length = min(wall_end + 2 * drain.radius + 0.5, (wall_end + room) / 2)
    drill = manifold3d.Manifold.cylinder(length, drain.radius, drain.radius, SEGMENTS)
    turned = drill.rotate((180.0, 0.0, 0.0)) if drain.floor_z is None else drill.rotate((-90.0, 0.0, 0.0))
    return turned.translate(tuple(start))
