"""Real photographs through a real ISNet: what is soft inside the object keeps its own colours."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy import ndimage

from ai_engine.images.background import BackgroundRemover, cut_out
from ai_engine.images.cutout import SOLID_ALPHA
from ai_engine.images.masks import MIN_RIM_PX, RIM_SHARE

WEIGHTS = Path(os.environ.get("MATTING_HOME", "")) / "isnet-general-use.onnx"


@pytest.mark.skipif(not WEIGHTS.is_file(), reason="MATTING_HOME holds no isnet-general-use.onnx: NOT TESTED")
@pytest.mark.parametrize("name", ["chelsea", "rocket"])
def test_soft_pixels_inside_a_photographed_object_keep_their_colours(name: str, tmp_path: Path) -> None:
    source = getattr(skimage.data, name)()
    file = io.BytesIO()
    Image.fromarray(source).save(file, "PNG")
    remover = BackgroundRemover("isnet-general-use", WEIGHTS.parent)
    cutout = cut_out(file.getvalue(), remove="auto", remover=remover)
    cutout.to_image().save(tmp_path / f"{name}.png")
    rim_px = max(MIN_RIM_PX, RIM_SHARE * max(cutout.alpha.shape))
    is_inside = ndimage.distance_transform_edt(cutout.alpha > 0) > rim_px
    assert np.sum(is_inside & (cutout.alpha < SOLID_ALPHA)) > 1000
    assert np.array_equal(cutout.rgba[is_inside, :3], source[is_inside])
