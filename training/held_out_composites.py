"""Matting pictures that training never draws: shapes, colours, views and grounds from seeds of their own."""

from __future__ import annotations

import numpy as np

from training.composites import KINDS, Composite, make_composite, random_foreground
from training.shapes import FAMILY_NAMES

# Training draws from [seed, step]; four numbers make a stream of their own.
WATCH_SEED, REPORT_SEED = (7, 7, 3), (7, 7, 4)


def held_out_composites(
    seed: tuple[int, int, int], count: int, side_px: int, kind: str, *, is_union: bool = False
) -> list[Composite]:
    """Composites of a named kind, of all families in turn or of random unions.

    The first ones do not depend on the count.
    """
    made = []
    for i in range(count):
        rng = np.random.default_rng([*seed, i, list(KINDS).index(kind), int(is_union)])
        family = None if is_union else FAMILY_NAMES[i % len(FAMILY_NAMES)]
        foreground = random_foreground(rng, side_px, family)
        made.append(make_composite(rng, foreground, side_px, KINDS[kind]))
    return made
