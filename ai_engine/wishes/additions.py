"""The wishes for what is added to a mesh, and the combinations of them that make no sense.

Bounds stand on the fields. What depends on several fields is refused by the functions below, with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

MAGNET_WALL_MM = 0.8
"""What must be left round a magnet: two lines of the usual nozzle."""


@dataclass(frozen=True)
class Hollow:
    """An inner surface at a constant distance from the outer one, which saves resin."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    wall_mm: Annotated[float, Field(ge=0.8, le=20)] = 2.0
    """Thickness of the wall that stays."""
    drain: Literal["auto", "none"] = "auto"
    """auto: each hollow gets a hole where it is low, beneath or behind; one that can't be drained stays filled."""
    drain_diameter_mm: Annotated[float, Field(ge=1, le=20)] = 3.0
    """Of each hole."""

    def refusal(self, height_mm: float | None) -> str | None:
        """Why this makes no sense for an object so tall; None where it does, or where the height is not known."""
        if height_mm is not None and 2 * self.wall_mm >= height_mm:
            return f"walls of {self.wall_mm:g} mm leave nothing to hollow in a height of {height_mm:g} mm"
        if self.drain == "none" and self.drain_diameter_mm != Hollow.drain_diameter_mm:
            return "with drain none there is no hole that could have drain_diameter_mm"
        return None


@dataclass(frozen=True)
class Base:
    """A pedestal under the object, with a text on its front."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    shape: Literal["round", "square", "rounded", "hex", "oval"] = "round"
    """Its ground plan, as large as the object's and `margin_mm` all round."""
    height_mm: Annotated[float, Field(ge=1, le=200)] = 6.0
    """Of the pedestal alone."""
    margin_mm: Annotated[float, Field(ge=0, le=100)] = 3.0
    """How far it reaches past the object's footprint."""
    text: Annotated[str, Field(min_length=1, max_length=80)] | None = None
    """One line on its front, in Figtree Bold, as large as fits."""
    text_style: Literal["engraved", "embossed"] = "engraved"
    """Into the base or out of it."""
    text_depth_mm: Annotated[float, Field(ge=0.2, le=5)] = 0.6
    """How deep, or how far out."""
    mesh_url: Annotated[str, Field(min_length=1)] | None = None
    """In place of all these: a pedestal of your own, STL or 3MF in millimetres with Z up, an http(s) URL or
    data:...;base64, with its bytes. The object stands on the middle of its top. A job calls one that came so
    `sha256:` and its digest; a variant that names its job's pedestal by either gets the file that the job had."""

    def refusal(self) -> str | None:
        """Why this makes no sense; None where it does."""
        if self.mesh_url is not None and self != Base(mesh_url=self.mesh_url):
            return "mesh_url is a pedestal as it is: shape, height_mm, margin_mm and text are not for it"
        if self.text is not None and not self.text.strip():
            return "the text shows nothing"
        has_style = self.text_style != Base.text_style or self.text_depth_mm != Base.text_depth_mm
        if self.text is None and has_style:
            return "there is no text that text_style and text_depth_mm could be of"
        return None


@dataclass(frozen=True)
class Attach:
    """A ring at the top, or a pocket that a disc magnet is glued into."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    kind: Literal["keyring", "magnet"]
    """keyring: a ring whose hole has `diameter_mm`. magnet: a pocket in a back that is cut flat."""
    diameter_mm: Annotated[float, Field(ge=1, le=60)] = 5.0
    """Of the ring's hole, or of the magnet."""
    depth_mm: Annotated[float, Field(ge=0.5, le=20)] = 2.0
    """Of the magnet's pocket; of a ring its thickness."""

    def refusal(self, height_mm: float | None, others: Mapping[str, Any]) -> str | None:
        """Why this makes no sense for an object so tall, with the other wishes by field; None where it does."""
        if self.kind != "magnet":
            return None
        hollow: Hollow | None = others.get("hollow")
        needed = self.diameter_mm + 2 * MAGNET_WALL_MM
        if height_mm is not None and needed > height_mm:
            return f"the magnet and its walls need {needed:g} mm of a height of {height_mm:g} mm"
        if others.get("base") is not None:
            return "a base is stood on, a magnet's back is hung: ask for one of them"
        if hollow is not None and hollow.wall_mm < self.depth_mm + MAGNET_WALL_MM:
            least = self.depth_mm + MAGNET_WALL_MM
            return f"hollow.wall_mm must be {least:g} at least, to hold a pocket of {self.depth_mm:g} mm"
        return None
