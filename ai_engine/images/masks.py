"""Masks of one object: judged, cleared of haze and islands, the edge found by GrabCut. Knows no model, no files.

A mask is the opacity of the object, uint8 [height, width], 255 opaque.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ai_engine.images.cutout import FAINT_ALPHA, FOREGROUND_ALPHA, SOLID_ALPHA

Mask = NDArray[np.uint8]
Pixels = NDArray[np.uint8]

MIN_ISLAND_SHARE = 0.1
"""Separate parts of a mask that weigh less than this share of the heaviest one are dropped."""
RIM_SHARE = 0.01
"""Width of the rim whose colours mix with the background, as a share of the picture's longer side."""
MIN_RIM_PX = 3
MIN_CLEAR_CORNERS = 2
MIN_CORNER_PX = 4
"""Clear pixels along both borders from which on a corner counts as cut out."""
MAX_ROUND_CLEAR_SHARE = 0.42
"""Of the box that a clear corner spans: a circle of some pixels clears 0.21 to 0.4, a straight cut 0.5 or more."""
SOLID_PERCENTILE = 99.0
"""Of the opacity of the heaviest part: stray solid pixels do not make a see-through object solid."""

MARGIN_SHARE = 0.3
"""Ground round the object that GrabCut sees, as a share of the object's longer side."""
GRABCUT_SIDE_PX = 384
MAX_GRABCUT_ROUNDS = 6
STILL_SHARE = 0.002
"""Of the object: a round of GrabCut that moves fewer pixels is the last one."""
DOUBT_SHARE = 0.2
"""Width of the band on both sides of the mask's edge that GrabCut decides, as a share of the root of its area."""
MAX_BAND_SHARE = 0.9
"""GrabCut that clears more than this share of the band inside the edge has emptied the mask; that takes more of the
band outside has flooded it."""
SOFT_RIM_SIGMA_PX = 0.7
MIN_AGREEMENT = 0.4
"""IoU of the second look with the first from which on the second is believed."""
MIN_OBJECT_SHARE = 0.002
"""Of the picture: a smaller mask is not refined."""


@dataclass(frozen=True, eq=False)
class Parts:
    """A mask and how many separate parts of it were kept and dropped."""

    mask: Mask
    num_kept: int = 1
    num_dropped: int = 0


def without_haze(alpha: Mask) -> Mask:
    """The mask with faint pixels cleared."""
    return np.where(alpha <= FAINT_ALPHA, np.uint8(0), alpha)


def without_islands(mask: Mask, *, min_share: float = MIN_ISLAND_SHARE) -> Parts:
    """The mask without its parts (floaters) of less than `min_share` of the heaviest, weighed by their opacity."""
    labels, num_parts = ndimage.label(mask, structure=np.ones((3, 3), np.int8))
    if num_parts < 2:
        return Parts(mask)
    weights = np.bincount(labels.ravel(), weights=mask.ravel())
    is_kept = weights >= min_share * weights.max()
    num_kept = int(np.count_nonzero(is_kept))
    return Parts(np.where(is_kept[labels], mask, np.uint8(0)), num_kept, num_parts - num_kept)


def with_object_colours(rgba: Pixels, mask: Mask) -> Pixels:
    """The picture [h, w, 4] with the nearest solid colour of the object on the soft pixels of the mask's rim.

    A soft edge holds half of the old background's colour; on white that would draw a dark rim. What is soft
    further inside than `RIM_SHARE` (fur, a visor) keeps its own colours.
    """
    is_solid = mask >= SOLID_ALPHA
    if not is_solid.any():
        return rgba
    rim_px = max(MIN_RIM_PX, RIM_SHARE * max(mask.shape))
    is_rim = ~is_solid & (mask > 0)
    if (mask == 0).any():
        is_rim &= ndimage.distance_transform_edt(mask > 0) <= rim_px
    box = ndimage.find_objects((mask > 0).astype(np.uint8))[0]
    rows, columns = ndimage.distance_transform_edt(
        ~is_solid[box], return_distances=False, return_indices=True
    )
    coloured = rgba.copy()
    coloured[box] = np.where(is_rim[box][:, :, None], rgba[box][rows, columns], rgba[box])
    return coloured


def touches_all_borders(is_seen: NDArray[np.bool_]) -> bool:
    """True when something is seen on each border of [h, w], as of a picture that was cropped to its object."""
    return all(edge.any() for edge in (is_seen[0], is_seen[-1], is_seen[:, 0], is_seen[:, -1]))


def is_trimmed(is_seen: NDArray[np.bool_]) -> bool:
    """True for an object that reaches all four borders and leaves two corners clear, not four like a rounded card's."""
    if not touches_all_borders(is_seen):
        return False
    flips = (is_seen, is_seen[:, ::-1], is_seen[::-1], is_seen[::-1, ::-1])
    corners = [corner for corner in map(_clear_corner, flips) if min(corner.shape) >= MIN_CORNER_PX]
    return len(corners) >= MIN_CLEAR_CORNERS and not (len(corners) == 4 and all(map(_is_round, corners)))


def _clear_corner(is_seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What is seen in the box that the clear pixels along the two borders span from the upper left corner."""
    return is_seen[: int(np.argmax(is_seen[:, 0])), : int(np.argmax(is_seen[0]))]


def _is_round(corner: NDArray[np.bool_]) -> bool:
    """True if a quarter of a circle was cut out: legs about equal, and a clear share of 1 - pi / 4 or less."""
    height, width = corner.shape
    is_square = abs(height - width) <= 1 + 0.15 * max(height, width)
    return is_square and float(np.mean(~corner)) <= MAX_ROUND_CLEAR_SHARE


def make_solid(alpha: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], bool]:
    """Opacity [h, w] so scaled that the object is solid somewhere (glass of alpha 110 to 255), and whether it was."""
    heaviest = without_islands(without_haze(alpha), min_share=1.0).mask
    peak = float(np.percentile(heaviest[heaviest > 0], SOLID_PERCENTILE))
    if peak >= FOREGROUND_ALPHA:
        return alpha, False
    return np.minimum(np.round(alpha * (255 / peak)), 255).astype(np.uint8), True


def refine(picture: Pixels, find: Callable[[Pixels], Mask]) -> Mask:
    """The mask that `find` gives for a picture [h, w, 3], found again from near, its edge by GrabCut.

    A small network sees a small object in few pixels, so it looks twice: at the picture, and at the object with some
    ground. Falls back to the mask before it wherever a step fails. Same picture, same bytes.
    """
    first = find(picture)
    box = _surroundings(first)
    if box is None:
        return first
    near = np.ascontiguousarray(picture[box])
    second = find(near)
    nearer = second if _overlap(first[box], second) >= MIN_AGREEMENT else first[box]
    mask = np.zeros_like(first)
    mask[box] = nearer
    box = _surroundings(mask)
    if box is not None:
        mask[box] = cut_by_colour(np.ascontiguousarray(picture[box]), np.ascontiguousarray(mask[box]))
    return mask


def cut_by_colour(picture: Pixels, mask: Mask) -> Mask:
    """The mask with its edge where the colours of object and ground part (GrabCut), a soft rim of a pixel.

    The mask eroded is surely the object, the mask dilated surely not the ground; the band between them is decided.
    Gives `mask` back if nothing is sure, or if GrabCut empties or floods it.
    """
    height, width = mask.shape
    scale = GRABCUT_SIDE_PX / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    is_object = cv2.resize(mask, size, interpolation=way) >= FOREGROUND_ALPHA
    seeds = _seeds(is_object)
    if not (seeds == cv2.GC_FGD).any() or not (seeds == cv2.GC_BGD).any():
        return mask
    is_cut = _grabcut(cv2.resize(picture, size, interpolation=way), seeds.copy())
    num_inside, num_outside = np.sum(seeds == cv2.GC_PR_FGD), np.sum(seeds == cv2.GC_PR_BGD)
    num_cleared, num_taken = np.sum(is_object & ~is_cut), np.sum(is_cut & ~is_object)
    if num_cleared > MAX_BAND_SHARE * num_inside or num_taken > MAX_BAND_SHARE * num_outside:
        return mask
    soft = cv2.GaussianBlur(is_cut.astype(np.float32), (0, 0), SOFT_RIM_SIGMA_PX)
    back = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR if scale < 1 else cv2.INTER_AREA)
    return np.round(back * 255).astype(np.uint8)


def _seeds(is_object: NDArray[np.bool_]) -> Mask:
    """What GrabCut begins with: surely and probably object, surely and probably ground."""
    band_px = DOUBT_SHARE * np.sqrt(np.count_nonzero(is_object))
    inside = cv2.distanceTransform(np.pad(is_object, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    outside = cv2.distanceTransform((~is_object).astype(np.uint8), cv2.DIST_L2, 5)
    seeds = np.where(is_object, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    seeds[inside > band_px] = cv2.GC_FGD
    seeds[outside > band_px] = cv2.GC_BGD
    return seeds


def _grabcut(picture: Pixels, seeds: Mask) -> NDArray[np.bool_]:
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)  # The first clusters of colours are drawn from this thread's generator.
    is_object, begin = _is_object(seeds), cv2.GC_INIT_WITH_MASK
    for _ in range(MAX_GRABCUT_ROUNDS):
        cv2.grabCut(picture, seeds, None, *models, 1, begin)
        was_object, is_object, begin = is_object, _is_object(seeds), cv2.GC_EVAL
        if np.count_nonzero(is_object != was_object) < STILL_SHARE * np.count_nonzero(is_object):
            break
    return is_object


def _is_object(seeds: Mask) -> NDArray[np.bool_]:
    return (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)


def _surroundings(mask: Mask) -> tuple[slice, slice] | None:
    """Rows and columns of the object and some ground round it; None where the mask shows next to nothing."""
    is_object = without_islands(np.where(mask >= FOREGROUND_ALPHA, mask, np.uint8(0))).mask > 0
    if np.mean(is_object) < MIN_OBJECT_SHARE:
        return None
    rows, columns = ndimage.find_objects(is_object.astype(np.uint8))[0]
    margin = round(MARGIN_SHARE * max(rows.stop - rows.start, columns.stop - columns.start))
    return _widen(rows, margin, mask.shape[0]), _widen(columns, margin, mask.shape[1])


def _widen(span: slice, margin: int, end: int) -> slice:
    return slice(max(0, span.start - margin), min(end, span.stop + margin))


def _overlap(first: Mask, second: Mask) -> float:
    """IoU of what is at least half opaque."""
    one, other = first >= FOREGROUND_ALPHA, second >= FOREGROUND_ALPHA
    return float((one & other).sum() / max((one | other).sum(), 1))
