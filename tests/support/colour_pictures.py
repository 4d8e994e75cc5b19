"""Six patches as files of every kind that says what its values mean: profiles, gamma, code points, and none."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

PROFILES = Path(__file__).parents[1] / "unit" / "ai_engine" / "images" / "colour" / "profiles"
ADOBE_RGB = (PROFILES / "compatibleWithAdobeRGB1998.icc").read_bytes()
LINEAR_GREY = (PROFILES / "Gray.icc").read_bytes()
PATCHES = np.array(
    [[200, 40, 40], [40, 200, 40], [40, 40, 200], [200, 150, 120], [30, 30, 30], [128, 128, 128]], np.uint8
)
PATCH_PX = 16
P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
"""Chromaticities of white, red, green and blue of Display P3."""
SRGB_CHUNK_BODY = b"\0"


def picture(mode: str = "RGB") -> Image.Image:
    """The patches in a row."""
    pixels = PATCHES[None].repeat(PATCH_PX, 0).repeat(PATCH_PX, 1)
    return Image.fromarray(pixels).convert(mode)


def patches_of(image: Image.Image) -> NDArray[np.int64]:
    """The middle of each patch [6, 3]."""
    pixels = np.asarray(image.convert("RGB")).astype(np.int64)
    return pixels[PATCH_PX // 2, PATCH_PX // 2 :: PATCH_PX]


def file_of(image: Image.Image, kind: str, **options: object) -> bytes:
    """The picture as a file, with little or no loss."""
    lossless: dict[str, dict[str, object]] = {
        "JPEG": {"quality": 100, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }
    file = io.BytesIO()
    image.save(file, kind, **(lossless.get(kind, {}) | options))
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def gamma(value: float) -> bytes:
    """A gAMA chunk."""
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def chromaticities(values: tuple[float, ...] = P3) -> bytes:
    """A cHRM chunk."""
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in values)))


def code_points(primaries: int, transfer: int) -> bytes:
    """A cICP chunk of RGB samples of full range."""
    return chunk(b"cICP", bytes([primaries, transfer, 0, 1]))


def profile(data: bytes) -> bytes:
    """An iCCP chunk."""
    return chunk(b"iCCP", b"name\0\0" + zlib.compress(data))


def png(*chunks: bytes, mode: str = "RGB") -> bytes:
    """The patches with chunks before the pixels; mode `I;16` is grey of 16 bits a sample."""
    if mode == "I;16":
        image = Image.fromarray(np.asarray(picture("L")).astype(np.uint16) * 257)
    else:
        image = picture().quantize(16) if mode == "P" else picture(mode)
    whole = file_of(image, "PNG")
    return whole[:33] + b"".join(chunks) + whole[33:]


def press_profile() -> bytes:
    """A CMYK profile whose table has two points an ink: each takes its part of L*, a* and b* of paper."""
    inks = np.array([[38, -30, -40], [45, 65, -5], [8, -5, 80], [80, 0, 0]])
    nodes = np.stack(np.meshgrid(*4 * [[0, 1]], indexing="ij"), -1).reshape(-1, 4)
    lightness, a, b = ((95, 0, -2) + nodes @ (inks * (-1, 1, 1))).T
    table = np.stack([lightness.clip(4, 100) * 2.55, a.clip(-90, 90) + 128, b.clip(-90, 90) + 128], -1)
    identity = np.round(np.eye(3) * 65536).astype(">i4").tobytes()
    steps = bytes(range(256))
    body = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + 4 * steps
    body += np.round(table).astype(np.uint8).tobytes() + 3 * steps
    white = b"XYZ " + bytes(4) + np.round(np.array([0.9642, 1, 0.8249]) * 65536).astype(">i4").tobytes()
    return profile_file({b"wtpt": white, b"A2B0": body}, space=b"CMYK", connection=b"Lab ")


def profile_file(tags: dict[bytes, bytes], *, space: bytes, connection: bytes) -> bytes:
    """An ICC profile (version 2) of an output device."""
    place, directory, bodies = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        directory += name + struct.pack(">II", place + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x", place + len(bodies), 0x02100000, b"prtr", space, connection, b"acsp"
    )
    illuminant = np.round(np.array([0.9642, 1, 0.8249]) * 65536).astype(">i4").tobytes()
    return (head + illuminant).ljust(128, b"\0") + directory + bodies


def avif(primaries: int, transfer: int) -> bytes:
    """The patches with code points in their colour box."""
    whole = file_of(picture(), "AVIF")
    place = whole.index(b"nclx") + 4
    return whole[:place] + struct.pack(">HH", primaries, transfer) + whole[place + 4 :]


def colour_pictures() -> dict[str, bytes]:
    """A file of each kind, by what it says about its colours."""
    return _pngs() | {
        "JPEG Adobe RGB": file_of(picture(), "JPEG", icc_profile=ADOBE_RGB),
        "JPEG Adobe RGB in pieces": file_of(picture(), "JPEG", icc_profile=ADOBE_RGB + bytes(150_000)),
        "JPEG linear grey": file_of(picture("L"), "JPEG", icc_profile=LINEAR_GREY),
        "JPEG of a press": file_of(picture("CMYK"), "JPEG", icc_profile=press_profile()),
        "JPEG of inks": file_of(picture("CMYK"), "JPEG"),
        "JPEG of inks, profile of RGB": file_of(picture("CMYK"), "JPEG", icc_profile=ADOBE_RGB),
        "WebP Adobe RGB": file_of(picture(), "WEBP", icc_profile=ADOBE_RGB),
        "AVIF Adobe RGB": file_of(picture(), "AVIF", icc_profile=ADOBE_RGB),
        "AVIF Display P3": avif(12, 13),
        "AVIF of a camera's curve": avif(1, 1),
        "AVIF unspecified": avif(2, 2),
        "AVIF linear": avif(2, 8),
        "AVIF HLG of Display P3": avif(12, 18),
    }


def _pngs() -> dict[str, bytes]:
    srgb = chunk(b"sRGB", SRGB_CHUNK_BODY)
    return {
        "linear": png(gamma(1)),
        "linear grey": png(gamma(1), mode="L"),
        "linear palette": png(gamma(1), mode="P"),
        "linear grey of 16 bits": png(gamma(1), mode="I;16"),
        "linear with alpha": png(gamma(1), mode="RGBA"),
        "dark": png(gamma(0.3)),
        "gamma of sRGB": png(gamma(0.45455)),
        "gamma and Display P3": png(gamma(0.45455), chromaticities()),
        "Display P3 without gamma": png(chromaticities()),
        "no gamma": png(gamma(0)),
        "chromaticities of no colours": png(gamma(1), chromaticities((0.3,) * 8)),
        "sRGB before gamma": png(gamma(1), srgb),
        "profile before sRGB": png(srgb, profile(ADOBE_RGB)),
        "code points before a profile": png(profile(ADOBE_RGB), code_points(12, 13)),
        "BT.2020": png(code_points(9, 13)),
        "linear code points": png(code_points(1, 8)),
        "PQ of BT.2020": png(code_points(9, 16)),
        "HLG of BT.2020": png(code_points(9, 18)),
        "PQ of BT.709": png(code_points(1, 16)),
        "unspecified code points, gamma": png(code_points(2, 2), gamma(1)),
        "damaged profile, gamma": png(profile(b"x" * 300), gamma(1)),
        "profile of grey for colours": png(profile(LINEAR_GREY)),
        "profile of grey": png(profile(LINEAR_GREY), mode="L"),
        "profile of colours for grey": png(profile(ADOBE_RGB), mode="L"),
        "profile with alpha": png(profile(ADOBE_RGB), mode="RGBA"),
    }
