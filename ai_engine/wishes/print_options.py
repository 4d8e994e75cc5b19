"""What is asked of the finished mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.slicing import Slice


@dataclass(frozen=True)
class PrintOptions:
    """What is asked of the finished mesh."""

    height_mm: float | None = None
    """None: raw model units, Y up. Set: millimetres, Z up, standing on z = 0."""
    flat_base: bool = False
    target_faces: int | None = None
    max_bytes: int | None = None
    """Of the file."""
    require_printable: bool = False
    thumbnail: bool = False
    """Draw the picture of the mesh before the delivery."""
    hollow: Hollow | None = None
    base: Base | None = None
    attach: Attach | None = None
    slice: Slice | None = None
    """G-code besides the mesh."""

    @property
    def has_additions(self) -> bool:
        """True when anything is to be added to the mesh, or taken from it."""
        return any(wish is not None for wish in (self.hollow, self.base, self.attach))

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> PrintOptions:
        """The options that `dataclasses.asdict` and JSON made plain values of."""
        kinds: dict[str, Callable[..., Any]] = {
            "hollow": Hollow,
            "base": Base,
            "attach": Attach,
            "slice": Slice,
        }
        wishes = {name: kind(**fields[name]) for name, kind in kinds.items() if fields.get(name)}
        return cls(**fields | wishes)

    @property
    def is_mm(self) -> bool:
        """True when the result is in millimetres with Z up."""
        return self.height_mm is not None
