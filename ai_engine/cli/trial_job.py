"""One job on a plain picture, with no store and no queue: shows what only real weights can show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_engine.errors import EmptyMesh
from ai_engine.job import JobOptions
from ai_engine.stage import Stage

if TYPE_CHECKING:  # PyTorch is imported when a model is loaded, not before
    from ai_engine.pipeline.shape_model import ShapeModel

TRIAL_STEPS, TRIAL_CELLS, PICTURE_PX = 10, 64, 128


def trial_warnings(model: ShapeModel) -> tuple[str, ...]:
    """What is suspicious about the field of a ball's picture (sign, range), in words; nothing if all is well."""
    options = JobOptions(seed=0, num_inference_steps=TRIAL_STEPS, octree_resolution=TRIAL_CELLS)
    try:
        shape = model.generate(plain_ball(), options, _ignore)
    except EmptyMesh as error:
        return (f"a plain picture gives no mesh: {error}",)
    return shape.decode.warnings if shape.decode else ()


def plain_ball() -> NDArray[np.uint8]:
    """A picture of a grey ball, cut out: RGBA [128, 128, 4]."""
    across = np.linspace(-1.2, 1.2, PICTURE_PX)
    x, y = np.meshgrid(across, across)
    height = np.sqrt(np.clip(1 - x**2 - y**2, 0, None))
    grey = 60 + 180 * np.clip(0.6 * height - 0.4 * x - 0.5 * y, 0, 1)
    alpha = 255.0 * (x**2 + y**2 < 1)
    return np.stack([grey, grey, grey, alpha], axis=-1).astype(np.uint8)


def _ignore(stage: Stage, done: int, total: int) -> None:
    pass
