"""A caller's picture file to pixels: limits first, decoding after. Knows no background and no model.

What comes out is 8 bit RGB or RGBA in sRGB, upright, of a working size, the first frame alone, and without
anything else the file carried.
"""

from __future__ import annotations

import contextlib
import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ai_engine.errors import ImageTooLarge, MaskUnusable, UnreadableImage
from ai_engine.images import avif_boxes, jpeg_segments, png_chunks, webp_chunks
from ai_engine.images.colour.conversion import to_srgb
from ai_engine.images.colour.icc_profile import usable
from ai_engine.images.formats import MAX_MISSING_SHARE, Still, picture_format, refusal

MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 16
WORKING_SIDE_PX = 2048
"""Longer sides are scaled down to this: the networks look at 320 to 1024 pixels."""
MAX_ASPECT_ERROR = 0.01
"""Between a mask and its picture; programs round when they scale."""
MIN_MASK_OPACITY = 128
"""A mask without a pixel of at least this shows no object."""
_EXIF_ORIENTATION = 0x0112
_PNG_DEPTH_BYTE = 24
"""Bits a sample, in the header that the walk puts first."""
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
        raise UnreadableImage(refusal(data))
    try:
        still = _still(data, kind)
        if still is not None:
            _check_size(*still.canvas_px, max_pixels)
        else:
            _check_size(*avif_boxes.largest_px(data), max_pixels)
        return _decode(data, kind, still, max_pixels)
    except (jpeg_segments.TooManyScans, avif_boxes.TooManyBoxes) as error:
        raise ImageTooLarge(f"The {kind} file costs too much to decode: {error}.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge(_over_limit(max_pixels)) from error
    except (UnreadableImage, ImageTooLarge):
        raise
    except Exception as error:  # Decoders of damaged files raise whatever they stumble over.
        raise UnreadableImage(f"The {kind} file is damaged.") from error


def read_mask(data: bytes, size: tuple[int, int], *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The opacity [height, width] that a mask file gives a picture of `size` (width, height).

    Its alpha channel where that is not opaque all over, else its brightness: white is the object. A mask of another
    size is scaled.

    Raises:
        UnreadableImage, ImageTooLarge: as `read_picture`.
        MaskUnusable: it has another aspect than the picture, or shows nothing.
    """
    try:
        mask = read_picture(data, max_pixels=max_pixels)
    except (UnreadableImage, ImageTooLarge) as error:
        raise type(error)(f"The mask: {error.detail}") from error
    _check_aspect(mask.size, size)
    is_cut_out = mask.mode == "RGBA" and mask.getchannel("A").getextrema() != (255, 255)
    opacity = mask.getchannel("A") if is_cut_out else mask.convert("L")
    if opacity.size != size:
        opacity = opacity.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(opacity)
    if pixels.max() < MIN_MASK_OPACITY:
        raise MaskUnusable("The mask shows nothing: what is white in it, or opaque, is the object.")
    return pixels


def _check_aspect(mask: tuple[int, int], picture: tuple[int, int]) -> None:
    """Raises MaskUnusable unless the mask, scaled to the picture's height, has its width, but for rounding."""
    wanted_px = picture[0] * mask[1] / picture[1]
    if abs(mask[0] - wanted_px) > max(1.0, MAX_ASPECT_ERROR * wanted_px):
        shapes = f"{mask[0]} x {mask[1]} and the picture {picture[0]} x {picture[1]}"
        raise MaskUnusable(f"The mask has {shapes} pixels: their sides must be in the same proportion.")


def _still(data: bytes, kind: str) -> Still | None:
    """What of the file its pixels need; None for AVIF, whose decoder gets the whole file."""
    walks = {"PNG": png_chunks, "JPEG": jpeg_segments, "WEBP": webp_chunks}
    return walks[kind].pixels_only(data) if kind in walks else None


def _decode(data: bytes, kind: str, still: Still | None, max_pixels: int) -> Image.Image:
    """The pixels; those of a PNG whose packed rows are damaged or cut short once more, with the rows that it has."""
    if still is None:
        return _open(avif_boxes.without_exif(data), kind, None, max_pixels)
    if kind != "PNG":
        return _open(still.data, kind, still, max_pixels)
    with contextlib.suppress(OSError):
        return _open(still.data, kind, still, max_pixels)
    return _open(png_chunks.complete(still.data), kind, still, max_pixels)


def _open(file: bytes, kind: str, still: Still | None, max_pixels: int) -> Image.Image:
    with Image.open(io.BytesIO(file), formats=[kind]) as image:
        _check_size(*image.size, max_pixels)
        embedded = usable(image.info.get("icc_profile", b""), num_channels=1)  # Grey AVIFs come as RGB.
        profile = still.profile if still is not None else embedded or avif_boxes.profile_of_codes(file)
        return _upright(_draw_canvas(image, still, profile), image, still)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageTooLarge(f"The picture has {width} x {height} pixels. {_over_limit(max_pixels)}")
    if min(width, height) < MIN_SIDE_PX:
        raise UnreadableImage(
            f"The picture has {width} x {height} pixels; each side needs at least {MIN_SIDE_PX}."
        )


def _over_limit(max_pixels: int) -> str:
    return f"More than {max_pixels / 1e6:g} million pixels are not accepted."


def _draw_canvas(image: Image.Image, still: Still | None, profile: bytes) -> Image.Image:
    """The canvas in sRGB, of working size, as it lies in the file."""
    # JPEG decodes straight to a smaller size where that is still large enough; others take no notice.
    image.draft(None, (WORKING_SIDE_PX, WORKING_SIDE_PX))
    pixels = _eight_bit(image, still)
    if still is not None and not still.fills_canvas:
        pixels = _on_canvas(pixels, still)
    if image.format == "JPEG" and still is not None and still.is_cut_short:
        _check_nearly_whole(pixels)
    pixels.thumbnail((WORKING_SIDE_PX, WORKING_SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
    return to_srgb(pixels, profile)


def _upright(pixels: Image.Image, image: Image.Image, still: Still | None) -> Image.Image:
    turn = _UPRIGHT.get(_avif_orientation(image) if still is None else still.orientation)
    upright = pixels.copy() if turn is None else pixels.transpose(turn)
    upright.info.clear()
    return upright


def _on_canvas(frame: Image.Image, still: Still) -> Image.Image:
    canvas = Image.new("RGBA", still.canvas_px)
    canvas.paste(frame, still.offset_px)
    return canvas


def _check_nearly_whole(pixels: Image.Image) -> None:
    """Raises UnreadableImage if the lowest tenth of a JPEG that is cut short was never coded.

    libjpeg leaves the coefficients of missing blocks at zero: they come out as the middle grey, 128.
    """
    num_rows = max(2, int(pixels.height * MAX_MISSING_SHARE))
    lowest = np.asarray(pixels.crop((0, pixels.height - num_rows, *pixels.size)).convert("L"))
    if lowest.min() >= 126 and lowest.max() <= 130:
        raise UnreadableImage("The JPEG file is damaged: its end is missing.")


def _avif_orientation(image: Image.Image) -> int:
    """What the file's rotation and mirror boxes say, which Pillow shows as EXIF's."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # A damaged EXIF block is no reason to refuse the pixels.
        return 1


def _eight_bit(image: Image.Image, still: Still | None) -> Image.Image:
    if still is not None and isinstance(image.info.get("transparency"), int | tuple):
        depth = still.data[_PNG_DEPTH_BYTE]
        is_deep_colour = depth == 16 and isinstance(image.info["transparency"], tuple)
        return _deep_colour(still.data) if is_deep_colour else _with_clear_colour(image, depth=depth)
    if image.mode.startswith("I"):
        return _high_bytes(image).convert("RGB")
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    mode = "RGBA" if has_alpha else "RGB"
    if image.mode == "CMYK":
        mode = image.mode  # Until its profile is applied.
    if image.mode != mode or "transparency" in image.info:
        return image.convert(mode)
    image.load()
    return image  # At the pixel limit a copy would cost 256 MB.


def _deep_colour(png: bytes) -> Image.Image:
    """RGBA of a PNG with 16 bits a sample and one clear colour, of which Pillow keeps the high bytes alone."""
    blue_first = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if blue_first is None:
        raise UnreadableImage("The PNG file is damaged.")
    return Image.fromarray(cv2.cvtColor((blue_first >> 8).astype(np.uint8), cv2.COLOR_BGRA2RGBA))


def _high_bytes(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))


def _with_clear_colour(image: Image.Image, *, depth: int) -> Image.Image:
    """RGBA of a PNG whose tRNS names one colour in samples of the file's own depth (PNG 11.3.1.1)."""
    clear = image.info["transparency"]
    if image.mode in ("P", "RGB"):
        return image.convert("RGBA")
    if image.mode.startswith("I"):
        alpha = np.where(np.asarray(image) == clear, 0, 255).astype(np.uint8)
        pixels = _high_bytes(image).convert("RGBA")
        pixels.putalpha(Image.fromarray(alpha))
        return pixels
    scale = 255 // (2**depth - 1) if image.mode == "L" and depth < 8 else 1
    grey = image.convert("L", dither=Image.Dither.NONE)
    grey.info["transparency"] = clear * scale
    return grey.convert("RGBA")
