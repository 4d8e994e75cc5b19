"""A folder of 50 pictures with three that are none, by one command: `ai-engine generate folder/ -o meshes/`.

18 shapes held out of training drawn by its renderer, 18 by the product's mesh renderer, the three examples, and nine
photographs that come with scikit-image, as PNG, JPEG and WebP in turn. The three: a PNG cut off in the middle, text
that is called a JPEG, and a picture of nothing.

    python -m benchmarks.folder [cells a side]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import skimage.data
import torch
from PIL import Image

from ai_engine.engine.finishing import check_file
from benchmarks.measuring import Asked, Table
from benchmarks.pictures import PICTURE_PX, held_out, held_out_meshes

ROOT = Path(__file__).parents[1]
NUM_SHAPES = 18
"""Families of shapes."""
PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "astronaut", "camera", "coins", "horse", "logo", "retina")
SUFFIXES = (".png", ".jpg", ".webp")
BAD = ("cut-off.png", "text.jpg", "nothing.png")


def tables(asked: Asked) -> Iterator[Table]:
    """One row."""
    with tempfile.TemporaryDirectory() as name:
        pictures, meshes = Path(name) / "pictures", Path(name) / "meshes"
        num_good = fill(pictures)
        begun_s, load = time.monotonic(), os.getloadavg()[0]
        wishes = ["--octree-resolution", str(asked.resolution)] if asked.resolution else []
        command = [sys.executable, "main.py", "generate", str(pictures), "-o", str(meshes), *wishes]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - begun_s
        check(done, meshes, num_good)
        closed = sum(check_file(path.read_bytes()).facts().watertight for path in meshes.iterdir())
    yield Table(
        f"A folder of {num_good + len(BAD)} pictures, {len(BAD)} of them bad",
        ("exit status", "meshes", "closed", "s", "s a mesh", "load, at first and at last"),
        (
            (
                *(str(done.returncode), str(num_good), str(closed), f"{seconds:.0f}"),
                f"{seconds / num_good:.2f}",
                f"{load:.1f}, {os.getloadavg()[0]:.1f}",
            ),
        ),
        "\n".join(line for line in done.stderr.splitlines() if any(bad in line for bad in BAD)),
    )


def fill(folder: Path) -> int:
    """Puts the pictures into `folder`; the number of good ones."""
    folder.mkdir()
    good = {f"shape-{number}": image for number, image in enumerate(held_out(NUM_SHAPES))}
    good |= {f"mesh-{number}": image for number, image in enumerate(held_out_meshes(NUM_SHAPES))}
    good |= {path.stem: Image.open(path) for path in sorted((ROOT / "examples" / "pictures").glob("*.png"))}
    good |= {name: photograph(name) for name in PHOTOGRAPHS}
    for number, (name, image) in enumerate(good.items()):
        suffix = SUFFIXES[number % len(SUFFIXES)]
        flat = image.convert("RGBA" if suffix != ".jpg" else "RGB")
        flat.save(folder / f"{name}{suffix}")
    whole = (folder / "shape-0.png").read_bytes()
    (folder / BAD[0]).write_bytes(whole[: len(whole) // 2])
    (folder / BAD[1]).write_text("no picture")
    Image.new("RGBA", (PICTURE_PX, PICTURE_PX)).save(folder / BAD[2])
    return len(good)


def photograph(name: str) -> Image.Image:
    """A picture of scikit-image; one of two values as black on white."""
    pixels = getattr(skimage.data, name)()
    return Image.fromarray(pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels)


def check(done: subprocess.CompletedProcess[str], meshes: Path, num_good: int) -> None:
    """Raises SystemExit unless the good ones are there, whole, and the bad ones were named."""
    files = sorted(path.name for path in meshes.iterdir())
    named = [bad for bad in BAD if f"{bad}: " in done.stderr]
    halves = [name for name in files if not name.endswith(".stl") or name.startswith(".")]
    if (done.returncode, len(files), named, halves) != (1, num_good, list(BAD), []):
        raise SystemExit(f"exit {done.returncode}, {len(files)} files, halves {halves}:\n{done.stderr}")


if __name__ == "__main__":
    for table in tables(Asked(torch.device("cpu"), resolution=int(sys.argv[1]) if sys.argv[1:] else None)):
        print(table)
