"""Alpha channel to `CutOutFacts`: how large the object is, which borders it touches, what is suspicious about it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ai_engine.facts import Border, CutOutFacts, CutOutWarning
from ai_engine.images.cutout import FOREGROUND_ALPHA, SOLID_ALPHA
from ai_engine.images.masks import touches_all_borders

MIN_TOUCH_SHARE = 0.01
"""A border is touched when foreground lies on this share of its pixels: one sharp tip may end there."""
FULL_SHARE = 0.97
"""From this share of the picture on next to nothing is background."""
SMALL_SIDE_PX = 128
"""Objects whose longer side has fewer pixels are enlarged several times for the shape model."""
MAX_SOFT_SHARE = 0.25
"""Of the pixels inside the object, its rim apart, that may be see-through."""
SAMPLED_SIDE_PX = 1024
"""Softness is measured on as many rows and columns at most, evenly spaced."""
SOFT_RIM_PX = 8
"""Of the sampled rows and columns: softer than this is every edge."""


def measure(alpha: NDArray[np.uint8], *, source: str, num_parts: int, num_dropped: int) -> CutOutFacts:
    """The facts of a cut-out with the opacity `alpha` [h, w], whose faint pixels and small parts are cleared.

    `num_parts`, `num_dropped`: separate parts that were kept and cleared.
    """
    is_object = alpha >= FOREGROUND_ALPHA
    share = float(np.mean(is_object))
    borders = _touched_borders(is_object)
    found: dict[CutOutWarning, bool] = {
        "covers_everything": share >= FULL_SHARE,
        "touches_border": bool(borders) and not (source == "alpha" and touches_all_borders(alpha > 0)),
        "small": _longer_side_px(alpha > 0) < SMALL_SIDE_PX,
        "soft": _soft_share(alpha) > MAX_SOFT_SHARE,
        "several_objects": num_parts > 1,
    }
    warnings = tuple(name for name, is_so in found.items() if is_so)
    return CutOutFacts(source, round(share, 4), borders, num_dropped, warnings)


def _touched_borders(is_object: NDArray[np.bool_]) -> tuple[Border, ...]:
    edges: dict[Border, NDArray[np.bool_]] = {
        "left": is_object[:, 0],
        "top": is_object[0],
        "right": is_object[:, -1],
        "bottom": is_object[-1],
    }
    return tuple(name for name, edge in edges.items() if edge.any() and edge.mean() >= MIN_TOUCH_SHARE)


def _longer_side_px(is_seen: NDArray[np.bool_]) -> int:
    spans = [np.flatnonzero(is_seen.any(axis=axis)) for axis in (0, 1)]
    return max((int(span[-1] - span[0]) + 1 for span in spans if len(span)), default=0)


def _soft_share(alpha: NDArray[np.uint8]) -> float:
    """The share of see-through pixels among those inside the object, its rim apart."""
    step = max(1, math.ceil(max(alpha.shape) / SAMPLED_SIDE_PX))
    sampled = alpha[::step, ::step]
    inside = sampled[ndimage.distance_transform_edt(np.pad(sampled > 0, 1))[1:-1, 1:-1] > SOFT_RIM_PX]
    return float(np.mean(inside < SOLID_ALPHA)) if inside.size else 0.0
