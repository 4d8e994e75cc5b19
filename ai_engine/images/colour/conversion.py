"""Pixels to sRGB by littleCMS. A profile that it can not use changes nothing."""

from __future__ import annotations

import contextlib
import functools
import io

from PIL import Image, ImageCms

from ai_engine.images.colour.code_points import SRGB, srgb_light
from ai_engine.images.colour.icc_profile import build_profile, levels, space_of

_NUM_SRGB_SAMPLES = 4096
"""Of the curve that is inverted."""


def to_srgb(pixels: Image.Image, profile: bytes) -> Image.Image:
    """Pixels as `RGB` or `RGBA` in sRGB, their alpha as it was; those of no or of an unsound profile as they are.

    `pixels` is `RGB`, `RGBA` or `CMYK`. The perceptual table of a profile comes before its matrix, and black is not
    scaled, as in browsers. One for grey holds for the red channel.
    """
    space = space_of(profile)
    if (space == "CMYK") == (pixels.mode == "CMYK") and space is not None:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):  # Damaged behind its directory.
            return _with_alpha_of(pixels, _convert(_samples(pixels, space), profile))
    return pixels.convert("RGB") if pixels.mode == "CMYK" else pixels


def _samples(pixels: Image.Image, space: str) -> Image.Image:
    if space == "L":
        return pixels.getchannel("R")
    return pixels if pixels.mode == space else pixels.convert(space)


def _convert(source: Image.Image, profile: bytes) -> Image.Image:
    transform = ImageCms.buildTransform(
        io.BytesIO(profile[:12] + b"mntr" + profile[16:]),  # Its class, which decides nothing in browsers.
        io.BytesIO(_srgb()),
        source.mode,
        "RGB",
        ImageCms.Intent.PERCEPTUAL,
        # What littleCMS makes of a grey curve at 8 bits is off by ten levels where it is dark.
        ImageCms.Flags.NOOPTIMIZE if source.mode == "L" else ImageCms.Flags.HIGHRESPRECALC,
    )
    found = transform.apply(source)
    assert found is not None
    return found


def _with_alpha_of(pixels: Image.Image, colours: Image.Image) -> Image.Image:
    if pixels.mode == "RGBA":
        colours.putalpha(pixels.getchannel("A"))
    return colours


@functools.cache
def _srgb() -> bytes:
    profile = build_profile(SRGB, srgb_light(levels(_NUM_SRGB_SAMPLES)))
    assert profile is not None
    return profile
