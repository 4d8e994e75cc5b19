"""Pictures that are small as files and huge as pixels: what reading them costs a process, seen from outside.

Each is read by a process of its own, as a worker reads it; its peak is compared with that of a small picture.
"""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from support.peak_memory import CAN_BE_MEASURED

ROOT = Path(__file__).resolve().parents[4]
READ_AND_MEASURE = """
import sys
from pathlib import Path
from ai_engine.errors import JobError
from ai_engine.images.image_file import read_picture
from tests.support.peak_memory import peak_kb

def read(path):
    try:
        read_picture(Path(path).read_bytes(), max_pixels=64_000_000)
        return "read"
    except JobError as error:
        return error.code

assert read(sys.argv[1]) == "read"
before = peak_kb()
print(read(sys.argv[2]), peak_kb() - before)
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, bits: int = 8, colour: int = 6) -> bytes:
    """A PNG whose pixels are all the same, and of next to no size."""
    channels = {0: 1, 2: 3, 6: 4}[colour]
    row = b"\0" + b"\xff" * (width * channels * bits // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + b"".join(more)
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def lying(width: int, height: int) -> bytes:
    """A PNG that claims more pixels than it has."""
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def text_bomb() -> bytes:
    """A small picture with a comment that unpacks to 200 MB."""
    return png(64, 64, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 200_000_000)))


def profile_bomb() -> bytes:
    """A small picture whose colour profile unpacks to 200 MB."""
    return png(64, 64, chunk(b"iCCP", b"p\0\0" + zlib.compress(b"a" * 200_000_000)))


def large_and_linear() -> bytes:
    """A picture of 64 Mpx whose gamma is undone."""
    return png(8000, 8000, chunk(b"gAMA", struct.pack(">I", 100_000)))


def film() -> bytes:
    """20 frames of 4 megapixels."""
    frames = [Image.new("RGB", (2000, 2000), (n * 100, 0, 0)) for n in range(2)] * 10
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], quality=1, method=0)
    return file.getvalue()


def avif(width: int, height: int) -> bytes:
    """A white AVIF of some thousand bytes."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(file, "AVIF", quality=10, speed=10)
    return file.getvalue()


def avif_film() -> bytes:
    """20 frames of 4 megapixels, as AVIF."""
    frames = [Image.new("RGB", (2000, 2000), (n * 100, 0, 0)) for n in range(2)] * 10
    file = io.BytesIO()
    frames[0].save(file, "AVIF", save_all=True, append_images=frames[1:], quality=1, speed=10)
    return file.getvalue()


@pytest.mark.skipif(not CAN_BE_MEASURED, reason="this system does not tell what a process held")
@pytest.mark.parametrize(
    ("make", "outcomes", "most_mb"),
    [
        (lambda: lying(60_000, 60_000), {"image_too_large"}, 20),
        (lambda: lying(2**31 - 1, 2**31 - 1), {"image_too_large", "image_invalid"}, 20),
        (lambda: lying(64_000, 1000), {"image_invalid"}, 330),
        (lambda: png(30_000, 3000), {"image_too_large"}, 20),
        (lambda: png(8000, 8000), {"read"}, 700),
        pytest.param(lambda: png(8000, 8000, bits=16), {"read"}, 700, marks=pytest.mark.slow),
        (large_and_linear, {"read"}, 700),
        (text_bomb, {"read", "image_invalid", "image_too_large"}, 80),
        (profile_bomb, {"read", "image_invalid", "image_too_large"}, 80),
        (film, {"read"}, 120),
        (lambda: avif(9000, 9000), {"image_too_large"}, 20),
        pytest.param(lambda: avif(7990, 8000), {"read"}, 700, marks=pytest.mark.slow),
        (avif_film, {"read"}, 120),
    ],
    ids=[
        "claims 3.6 Gpx",
        "claims all there are",
        "claims 64 Mpx",
        "has 90 Mpx",
        "has 64 Mpx",
        "has 64 Mpx of 16 bits",
        "has 64 Mpx and a gamma",
        "comment",
        "colour profile",
        "film",
        "AVIF of 81 Mpx",
        "AVIF of 64 Mpx",
        "AVIF film",
    ],
)
def test_a_picture_costs_no_more_memory_than_its_limits_allow(
    tmp_path: Path, make: Callable[[], bytes], outcomes: set[str], most_mb: int
) -> None:
    small, bomb = tmp_path / "small.png", tmp_path / "bomb"
    small.write_bytes(png(64, 64))
    bomb.write_bytes(make())
    assert bomb.stat().st_size < 20_000_000, "else it is refused by its size"

    done = subprocess.run(
        [sys.executable, "-c", READ_AND_MEASURE, str(small), str(bomb)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    outcome, grown_kb = done.stdout.split()
    assert outcome in outcomes
    assert int(grown_kb) < most_mb * 1000
