"""Edge cases of preparing a picture; its numbers are tested in tests/parity."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hy3dgen.errors import EmptyImage, ImageError
from hy3dgen.networks.image_prep import (
    fill_own_frame,
    on_white,
    pad_square,
    prepare_image,
    prepare_views,
)


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


def box_of(pixels: torch.Tensor) -> list[list[int]]:
    """First and last row and column of what is not white, of an 8-bit picture [1, 3, H, W]."""
    seen = (pixels[0] < 255).any(dim=0)
    return [[int(at.min()), int(at.max())] for at in seen.nonzero().T]


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (31, 30), (33, 7)])
def test_a_padded_square_has_a_tenth_of_border_and_the_object_in_its_middle(size: tuple[int, int]) -> None:
    alpha = np.pad(np.full(size, 255, np.uint8), 13)
    pixels = pad_square(picture(alpha), border_share=0.1, max_side_px=2000)
    height, width = pixels.shape[-2:]
    longer = max(size)
    assert abs(height - width) <= 1
    assert max(height, width) == longer + 2 * int(0.1 * longer)
    for (first, last), side, extent in zip(box_of(pixels), (height, width), size, strict=True):
        assert last - first + 1 == extent
        assert first == side - 1 - last


def test_a_large_picture_is_shrunk_before_it_is_padded() -> None:
    alpha = np.zeros((300, 600), np.uint8)
    alpha[100:200, 150:450] = 255
    pixels = pad_square(picture(alpha), border_share=0.1, max_side_px=60)
    assert pixels.shape[-1] == pytest.approx(30 + 2 * 3, abs=2)
    assert pixels[0, :, 18, 18].tolist() == [200, 30, 30]


def test_a_very_long_picture_keeps_a_row_when_it_is_shrunk() -> None:
    pixels = pad_square(picture(np.full((1, 5000), 255, np.uint8)), border_share=0.0, max_side_px=100)
    assert pixels.shape[-1] == 100
    assert box_of(pixels)[1] == [0, 99]


@pytest.mark.parametrize(("width", "height"), [(90, 60), (60, 90), (60, 60)])
def test_an_own_frame_keeps_the_aspect_and_fills_its_share(width: int, height: int) -> None:
    alpha = np.zeros((height, width), np.uint8)
    alpha[5:25, 10:20] = 255
    pixels = fill_own_frame(picture(alpha), share=0.9)
    rows, columns = box_of(pixels)
    side = max(width, height)
    assert pixels.shape == (1, 3, side, side)
    assert (rows[1] - rows[0] + 1) == pytest.approx(0.9 * height, abs=1)
    assert (columns[1] - columns[0] + 1) == pytest.approx((rows[1] - rows[0] + 1) / 2, abs=1)
    for first, last in (rows, columns):
        assert first == pytest.approx(side - 1 - last, abs=2)


def test_a_speck_is_still_a_pixel_in_its_own_frame() -> None:
    alpha = np.zeros((400, 400), np.uint8)
    alpha[200, 3:400] = 255
    rows, columns = box_of(fill_own_frame(picture(alpha), share=0.5))
    assert rows[0] == rows[1] == pytest.approx(200, abs=1)
    assert columns[1] - columns[0] + 1 == 200


@pytest.mark.parametrize(
    "prepare", [partial(pad_square, border_share=0.1, max_side_px=100), partial(fill_own_frame, share=0.5)]
)
def test_other_framings_refuse_what_the_first_refuses(prepare: Callable[[Any], torch.Tensor]) -> None:
    with pytest.raises(EmptyImage, match="fully transparent"):
        prepare(picture(np.zeros((20, 20), np.uint8)))
    with pytest.raises(ImageError, match="ndarray"):
        prepare(np.zeros((8, 8, 3)))
    assert prepare(picture(np.pad([[255]], 9).astype(np.uint8))).dtype == torch.uint8


def test_views_are_stacked_in_the_order_of_their_index_whatever_order_they_come_in() -> None:
    views = {
        name: picture(disc(40, 12, (20, 20)), (tone, tone, tone))
        for tone, name in ((10, "right"), (90, "front"), (170, "back"))
    }
    pixels, indices = prepare_views(views, 56, 0.15)
    assert indices == (0, 2, 3)
    assert pixels.shape == (1, 3, 3, 56, 56)
    tones = (pixels[0, :, 0, 28, 28] + 1) * 127.5
    assert tones.tolist() == pytest.approx([90, 170, 10], abs=1)
