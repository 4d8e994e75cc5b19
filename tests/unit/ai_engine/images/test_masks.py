"""The embedded remover's masks, refined: on the example pictures, and where GrabCut can't help."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ai_engine.images.background import BackgroundRemover
from ai_engine.images.masks import cut_by_colour, refine
from examples.draw_pictures import SAMPLES, Sample, draw, true_opacity

MATTING_HOME = Path(__file__).parents[4] / "models" / "matting"
SIDE = 256
GROUND, OBJECT = (200, 205, 210), (180, 60, 40)


def disc(radius: float, centre: tuple[float, float] = (128, 128)) -> NDArray[np.bool_]:
    y, x = np.mgrid[:SIDE, :SIDE]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2


def opaque(is_inside: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(is_inside, 255, 0).astype(np.uint8)


def scene(is_object: NDArray[np.bool_], colour: tuple[int, int, int] = OBJECT) -> NDArray[np.uint8]:
    """The object on a lit ground with grain, uint8 [side, side, 3]."""
    grain = np.random.default_rng(0).normal(0, 2, (SIDE, SIDE, 1))
    light = np.linspace(-20, 20, SIDE)[:, None, None]
    pixels = np.where(is_object[..., None], np.array(colour), np.array(GROUND) + light) + grain
    return pixels.clip(0, 255).astype(np.uint8)


def overlap(mask: NDArray[np.uint8], truth: NDArray[np.bool_]) -> float:
    found = mask >= 128
    return float((found & truth).sum() / (found | truth).sum())


@pytest.fixture(scope="module")
def remover() -> BackgroundRemover:
    return BackgroundRemover("tiny", MATTING_HOME)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.family)
def test_the_object_of_an_example_picture_is_found(sample: Sample, remover: BackgroundRemover) -> None:
    assert overlap(remover.mask(draw(sample)), true_opacity(sample) > 0.5) >= 0.97


def test_by_setting_the_masks_stay_as_they_are(remover: BackgroundRemover) -> None:
    plain = BackgroundRemover("tiny", MATTING_HOME, refine="none")
    picture = draw(SAMPLES[0])
    assert overlap(plain.mask(picture), true_opacity(SAMPLES[0]) > 0.5) < 0.9
    assert not np.array_equal(plain.mask(picture), remover.mask(picture))


def test_the_same_picture_gives_the_same_bytes(remover: BackgroundRemover) -> None:
    picture = draw(SAMPLES[2])
    assert np.array_equal(remover.mask(picture), remover.mask(picture))


def test_a_mask_with_a_bite_and_a_bulge_takes_the_objects_outline() -> None:
    truth = disc(60)
    rough = opaque((truth & ~disc(18, (70, 128))) | disc(16, (188, 128)))
    assert overlap(rough, truth) < 0.92
    assert overlap(cut_by_colour(scene(truth), rough), truth) > 0.97


def test_the_edge_is_soft_by_a_pixel_or_two() -> None:
    mask = cut_by_colour(scene(disc(60)), opaque(disc(56)))
    is_soft = (mask > 0) & (mask < 255)
    assert is_soft.any()
    assert np.all(disc(63)[is_soft] & ~disc(57)[is_soft])


def test_a_shadow_under_the_object_is_not_taken() -> None:
    truth, shadow = disc(60), disc(30, (128, 185)) & ~disc(60)
    picture = scene(truth)
    picture[shadow] = (picture[shadow] * 0.7).astype(np.uint8)
    mask = cut_by_colour(picture, opaque(truth))
    assert np.mean(mask[shadow] >= 128) < 0.1


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((SIDE, SIDE), np.uint8),
        np.full((SIDE, SIDE), 255, np.uint8),
        opaque(disc(200)),
        opaque(disc(60) & ~disc(58)),
    ],
    ids=["empty", "full", "no sure ground", "no sure object"],
)
def test_without_sure_object_and_ground_the_mask_stays(mask: NDArray[np.uint8]) -> None:
    assert np.array_equal(cut_by_colour(scene(disc(60)), mask), mask)


def test_where_grabcut_empties_the_object_the_mask_stays() -> None:
    is_core, mask = disc(8), opaque(disc(60))
    assert np.array_equal(cut_by_colour(scene(is_core), mask), mask)


def test_where_it_floods_the_ground_the_mask_stays() -> None:
    mask = opaque(disc(30))
    assert np.array_equal(cut_by_colour(scene(disc(60)), mask), mask)


def test_a_small_object_is_looked_at_again_from_near() -> None:
    truth = disc(20, (60, 60))
    seen: list[tuple[int, ...]] = []

    def find(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        seen.append(pixels.shape)
        return opaque(pixels[..., 1] < 120)

    assert overlap(refine(scene(truth), find), truth) > 0.95
    assert seen[0] == (SIDE, SIDE, 3)
    assert max(seen[1]) < 100


def test_a_second_look_that_sees_something_else_is_not_believed() -> None:
    truth = disc(30)
    answers = iter([opaque(truth), None])

    def find(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        answer = next(answers)
        return np.zeros(pixels.shape[:2], np.uint8) if answer is None else answer

    assert overlap(refine(scene(truth), find), truth) > 0.95


def test_where_nothing_is_found_nothing_is_looked_at_again() -> None:
    spot = np.zeros((SIDE, SIDE), np.uint8)
    spot[0, 0] = 255
    assert np.array_equal(refine(scene(disc(30)), lambda _: spot), spot)
