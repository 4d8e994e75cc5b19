"""A picture whose background is transparent, as it travels between stages. Knows no model and no files."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ai_engine.facts import CutOutFacts

FAINT_ALPHA = 10
"""Up to here alpha is a remover's haze, not an object."""
FOREGROUND_ALPHA = 128
"""From here on a pixel counts as foreground."""
SOLID_ALPHA = 250
"""From here on a pixel shows the object's own colour, nothing of what was behind it."""


@dataclass(frozen=True, eq=False)
class Cutout:
    """Uint8 `rgba` [height, width, 4], straight alpha; what is not the object has alpha 0 exactly."""

    rgba: NDArray[np.uint8]
    facts: CutOutFacts | None = None
    """None when it was read back from its file."""

    def __post_init__(self) -> None:
        if self.rgba.ndim != 3 or self.rgba.shape[2] != 4 or self.rgba.dtype != np.uint8:
            raise ValueError(f"a cutout is uint8 [h, w, 4], got {self.rgba.dtype} {list(self.rgba.shape)}")

    @property
    def alpha(self) -> NDArray[np.uint8]:
        """Opacity [height, width], 255 opaque."""
        return self.rgba[:, :, 3]

    @property
    def foreground_share(self) -> float:
        """The share of all pixels that belong to the object, 0..1."""
        return float(np.mean(self.alpha >= FOREGROUND_ALPHA))

    def to_image(self) -> Image.Image:
        """The same pixels as an RGBA image."""
        return Image.fromarray(self.rgba, "RGBA")

    def to_png(self) -> bytes:
        """The same pixels as a PNG file, without metadata."""
        file = io.BytesIO()
        self.to_image().save(file, "PNG", compress_level=3)
        return file.getvalue()

    @classmethod
    def from_png(cls, png: bytes) -> Cutout:
        """What `to_png` wrote. For our own files only: a caller's picture goes through `background.cut_out`."""
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            return cls(np.array(image.convert("RGBA")))
