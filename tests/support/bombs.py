"""Picture files of up to 20 MB that are made to cost as much as they can, one or more for each way in."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

MOST_BYTES = 20_000_000
"""IMAGE_MAX_BYTES as it comes."""
SIDE_PX = 8000
"""Of IMAGE_MAX_PIXELS."""
_EOB_RUN_BLOCKS = 32767


def progressive_jpeg(*, num_scans: int, side_px: int) -> bytes:
    """A grey progressive JPEG whose scans each visit every block and hold some hundred bytes (T.81, G.1.2)."""
    num_blocks = (-(-side_px // 8)) ** 2
    one_code = bytes([1] + [0] * 15)
    head = [
        _segment(0xDB, b"\0" + b"\1" * 64),
        _segment(0xC2, struct.pack(">BHHBBBB", 8, side_px, side_px, 1, 1, 0x11, 0)),
        _segment(0xC4, b"\x00" + one_code + b"\x00"),
        _segment(0xC4, b"\x10" + one_code + b"\xe0"),
        _segment(0xDA, bytes([1, 1, 0, 0, 0, 0])) + bytes(num_blocks // 8) + b"\x7f",
    ]
    bits = ("0" + "1" * 14) * (num_blocks // _EOB_RUN_BLOCKS + 1)
    padded = bits + "1" * (-len(bits) % 8)
    data = int(padded, 2).to_bytes(len(padded) // 8).replace(b"\xff", b"\xff\0")
    scan = _segment(0xDA, bytes([1, 1, 0, 1, 63, 0])) + data
    return b"\xff\xd8" + b"".join(head) + scan * (num_scans - 1) + b"\xff\xd9"


def exif_jpeg(num_bytes: int = MOST_BYTES) -> bytes:
    """A JPEG of 64 x 64 pixels behind EXIF segments."""
    plain = _saved(Image.new("RGB", (64, 64), "red"), "JPEG")
    block = _segment(0xE1, b"Exif\0\0" + bytes(65_000))
    return plain[:2] + block * (num_bytes // len(block)) + plain[2:]


def noise_jpeg() -> bytes:
    """A JPEG of all the pixels there may be, and nearly all the bytes."""
    noise = np.random.default_rng(0).integers(0, 255, (SIDE_PX // 4, SIDE_PX // 4, 3), np.uint8)
    return _saved(Image.fromarray(noise.repeat(4, 0).repeat(4, 1)), "JPEG", quality=20)


def png_of(*, bits: int = 8, side_px: int = SIDE_PX) -> bytes:
    """A PNG of as many pixels, all the same."""
    row = b"\0" + b"\xff" * (side_px * 4 * bits // 8)
    packer = zlib.compressobj(1)
    pixels = b"".join(packer.compress(row) for _ in range(side_px)) + packer.flush()
    return _png(side_px, side_px, bits, [pixels])


def png_of_chunks(num_bytes: int = MOST_BYTES) -> bytes:
    """A PNG of 64 x 64 pixels whose data is in one chunk, behind empty ones."""
    pixels = zlib.compress((b"\0" + bytes(64 * 4)) * 64)
    return _png(64, 64, 8, [pixels, *[b""] * ((num_bytes - 1000) // 12)])


def webp_of_chunks(num_bytes: int = MOST_BYTES) -> bytes:
    """A WebP of 64 x 64 pixels behind empty chunks of a name that counts."""
    plain = _saved(Image.new("RGB", (64, 64), "red"), "WEBP")
    return plain + b"ALPH\0\0\0\0" * ((num_bytes - len(plain)) // 8)


def animated_webp() -> bytes:
    """142 bytes that announce an animation on a canvas of nearly all the pixels there may be."""
    frame = _saved(Image.new("RGB", (16, 16), "red"), "WEBP", lossless=True)[12:]
    canvas = (
        bytes([0x02, 0, 0, 0]) + (SIDE_PX - 11).to_bytes(3, "little") + (SIDE_PX - 1).to_bytes(3, "little")
    )
    sides = (15).to_bytes(3, "little") * 2
    anmf = bytes(6) + sides + bytes(4) + frame
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
        for name, body in ((b"VP8X", canvas), (b"ANIM", bytes(6)), (b"ANMF", anmf), (b"ANMF", anmf))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def webp_of(side_px: int = SIDE_PX) -> bytes:
    """A WebP of all the pixels there may be."""
    return _saved(Image.new("RGB", (side_px, side_px), "white"), "WEBP", quality=1, method=0)


def avif_of(side_px: int = SIDE_PX) -> bytes:
    """An AVIF of all the pixels there may be."""
    return _saved(Image.new("RGB", (side_px, side_px), "white"), "AVIF", quality=10, speed=10)


def avif_of_boxes(num_bytes: int = MOST_BYTES) -> bytes:
    """An AVIF behind empty boxes."""
    plain = _saved(Image.new("RGB", (64, 64), "red"), "AVIF")
    ends = int.from_bytes(plain[:4])
    return plain[:ends] + b"\0\0\0\x08free" * ((num_bytes - len(plain)) // 8) + plain[ends:]


def _not_read(kind: str) -> Callable[[], bytes]:
    """20 MB of a format that is not read, which begin as its files do."""
    return lambda: _saved(Image.new("P", (16, 16)), kind).ljust(MOST_BYTES, b"\0")


BOMBS: dict[str, Callable[[], bytes]] = {
    "JPEG, 64 Mpx in 17 scans": lambda: progressive_jpeg(num_scans=17, side_px=SIDE_PX),
    "JPEG, 64 Mpx in 200,000 scans": lambda: progressive_jpeg(num_scans=200_000, side_px=SIDE_PX),
    "JPEG, 20 MB of EXIF": exif_jpeg,
    "JPEG, 64 Mpx of noise": noise_jpeg,
    "PNG, 64 Mpx": png_of,
    "PNG, 64 Mpx of 16 bits": lambda: png_of(bits=16),
    "PNG, 20 MB of empty chunks": png_of_chunks,
    "WebP, 64 Mpx": webp_of,
    "WebP, 142 bytes of animation": animated_webp,
    "WebP, 20 MB of empty chunks": webp_of_chunks,
    "AVIF, 64 Mpx": avif_of,
    "AVIF, 20 MB of empty boxes": avif_of_boxes,
    "GIF, 20 MB": _not_read("GIF"),
    "BMP, 20 MB": _not_read("BMP"),
    "TIFF, 20 MB": _not_read("TIFF"),
}


def _png(width: int, height: int, bits: int, pixels: list[bytes]) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, 6, 0, 0, 0)
    chunks = [(b"IHDR", head), *((b"IDAT", body) for body in pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2) + body


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
