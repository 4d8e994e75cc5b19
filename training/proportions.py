"""Proportions outside the middle of what the families draw: their uniform draws, stretched or pushed to the ends.

`shapes` draws every proportion by `rng.uniform(low, high)`. `Stretched` is a generator whose ranges are wider about
the same middle; `Outer` one that draws from the outermost parts of the range. Knows no family by name.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.random import Generator

from training.shapes import Shape, random_shape

MAX_STRETCH, STRETCHED_SHARE = 1.9, 0.6
OUTER_SHARE = 0.12


class Stretched:
    """A generator whose `uniform(low, high)` reaches `stretch` times as far about the middle of the range.

    A positive range stays above half of its low end, so that no part vanishes.
    """

    def __init__(self, rng: Generator, stretch: float) -> None:
        self.rng, self.stretch = rng, stretch

    def uniform(self, low: float, high: float, size: Any = None) -> Any:
        """A draw from the wider range."""
        drawn = self._place(self.rng.uniform(0.0, 1.0, size)) * (high - low) + low
        return np.maximum(drawn, low / 2) if low >= 0 else drawn

    def _place(self, share: Any) -> Any:
        return (share - 0.5) * self.stretch + 0.5

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rng, name)


class Outer(Stretched):
    """A generator whose `uniform(low, high)` gives the lowest or the highest OUTER_SHARE of the range."""

    def __init__(self, rng: Generator) -> None:
        super().__init__(rng, 1.0)

    def _place(self, share: Any) -> Any:
        return np.where(share < 0.5, share * 2 * OUTER_SHARE, 1 - (1 - share) * 2 * OUTER_SHARE)


def wide_shape(rng: Generator, family: str) -> Shape:
    """A shape of the family; in STRETCHED_SHARE of the cases from ranges up to MAX_STRETCH times as wide."""
    if rng.random() > STRETCHED_SHARE:
        return random_shape(rng, family)
    return random_shape(cast(Generator, Stretched(rng, rng.uniform(1.0, MAX_STRETCH))), family)


def outer_shape(rng: Generator, family: str) -> Shape:
    """A shape of the family, every proportion near an end of its range."""
    return random_shape(cast(Generator, Outer(rng)), family)
