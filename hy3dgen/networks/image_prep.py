"""From a cut-out picture to what a model was trained on: on white, in the frame of its family.

    prepare_image     Hunyuan3D 2.0 and 2.1: the longer side at 85 % of a square
    fill_own_frame    Step1X-3D: 95 % of the picture in its own aspect, then a square
    pad_square        TripoSG: what is visible, made square, with a border of 10 %

Formulas of the first: docs/shape-model.md, Picture. The arithmetic goes step by step as the checkpoints were trained,
because every rounding moves the result.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray as Array
from PIL import Image
from torch import Tensor

from hy3dgen.errors import EmptyImage, ImageError

VIEW_INDEX = {"front": 0, "left": 1, "back": 2, "right": 3}


def prepare_image(image: Image.Image, side_px: int, border_ratio: float) -> Float[Tensor, "1 3 side side"]:
    """The picture, recentred by its alpha and composed on white, in [-1, 1].

    A picture without alpha counts as all visible: it is framed, its background stays.

    Raises:
        EmptyImage: fewer than two rows or columns of it are visible.
        ImageError: it is not a PIL image.
    """
    import cv2  # 0.1 s and a native library: only who prepares pictures pays for it

    if not isinstance(image, Image.Image):
        raise ImageError(f"a PIL image is needed, got {type(image).__name__}")
    composed = on_white(recentre(np.asarray(image.convert("RGBA")), border_ratio))
    resized = cv2.resize(composed, (side_px, side_px), interpolation=cv2.INTER_CUBIC)
    pixels = torch.from_numpy(resized).permute(2, 0, 1)[None].float()
    return pixels / 255 * 2 - 1


def prepare_views(
    views: Mapping[str, Image.Image], side_px: int, border_ratio: float
) -> tuple[Float[Tensor, "1 views 3 side side"], tuple[int, ...]]:
    """Several named views of one object, prepared, in ascending view index; and those indices.

    Raises:
        ImageError: no view, or a name outside front, left, back, right.
    """
    unknown = sorted(set(views) - set(VIEW_INDEX))
    if unknown or not views:
        raise ImageError(f"views are named front, left, back, right; got {sorted(views)}")
    names = sorted(views, key=VIEW_INDEX.__getitem__)
    pixels = torch.stack([prepare_image(views[name], side_px, border_ratio) for name in names], dim=1)
    return pixels, tuple(VIEW_INDEX[name] for name in names)


def recentre(rgba: UInt8[Array, "height width 4"], border_ratio: float) -> UInt8[Array, "side side 4"]:
    """The visible part, its longer side at 1 - `border_ratio` of a transparent square.

    Raises:
        EmptyImage: nothing is visible, or it is thinner than two pixels before or one after scaling.
    """
    import cv2

    crop = _visible_part(rgba)
    side = max(rgba.shape[:2])
    scale = int(side * (1 - border_ratio)) / max(crop.shape[:2])
    height, width = int(crop.shape[0] * scale), int(crop.shape[1] * scale)
    if height == 0 or width == 0:
        raise EmptyImage(f"what is visible is too thin: {crop.shape[1]} x {crop.shape[0]} px")
    resized = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA)
    canvas = np.zeros((side, side, 4), dtype=np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    canvas[top : top + height, left : left + width] = resized
    return canvas


def on_white(rgba: UInt8[Array, "height width 4"]) -> UInt8[Array, "height width 3"]:
    """The picture composed on white; truncated to uint8, not rounded (trained so)."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    white = np.float32(255)
    composed = rgba[..., :3].astype(np.float32) * alpha + white * (1 - alpha)
    return composed.clip(0, 255).astype(np.uint8)


def _visible_part(rgba: UInt8[Array, "height width 4"]) -> UInt8[Array, "rows columns 4"]:
    """The box of non-zero alpha without its last row and column (trained so)."""
    rows = np.flatnonzero(rgba[..., 3].any(axis=1))
    columns = np.flatnonzero(rgba[..., 3].any(axis=0))
    if len(rows) == 0:
        raise EmptyImage("the picture is fully transparent")
    crop = rgba[rows[0] : rows[-1], columns[0] : columns[-1]]
    if crop.size == 0:
        raise EmptyImage("fewer than two rows or columns of the picture are visible")
    return np.ascontiguousarray(crop)


def fill_own_frame(image: Image.Image, share: float) -> UInt8[Tensor, "1 3 side side"]:
    """The visible part on a white square as wide as the picture's longer side (Step1X-3D).

    It fills `share` of the picture in the picture's own aspect, and lies in its middle. All in 8 bits.

    Raises:
        EmptyImage: the picture is fully transparent.
        ImageError: it is not a PIL image.
    """
    rgba = _rgba(image)
    width, height = rgba.size
    left, upper, right, lower = _alpha_box(rgba)
    # In this order of operations: the product decides what is truncated.
    scale = min((height * share) / (lower - upper), (width * share) / (right - left))
    size = (max(1, int((right - left) * scale)), max(1, int((lower - upper) * scale)))
    visible = Image.fromarray(_compose_rounded(np.asarray(rgba))).crop((left, upper, right, lower))
    side = max(width, height)
    canvas = Image.new("RGB", (side, side), "white")
    # Twice, as each halving truncates: in the middle of the picture, and that in the middle of the square.
    place = [
        _middle(side, outer) + _middle(outer, inner) for outer, inner in zip(rgba.size, size, strict=True)
    ]
    canvas.paste(visible.resize(size, Image.Resampling.BICUBIC), (place[0], place[1]))
    return _channels_first(np.array(canvas))


def pad_square(
    image: Image.Image, border_share: float, max_side_px: int
) -> UInt8[Tensor, "1 3 height width"]:
    """The visible part on white, made square up to a pixel, with a border of its longer side's share (TripoSG).

    A picture longer than `max_side_px` is shrunk to that first.

    Raises:
        EmptyImage: the picture is fully transparent.
        ImageError: it is not a PIL image.
    """
    rgba = np.asarray(_shrunk(_rgba(image), max_side_px))
    left, upper, right, lower = _alpha_box(Image.fromarray(rgba))
    alpha = rgba[..., 3:].astype(np.float32) / 255
    composed = rgba[..., :3].astype(np.float32) / 255 * alpha + (1 - alpha)
    crop = composed[upper:lower, left:right]
    height, width = crop.shape[:2]
    border = int(border_share * max(height, width))
    rows, columns = border, border
    if width > height:
        rows = int(border + (width - height) / 2)
    else:
        columns = int(border + (height - width) / 2)
    padded = np.pad(crop, ((rows, rows), (columns, columns), (0, 0)), constant_values=1)
    return _channels_first((padded * 255).astype(np.uint8))


def _rgba(image: Image.Image) -> Image.Image:
    if not isinstance(image, Image.Image):
        raise ImageError(f"a PIL image is needed, got {type(image).__name__}")
    return image.convert("RGBA")


def _alpha_box(rgba: Image.Image) -> tuple[int, int, int, int]:
    """The box of non-zero alpha: left, upper, right, lower, the latter two exclusive."""
    box = rgba.getchannel("A").getbbox()
    if box is None:
        raise EmptyImage("the picture is fully transparent")
    return box


def _compose_rounded(rgba: UInt8[Array, "height width 4"]) -> UInt8[Array, "height width 3"]:
    """The picture composed on white, rounded to whole values."""
    alpha = rgba[..., 3:].astype(np.int32)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _shrunk(rgba: Image.Image, max_side_px: int) -> Image.Image:
    import cv2

    longer = max(rgba.size)
    if longer <= max_side_px:
        return rgba
    width, height = (max(1, int(side * max_side_px / longer)) for side in rgba.size)
    return Image.fromarray(cv2.resize(np.asarray(rgba), (width, height), interpolation=cv2.INTER_AREA))


def _middle(outer: int, inner: int) -> int:
    return (outer - inner) // 2


def _channels_first(rgb: UInt8[Array, "height width 3"]) -> UInt8[Tensor, "1 3 height width"]:
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None]
