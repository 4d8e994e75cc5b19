"""What the shape model made of a picture."""

from __future__ import annotations

from dataclasses import dataclass

from ai_engine.job import DecodeFacts
from ai_engine.mesh.mesh import Mesh


@dataclass(frozen=True, eq=False)
class Shape:
    """What the shape model made of a picture."""

    mesh: Mesh
    decode: DecodeFacts | None = None
    """None where no field was searched."""
    degraded: tuple[str, ...] = ()
    """What was lowered because the device's memory ran short."""
