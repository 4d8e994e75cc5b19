"""A caller's picture file to pixels: limits first, decoding after. Knows no background and no model.

What comes out is 8 bit RGB or RGBA, upright, of a working size, the first frame alone, and without
anything else the file carried.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ai_engine.errors import ImageTooLarge, UnreadableImage
from ai_engine.images.formats import NO_PICTURE, picture_format

MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 16
WORKING_SIDE_PX = 2048
"""Longer sides are scaled down to this: the networks look at 320 to 1024 pixels."""
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_picture(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """The pixels of the file as `RGB`, or as `RGBA` where it has transparency; long side 2048 px at most.

    Raises:
        UnreadableImage: not a picture, damaged, or smaller than 16 px.
        ImageTooLarge: more than `max_pixels`.
    """
    kind = picture_format(data)
    if kind is None:
        raise UnreadableImage(NO_PICTURE)
    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as image:
            _check_size(*image.size, max_pixels)
            return _pixels(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(_over_limit(max_pixels)) from error
    except (UnreadableImage, ImageTooLarge):
        raise
    except Exception as error:  # Decoders of damaged files raise whatever they stumble over.
        raise UnreadableImage(f"The {kind} file is damaged.") from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(f"The picture has {width} x {height} pixels. {_over_limit(max_pixels)}")
    if min(width, height) < MIN_SIDE_PX:
        raise UnreadableImage(
            f"The picture has {width} x {height} pixels; each side needs at least {MIN_SIDE_PX}."
        )


def _over_limit(max_pixels: int) -> str:
    return f"More than {max_pixels / 1e6:g} million pixels are not accepted."


def _pixels(image: Image.Image) -> Image.Image:
    # JPEG decodes straight to a smaller size where that is still large enough; others take no notice.
    image.draft(None, (WORKING_SIDE_PX, WORKING_SIDE_PX))
    turn = _UPRIGHT.get(_orientation(image))
    pixels = _eight_bit(image)
    pixels.thumbnail((WORKING_SIDE_PX, WORKING_SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    upright = pixels.copy() if turn is None else pixels.transpose(turn)
    upright.info.clear()
    return upright


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # A damaged EXIF block is no reason to refuse the pixels.
        return 1


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        high_bytes = (np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)
        return Image.fromarray(high_bytes).convert("RGB")
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    mode = "RGBA" if has_alpha else "RGB"
    if image.mode != mode or "transparency" in image.info:
        return image.convert(mode)
    image.load()
    return image  # At the pixel limit a copy would cost 256 MB.
