"""The matting network's pictures, its graph for rembg, and the file in models/tiny."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from ai_engine.images.background import BackgroundRemover
from training.composites import BUSY, FOREGROUND_PX, PLAIN, make_composite, random_foreground, random_union
from training.evaluate_matting import open_remover, score
from training.grounds import HARD_GROUNDS, Ground, plain, random_palette
from training.held_out_composites import WATCH_SEED, held_out_composites
from training.matting import (
    export,
    matting_loss,
    normalised,
    random_batch,
    settle_norms,
)
from training.matting_network import INPUT_PX, WORKING_PX, ForRembg, MattingNetwork

ONNX_PATH = Path(__file__).parents[3] / "models" / "tiny" / "matting.onnx"


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def mug() -> NDArray[np.uint8]:
    return random_foreground(np.random.default_rng(1), 96, "mug")


@pytest.fixture
def network() -> MattingNetwork:
    torch.manual_seed(0)
    return MattingNetwork()


@pytest.fixture(scope="module")
def remover() -> BackgroundRemover:
    return open_remover(None)


def name_of(ground: Any) -> str:
    return str(ground.__name__)


def constant(network: MattingNetwork, logit: float) -> MattingNetwork:
    """The network, answering one logit everywhere."""
    assert network.head.bias is not None
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.constant_(network.head.bias, logit)
    return network


@pytest.mark.parametrize(
    "ground",
    sorted({*HARD_GROUNDS, plain}, key=name_of),
    ids=name_of,
)
def test_every_ground_is_a_finite_picture_of_the_asked_side(ground: Ground) -> None:
    rng = np.random.default_rng(3)
    picture = ground(rng, 64, random_palette(rng))
    assert picture.shape == (64, 64, 3)
    assert picture.dtype == np.float32
    assert np.isfinite(picture).all()


def test_a_composite_can_be_drawn_again_from_its_seed(mug: NDArray[np.uint8]) -> None:
    first, second = (make_composite(np.random.default_rng(9), mug, 80, BUSY) for _ in range(2))
    np.testing.assert_array_equal(first.picture, second.picture)
    np.testing.assert_array_equal(first.alpha, second.alpha)


def test_the_truth_of_a_composite_is_soft_and_has_an_object_between_a_quarter_and_all_of_the_frame(
    mug: NDArray[np.uint8],
) -> None:
    for seed in range(12):
        alpha = make_composite(np.random.default_rng(seed), mug, 100, PLAIN).alpha
        assert alpha.min() == 0
        assert 0.9 < alpha.max() <= 1
        rows, columns = np.flatnonzero(alpha.max(1) > 0), np.flatnonzero(alpha.max(0) > 0)
        assert 12 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 100


def test_a_picture_may_show_no_object_at_all() -> None:
    composite = make_composite(np.random.default_rng(2), None, 64, BUSY)
    assert composite.alpha.max() == 0
    assert composite.picture.shape == (64, 64, 3)


def test_a_random_union_is_scaled_like_every_other_shape() -> None:
    shape = random_union(np.random.default_rng(5))
    assert shape.family == "union"
    assert shape.half_extent.max() == pytest.approx(0.9)


def test_held_out_pictures_do_not_depend_on_how_many_are_drawn() -> None:
    one = held_out_composites(WATCH_SEED, 1, 64, "plain")[0]
    again = held_out_composites(WATCH_SEED, 2, 64, "plain")[0]
    np.testing.assert_array_equal(one.picture, again.picture)


def test_pixels_are_divided_by_the_brightest_value_of_their_own_picture() -> None:
    picture = np.zeros((1, 4, 4, 3), np.uint8)
    picture[0, 0, 0] = 100
    pixels = normalised(picture)
    expected = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(pixels[0, :, 0, 0], expected, rtol=1e-5)


def test_a_step_sees_the_same_pictures_whenever_it_is_run(mug: NDArray[np.uint8]) -> None:
    first, second = (random_batch(7, mug[None], count=2)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, random_batch(8, mug[None], count=2)[0])


def test_the_loss_is_almost_nothing_for_a_perfect_answer() -> None:
    alpha = torch.zeros(2, 1, WORKING_PX, WORKING_PX)
    alpha[:, :, 32:96, 32:96] = 1
    coarse = torch.nn.functional.avg_pool2d(alpha, 16)
    perfect = matting_loss(alpha * 60 - 30, coarse * 60 - 30, alpha)
    assert perfect < 0.01 < matting_loss(-(alpha * 60 - 30), coarse, alpha)


def test_folded_norms_and_half_weights_change_the_answer_little(
    network: MattingNetwork, mug: NDArray[np.uint8]
) -> None:
    settle_norms(network, mug[None], num_batches=2)
    pixels = torch.randn(1, 3, INPUT_PX, INPUT_PX)
    with torch.no_grad():
        logits, _ = network.eval()(torch.nn.functional.avg_pool2d(pixels, 2))
        logits = torch.nn.functional.interpolate(logits, scale_factor=2.0, mode="bilinear")
        expected = ((logits.sigmoid() - 0.35) / 0.3).clamp(0, 1)
        np.testing.assert_allclose(ForRembg(network)(pixels), expected, atol=0.02)


@pytest.mark.parametrize(("logit", "expected"), [(-9.0, 0.0), (9.0, 1.0)])
def test_an_answer_without_contrast_gets_one_corner_pixel_of_the_other_kind(
    network: MattingNetwork, logit: float, expected: float
) -> None:
    opacity = ForRembg(constant(network, logit))(torch.zeros(1, 3, INPUT_PX, INPUT_PX))[0, 0]
    assert opacity[0, 0] == 1 - expected
    assert (opacity.flatten()[1:] == expected).all()


def test_a_hesitant_answer_is_clipped_to_exactly_nothing(network: MattingNetwork) -> None:
    hesitant = ForRembg(constant(network, float(np.log(0.34 / 0.66))))(torch.zeros(1, 3, INPUT_PX, INPUT_PX))
    assert (hesitant.flatten()[1:] == 0).all()


def test_the_exported_file_answers_like_the_network(network: MattingNetwork, tmp_path: Path) -> None:
    export(network, tmp_path / "matting.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "matting.onnx"), providers=["CPUExecutionProvider"])
    pixels = torch.randn(1, 3, INPUT_PX, INPUT_PX)
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(found, ForRembg(network)(pixels), atol=1e-5)


def test_the_score_of_a_mask_is_its_overlap_and_its_clear_background() -> None:
    alpha = np.zeros((10, 10), np.float32)
    alpha[:, :5] = 1
    mask = np.zeros((10, 10), np.uint8)
    mask[:, :4], mask[:, 9] = 255, 3
    found = score(mask, alpha)
    assert found.overlap == pytest.approx(0.8)
    assert found.clear_share == pytest.approx(0.8)


def test_the_shipped_file_is_small() -> None:
    assert ONNX_PATH.stat().st_size <= 3_000_000


def test_the_shipped_file_finds_held_out_objects_on_plain_grounds(remover: BackgroundRemover) -> None:
    scores = [
        score(remover.mask(Image.fromarray(one.picture)), one.alpha)
        for one in held_out_composites((7, 7, 5), 9, 256, "plain")
    ]
    assert np.mean([s.overlap for s in scores]) > 0.9
    assert np.mean([s.clear_share for s in scores]) > 0.95


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_picture_of_nothing_gives_next_to_no_foreground(remover: BackgroundRemover, level: int) -> None:
    mask = remover.mask(Image.new("RGB", (256, 256), (level, level, level)))
    assert (mask > 10).mean() < 0.01


def test_training_objects_are_large_enough_for_the_working_side() -> None:
    assert FOREGROUND_PX >= WORKING_PX
