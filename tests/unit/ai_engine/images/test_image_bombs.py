"""What a file of up to 20 MB may cost: memory, and pixels times scans. Seconds are in benchmarks/bombs.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.bombs import (
    BOMBS,
    MOST_BYTES,
    avif_of_boxes,
    exif_jpeg,
    png_of_chunks,
    progressive_jpeg,
    webp_of_chunks,
)
from support.peak_memory import CAN_BE_MEASURED

from ai_engine.errors import ImageTooLarge
from ai_engine.images.image_file import read_picture
from ai_engine.images.jpeg_segments import MAX_SCANNED_PIXELS, MAX_SCANS, TooManyScans, pixels_only

ROOT = Path(__file__).resolve().parents[4]
MOST_MB = 1100
"""Of any file: four copies of 64 million pixels in RGBA, as WebP's decoder holds them."""
READ_IN_TURN = """
import io, sys
from pathlib import Path
from PIL import Image
from ai_engine.errors import JobError
from ai_engine.images.image_file import read_picture
from tests.support.peak_memory import peak_kb

small = io.BytesIO()
Image.new("RGBA", (64, 64)).save(small, "PNG")
read_picture(small.getvalue())
for path in sys.argv[1:]:
    data, before, outcome = Path(path).read_bytes(), peak_kb(), "read"
    try:
        read_picture(data, max_pixels=64_000_000)
    except JobError as error:
        outcome = error.code
    print(outcome, (peak_kb() - before) // 1000)
"""


def read_in_turn(folder: Path, files: dict[str, Callable[[], bytes]]) -> dict[str, tuple[str, int]]:
    """What became of each file, and by how many MB the process grew beyond its peak before."""
    paths = []
    for number, make in enumerate(files.values()):
        paths.append(folder / str(number))
        paths[-1].write_bytes(make())
        assert paths[-1].stat().st_size <= MOST_BYTES, "else it is refused by its size"
    done = subprocess.run(
        [sys.executable, "-c", READ_IN_TURN, *map(str, paths)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    lines = (line.split() for line in done.stdout.splitlines())
    return {name: (outcome, int(mb)) for name, (outcome, mb) in zip(files, lines, strict=True)}


@pytest.mark.skipif(not CAN_BE_MEASURED, reason="this system does not tell what a process held")
def test_what_is_refused_or_has_few_pixels_takes_no_more_memory_than_its_walk(tmp_path: Path) -> None:
    files: dict[str, Callable[[], bytes]] = {
        "scans": BOMBS["JPEG, 64 Mpx in 200,000 scans"],
        "exif": exif_jpeg,
        "boxes": avif_of_boxes,
        **{kind: BOMBS[f"{kind}, 20 MB"] for kind in ("GIF", "BMP", "TIFF")},
        "WebP chunks": lambda: webp_of_chunks(2_000_000),
        "PNG chunks": lambda: png_of_chunks(2_000_000),
        "17 scans": BOMBS["JPEG, 64 Mpx in 17 scans"],
        "animation": BOMBS["WebP, 142 bytes of animation"],
    }

    found = read_in_turn(tmp_path, files)

    most = {"WebP chunks": 50, "PNG chunks": 50, "17 scans": 200, "animation": 620}
    assert {name: mb for name, (_, mb) in found.items() if mb > most.get(name, 20)} == {}
    assert {name: outcome for name, (outcome, _) in found.items()} == {
        "scans": "image_too_large",
        "exif": "read",
        "boxes": "image_too_large",
        "GIF": "image_invalid",
        "BMP": "image_invalid",
        "TIFF": "image_invalid",
        "WebP chunks": "image_invalid",
        "PNG chunks": "read",
        "17 scans": "read",
        "animation": "read",
    }


@pytest.mark.slow
@pytest.mark.skipif(not CAN_BE_MEASURED, reason="this system does not tell what a process held")
@pytest.mark.parametrize("name", BOMBS)
def test_no_file_takes_more_memory_than_the_pixels_that_are_allowed(tmp_path: Path, name: str) -> None:
    (_, mb) = read_in_turn(tmp_path, {name: BOMBS[name]})[name]

    assert mb < MOST_MB


@pytest.mark.parametrize(
    ("side_px", "num_scans"), [(8000, 18), (512, MAX_SCANS + 1), (64, 10_000), (8000, 3000)]
)
def test_scans_cost_no_more_than_their_bound_in_pixels(side_px: int, num_scans: int) -> None:
    bomb = progressive_jpeg(num_scans=num_scans, side_px=side_px)

    with pytest.raises(TooManyScans):
        pixels_only(bomb)
    with pytest.raises(ImageTooLarge, match="scans"):
        read_picture(bomb)


@pytest.mark.parametrize(("side_px", "num_scans"), [(8000, 17), (512, MAX_SCANS)])
def test_the_dearest_scans_that_are_read_are_within_it(side_px: int, num_scans: int) -> None:
    still = pixels_only(progressive_jpeg(num_scans=num_scans, side_px=side_px))

    assert still.data.count(b"\xff\xda") == num_scans
    assert side_px * side_px * num_scans <= MAX_SCANNED_PIXELS


def test_segments_beside_the_pixels_reach_no_decoder() -> None:
    assert len(pixels_only(exif_jpeg()).data) < 2000
