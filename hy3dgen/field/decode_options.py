"""Options of the search for a field's surface, and its progress reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

POINTS_PER_CALL = 8000
"""Points asked in one call unless the caller or the memory that is free says otherwise."""

Mode = Literal["strict", "fast"]
COVER_FACTOR: dict[Mode, float] = {"strict": 1.0, "fast": 1.4 / math.sqrt(3.0)}
"""The saturation distance must reach this share of half a coarse cell's diagonal (fast: 0.7 of its side)."""


@dataclass(frozen=True)
class DecodeOptions:
    """How to ask. `strict` lets no part hide where the probe allows it; `fast` takes a coarser first lattice.

    `max_points_per_call` bounds a call from above; the memory that is free may bound it further: a call takes
    `memory_share` of it, at `bytes_per_point`. A level of which more than `max_active_share` would be active is read
    whole. Cells are looked at in blocks of `cells_per_block`, None for what suits the device: smaller ones take less
    memory and more time, and give the same.
    """

    mode: Mode = "strict"
    max_points_per_call: int = POINTS_PER_CALL
    memory_share: float = 0.4
    bytes_per_point: int = 26_000
    max_active_share: float = 0.25
    cells_per_block: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in COVER_FACTOR:
            raise ValueError(f"mode must be 'strict' or 'fast', got {self.mode!r}")
        if self.max_points_per_call < 1 or (self.cells_per_block is not None and self.cells_per_block < 1):
            raise ValueError("max_points_per_call and cells_per_block must be at least 1")
        if not 0 < self.memory_share <= 1 or not 0 < self.max_active_share <= 1:
            raise ValueError("memory_share and max_active_share must lie in (0, 1]")


@dataclass(frozen=True)
class DecodeProgress:
    """Reported after each level: it is the `depth`th of `num_depths`."""

    depth: int
    num_depths: int
    resolution: tuple[int, int, int]
    num_active_cells: int
    num_queries: int


OnLevel = Callable[[DecodeProgress], None]
