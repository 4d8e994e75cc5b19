"""Printability report: what a slicer will find in a mesh. Knows no files and no jobs.

A slicer takes a unit for a millimetre and z for up, whatever was meant; so does this report.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from ai_engine.facts import AdditionFacts, CostFacts, PrintFacts
from ai_engine.mesh.ghost_plane import GhostPlane
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import Doubles, row_lengths, volumes_above
from ai_engine.mesh.topology import EdgeFacts, compact, edge_facts, face_bodies
from ai_engine.printing.costs import cost_of
from ai_engine.printing.self_intersections import crossing_share
from ai_engine.printing.wall_thickness import smallest_wall

Units = Literal["mm", "model"]

MIN_WALL_MM = {"fdm": 1.0, "resin": 0.8}
"""The thinnest wall that each kind of printer makes well."""
MAX_CROSSING_SHARE = 0.001
"""More faces than this share cutting through others, and slicers begin to disagree about what is inside."""
OVERHANG_Z = -np.sqrt(0.5)
"""Faces whose unit normal has a lower z hang over by more than 45 degrees."""
CONTACT_MM = 0.05
FLAT_Z = -0.999
MIN_CONTACT_SHARE = 0.01
"""Less contact than this share of the bounding box's ground, and the first layer hardly holds."""


@dataclass(frozen=True)
class PrintReport:
    """What is true of a mesh. Lengths in mm, as a slicer takes them."""

    is_closed: bool
    """The surface ends nowhere."""
    is_manifold: bool
    """No edge has more than two faces."""
    is_winding_consistent: bool
    """No two faces run along an edge in the same direction."""
    num_bodies: int
    """Parts that share no vertex, hollows apart."""
    num_hollows: int
    """Closed hollows inside."""
    num_vertices: int
    num_faces: int
    volume: float
    """In mm³; negative when the faces look inwards, meaningless unless watertight."""
    area: float
    """In mm²."""
    bbox: tuple[float, float, float]
    """Side lengths of the bounding box along x, y, z."""
    crossing_share: float
    """Share of the faces that cut through others."""
    smallest_wall: float | None
    """1 % of the surface belongs to thinner walls. None above 5 mm, in model units, and where there is no solid."""
    overhang_share: float
    """Share of the surface that hangs over by more than 45 degrees, the ground apart."""
    contact_area: float
    """Of what stands flat on the plate, in mm²."""
    units: Units = "model"
    """What a unit was meant to be."""
    simplification_error: float | None = None
    """The farthest that the surface moved when faces were taken away (Hausdorff, sampled); None: none were."""
    ghost_plane: GhostPlane | None = None
    """A flat floor, wall or sheet that the picture does not show."""
    repairs: dict[str, int] = field(default_factory=dict)
    """What had to be mended in what the shape model gave, counted."""
    additions: tuple[AdditionFacts, ...] = ()
    """What was added to the object, or taken from it."""
    blockers: tuple[str, ...] = ()
    """Why it can't be printed; empty when it can."""
    warnings: tuple[str, ...] = ()
    """Whole sentences for the caller, the blockers first; empty when there is nothing to say."""

    @property
    def is_watertight(self) -> bool:
        """Every edge has exactly two faces, which run along it in opposite directions."""
        return self.num_faces > 0 and self.is_closed and self.is_manifold and self.is_winding_consistent

    @property
    def printers(self) -> tuple[str, ...]:
        """The kinds of printer whose thinnest wall is not thicker than this mesh's."""
        if self.units != "mm" or not self.is_watertight:
            return ()
        wall = np.inf if self.smallest_wall is None else self.smallest_wall
        return tuple(kind for kind, thinnest in MIN_WALL_MM.items() if wall >= thinnest)

    @property
    def costs(self) -> CostFacts | None:
        """What it costs to print; None in model units, and where there is no solid."""
        if self.units != "mm" or not self.is_watertight or self.volume <= 0:
            return None
        return cost_of(self.volume, self.area, self.bbox)

    def facts(self) -> PrintFacts:
        """The report as the event and `GET /jobs/{id}` show it."""
        x, y, z = self.bbox
        error = self.simplification_error
        return PrintFacts(
            watertight=self.is_watertight,
            closed=self.is_closed,
            manifold=self.is_manifold,
            consistent_winding=self.is_winding_consistent,
            bodies=self.num_bodies,
            hollows=self.num_hollows,
            triangles=self.num_faces,
            volume_cm3=_round(self.volume / 1000),
            area_cm2=_round(self.area / 100),
            bbox_mm=(_round(x), _round(y), _round(z)),
            self_intersection_share=_round(self.crossing_share),
            smallest_wall_mm=None if self.smallest_wall is None else _round(self.smallest_wall),
            printers=self.printers,
            overhang_share=_round(self.overhang_share),
            contact_area_mm2=_round(self.contact_area),
            simplification_error_mm=None if error is None else _round(error),
            ghost_plane=self.ghost_plane,
            repairs=self.repairs,
            printable=not self.blockers,
            warnings=self.warnings,
            additions=self.additions,
            costs=self.costs,
        )


def _round(value: float) -> float:
    """Four digits that count."""
    return float(f"{value:.4g}")


def report(mesh: Mesh, *, units: Units = "model") -> PrintReport:
    """What is true of `mesh`, faces taken by their vertex numbers as they are: weld it before."""
    edges = edge_facts(mesh.faces, len(mesh.vertices))
    areas, volumes = mesh.area_vectors, volumes_above(mesh)
    volume = float(volumes.sum())
    num_bodies, num_hollows = _bodies(mesh, volumes)
    crossing = crossing_share(mesh)
    is_solid = edges.is_solid and volume > 0
    wall = smallest_wall(mesh) if is_solid and units == "mm" else None
    overhang_share, contact_area = _stance(mesh)
    bbox = _side_lengths(mesh)
    blockers = _blockers(edges, len(mesh.faces), volume, crossing, wall)
    ground = contact_area / max(bbox[0] * bbox[1], 1e-12) if units == "mm" else None
    return PrintReport(
        is_closed=edges.num_boundary == 0 and len(mesh.faces) > 0,
        is_manifold=edges.num_non_manifold == 0,
        is_winding_consistent=edges.num_misoriented == 0,
        num_bodies=num_bodies,
        num_hollows=num_hollows,
        num_vertices=len(mesh.vertices),
        num_faces=len(mesh.faces),
        volume=volume,
        area=float(row_lengths(areas).sum()),
        bbox=bbox,
        crossing_share=crossing,
        smallest_wall=wall,
        overhang_share=overhang_share,
        contact_area=contact_area,
        units=units,
        blockers=tuple(blockers),
        warnings=(*blockers, *_remarks(num_bodies, num_hollows, crossing, wall, ground)),
    )


def _bodies(mesh: Mesh, volumes: Doubles) -> tuple[int, int]:
    """How many bodies there are, and how many hollows: what encloses less than nothing in a mesh that is not so."""
    if len(mesh.faces) == 0:
        return 0, 0
    enclosed = np.bincount(face_bodies(mesh.faces, len(mesh.vertices)), volumes)
    num_hollows = int(np.count_nonzero(enclosed < 0)) if volumes.sum() > 0 else 0
    return len(enclosed) - num_hollows, num_hollows


def _stance(mesh: Mesh) -> tuple[float, float]:
    """The share of the surface that hangs over, and the area that lies flat on the ground."""
    sizes, upward = row_lengths(mesh.area_vectors), np.ascontiguousarray(mesh.area_vectors[:, 2])
    if sizes.sum() <= 0:
        return 0.0, 0.0
    heights = mesh.vertices[:, 2].astype(np.float64)
    low, middle, high = (np.take(heights, corner) for corner in mesh.faces.T)
    highest = np.maximum(np.maximum(low, middle), high)
    lowest = min(float(corner.min()) for corner in (low, middle, high))
    on_ground = highest <= lowest + CONTACT_MM
    contact = sizes[on_ground & (upward < FLAT_Z * sizes)].sum()
    overhang = sizes[~on_ground & (upward < OVERHANG_Z * sizes)].sum()
    return float(overhang / sizes.sum()), float(contact)


def _side_lengths(mesh: Mesh) -> tuple[float, float, float]:
    if len(mesh.faces) == 0:
        return (0.0, 0.0, 0.0)
    lower, upper = (corner.astype(np.float64) for corner in compact(mesh.vertices, mesh.faces).box)
    x, y, z = (upper - lower).tolist()
    return (x, y, z)


def _blockers(
    edges: EdgeFacts, num_faces: int, volume: float, crossing: float, wall: float | None
) -> list[str]:
    thinnest = min(MIN_WALL_MM.values())
    findings = (
        (num_faces == 0, "There is nothing to print."),
        (edges.num_boundary > 0, f"The surface is not closed: it ends at {edges.num_boundary} edges."),
        (edges.num_non_manifold > 0, f"{edges.num_non_manifold} edges have more than two faces."),
        (edges.num_misoriented > 0, "Some faces look the wrong way."),
        (num_faces > 0 and edges.is_solid and volume <= 0, "The faces look inwards."),
        (crossing > MAX_CROSSING_SHARE, f"{crossing:.2%} of the faces cut through others."),
        (
            wall is not None and wall < thinnest,
            f"Walls are as thin as {wall or 0:.2f} mm; {thinnest} mm is needed.",
        ),
    )
    return [sentence for is_true, sentence in findings if is_true]


def _remarks(
    num_bodies: int, num_hollows: int, crossing: float, wall: float | None, ground_share: float | None
) -> list[str]:
    resin, fdm = MIN_WALL_MM["resin"], MIN_WALL_MM["fdm"]
    findings = (
        (num_bodies > 1, f"The mesh has {num_bodies} separate parts."),
        (num_hollows > 0, "It has a closed hollow inside: resin would stay in it."),
        (0 < crossing <= MAX_CROSSING_SHARE, "A few faces cut through others."),
        (
            wall is not None and resin <= wall < fdm,
            f"Walls are as thin as {wall or 0:.2f} mm: for resin printers.",
        ),
        (
            ground_share is not None and ground_share < MIN_CONTACT_SHARE,
            "Little of it stands flat on the plate.",
        ),
    )
    return [sentence for is_true, sentence in findings if is_true]
