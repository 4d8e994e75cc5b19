"""What a slicer will find in a mesh, as callers read it: the members of `print` in events and in `GET /jobs/{id}`.

Values only. How they are measured: `printing/report.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import ConfigDict


@dataclass(frozen=True)
class PrintFacts:
    """What a slicer will find. Lengths in mm, numbers rounded to four digits."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    watertight: bool
    """Every edge has exactly two faces, which run along it in opposite directions."""
    closed: bool
    """The surface ends nowhere."""
    manifold: bool
    """No edge has more than two faces."""
    consistent_winding: bool
    """No two faces run along an edge in the same direction."""
    bodies: int
    """Parts that share no vertex, hollows apart."""
    hollows: int
    """Closed hollows inside."""
    triangles: int
    volume_cm3: float
    """Negative when the faces look inwards; meaningless unless watertight."""
    area_cm2: float
    bbox_mm: tuple[float, float, float]
    """Side lengths of the bounding box along x, y, z."""
    self_intersection_share: float
    """Share of the faces that cut through others."""
    smallest_wall_mm: float | None
    """1 % of the surface belongs to thinner walls. None above 5 mm, in model units, and where there is no solid."""
    printers: tuple[str, ...]
    """Kinds of printer that make walls as thin as these: fdm, resin."""
    overhang_share: float
    """Share of the surface that hangs over by more than 45 degrees, the ground apart."""
    contact_area_mm2: float
    """Area that stands flat on the plate."""
    simplification_error_mm: float | None
    """The farthest that the surface moved when faces were taken away (Hausdorff, sampled); None: none were."""
    repairs: dict[str, int]
    """What had to be mended in what the shape model gave, counted."""
    printable: bool
    warnings: tuple[str, ...]
    """Whole sentences, what prevents a print first; empty when there is nothing to say."""

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> PrintFacts:
        """The facts that `dataclasses.asdict` and JSON made plain values of."""
        lists = {name: tuple(fields[name]) for name in ("bbox_mm", "printers", "warnings")}
        return cls(**fields | lists)
