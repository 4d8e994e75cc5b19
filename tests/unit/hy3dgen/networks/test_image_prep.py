"""Edge cases of preparing a picture; its numbers are tested in tests/parity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from hy3dgen.errors import EmptyImage, ImageError
from hy3dgen.networks.image_prep import on_white, prepare_image, prepare_views


def picture(alpha: np.ndarray, colour: tuple[int, int, int] = (200, 30, 30)) -> Image.Image:
    rgba = np.zeros((*alpha.shape, 4), dtype=np.uint8)
    rgba[..., :3], rgba[..., 3] = colour, alpha
    return Image.fromarray(rgba)


def disc(side: int, radius: float, centre: tuple[float, float]) -> np.ndarray:
    rows, columns = np.mgrid[:side, :side]
    return ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2).astype(np.uint8) * 255


def test_the_object_is_centred_and_fills_85_percent() -> None:
    pixels = prepare_image(picture(disc(200, 30, (60, 130))), 200, 0.15)
    visible = (pixels[0] < 0.9).any(dim=0).nonzero()
    low, high = visible.min(dim=0).values, visible.max(dim=0).values
    assert (high - low).tolist() == pytest.approx([170, 170], abs=4)
    assert ((high + low) / 2).tolist() == pytest.approx([100, 100], abs=3)


def test_the_ground_is_white_and_colours_under_zero_alpha_do_not_show() -> None:
    pixels = prepare_image(picture(disc(64, 20, (32, 32)), colour=(0, 0, 0)), 64, 0.15)
    assert torch.equal(pixels[0, :, 0, 0], torch.ones(3))


def test_half_transparent_pixels_mix_with_white() -> None:
    rgba = np.array([[[0, 0, 0, 128]]], dtype=np.uint8)
    assert on_white(rgba)[0, 0].tolist() == [126, 126, 126]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "CMYK", "1"])
def test_every_picture_mode_is_taken(mode: str) -> None:
    image = picture(disc(40, 12, (20, 20))).convert("RGB").convert(mode)
    assert prepare_image(image, 56, 0.15).shape == (1, 3, 56, 56)


@pytest.mark.parametrize(
    "alpha",
    [np.zeros((20, 20)), np.pad([[255]], 9), np.pad([[255] * 9], ((9, 9), (4, 4))), np.full((1, 1), 255)],
    ids=["transparent", "one pixel", "one row", "1 x 1"],
)
def test_pictures_without_an_object_are_refused_by_name(alpha: np.ndarray) -> None:
    with pytest.raises(EmptyImage):
        prepare_image(picture(alpha.astype(np.uint8)), 64, 0.15)


def test_an_extremely_thin_object_is_refused_and_not_an_assertion() -> None:
    alpha = np.zeros((2000, 2000), dtype=np.uint8)
    alpha[1000:1002] = 255
    with pytest.raises(EmptyImage, match="too thin"):
        prepare_image(picture(alpha), 64, 0.15)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ImageError, match="ndarray"):
        prepare_image(np.zeros((8, 8, 3)), 64, 0.15)  # type: ignore[arg-type]


def test_views_need_known_names() -> None:
    image = picture(disc(40, 12, (20, 20)))
    with pytest.raises(ImageError, match="front, left, back, right"):
        prepare_views({"front": image, "top": image}, 56, 0.15)
    with pytest.raises(ImageError):
        prepare_views({}, 56, 0.15)
