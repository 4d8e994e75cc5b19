from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from ai_engine.errors import MaskUnusable, NoForeground, UnreadableImage
from ai_engine.images import background
from ai_engine.images.background import (
    MATTING_MODELS,
    BackgroundRemover,
    MattingModelUnusable,
    cut_out,
    has_useful_alpha,
    open_remover,
)
from ai_engine.images.cutout import FAINT_ALPHA, Cutout

REPOSITORY = Path(__file__).parents[4]
MATTING_HOME = REPOSITORY / "models" / "matting"


class FixedMask:
    """A remover that has its answer ready, and remembers what it was shown."""

    model_name = "fixed"

    def __init__(self, mask: np.ndarray) -> None:
        self._mask = mask
        self.seen: list[Image.Image] = []

    def mask(self, picture: Image.Image) -> np.ndarray:
        self.seen.append(picture)
        return self._mask


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def disc(size: int = 100, radius: float = 30, centre: tuple[float, float] = (50, 50)) -> np.ndarray:
    """True inside a disc, [size, size]."""
    y, x = np.mgrid[:size, :size]
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2


def scene(size: int = 100) -> np.ndarray:
    """A bright disc on a dark gradient, uint8 [size, size, 3]."""
    ramp = np.linspace(10, 90, size)[:, None] + np.linspace(0, 30, size)[None]
    pixels = np.stack([ramp, ramp * 0.8, ramp * 1.2], -1)
    pixels[disc(size, 0.3 * size, (size / 2, size / 2))] = (240, 200, 60)
    return pixels.astype(np.uint8)


def with_alpha(alpha: np.ndarray) -> np.ndarray:
    return np.dstack([scene(len(alpha)), alpha.astype(np.uint8)])


def opaque(is_inside: np.ndarray) -> np.ndarray:
    return np.where(is_inside, 255, 0).astype(np.uint8)


def test_the_background_becomes_transparent_and_nothing_is_laid_on_white() -> None:
    cutout = cut_out(png(scene()), remove="auto", remover=FixedMask(opaque(disc())))
    assert np.array_equal(cutout.alpha, opaque(disc()))
    assert np.all(cutout.rgba[disc()][:, :3] == (240, 200, 60))
    assert cutout.rgba[..., :3].min(axis=2).max() < 255


def test_faint_alpha_is_cleared_so_that_the_frame_fits_the_object() -> None:
    haze = np.where(disc(), 255, np.random.default_rng(0).integers(0, FAINT_ALPHA + 1, (100, 100))).astype(
        np.uint8
    )
    cutout = cut_out(png(scene()), remove="auto", remover=FixedMask(haze))
    assert np.array_equal(cutout.alpha > 0, disc())


def test_faint_alpha_of_the_callers_own_is_cleared_too() -> None:
    alpha = np.where(disc(), 255, 3)
    assert np.array_equal(cut_out(png(with_alpha(alpha)), remove="never", remover=None).alpha > 0, disc())


def test_a_line_along_the_border_does_not_make_a_cut_out_an_opaque_picture() -> None:
    alpha = opaque(disc(200, 60, (100, 100)))
    alpha[[0, -1]], alpha[:, [0, -1]] = 255, 255
    remover = FixedMask(np.zeros((200, 200), np.uint8))
    cutout = cut_out(png(with_alpha(alpha)), remove="auto", remover=remover)
    assert remover.seen == []
    assert np.array_equal(cutout.alpha > 0, disc(200, 60, (100, 100)))
    assert cutout.facts is not None
    assert (cutout.facts.source, cutout.facts.parts_dropped) == ("alpha", 1)


def test_small_separate_islands_are_dropped_and_a_second_object_is_kept() -> None:
    first, second = disc(radius=20, centre=(30, 50)), disc(radius=14, centre=(75, 50))
    floaters = disc(radius=3, centre=(50, 8)) | disc(radius=4, centre=(90, 90))
    cutout = cut_out(png(scene()), remove="auto", remover=FixedMask(opaque(first | second | floaters)))
    assert np.array_equal(cutout.alpha > 0, first | second)


def test_a_wide_faint_island_weighs_less_than_a_small_solid_object() -> None:
    mask = opaque(disc(radius=15, centre=(25, 25)))
    mask[60:, :] = 12
    cutout = cut_out(png(scene()), remove="auto", remover=FixedMask(mask))
    assert cutout.alpha[:60].max() == 255


def test_soft_edges_take_the_objects_colour_not_the_backgrounds() -> None:
    mask = np.where(disc(radius=26), 255, np.where(disc(radius=28), 100, 0)).astype(np.uint8)
    cutout = cut_out(png(scene()), remove="auto", remover=FixedMask(mask))
    soft = cutout.rgba[cutout.alpha == 100]
    assert len(soft) > 100
    assert np.all(soft[:, :3] == (240, 200, 60))


def test_a_useful_alpha_channel_is_not_matted_again() -> None:
    remover = FixedMask(opaque(disc(radius=5)))
    picture = png(with_alpha(opaque(disc())))
    cutout = cut_out(picture, remove="auto", remover=remover)
    assert remover.seen == []
    assert np.array_equal(cutout.rgba[disc()], with_alpha(opaque(disc()))[disc()])


def test_always_mattes_within_the_callers_alpha_and_hides_what_was_hidden() -> None:
    pixels = with_alpha(opaque(disc()))
    pixels[:10, :10, :3] = 255
    remover = FixedMask(opaque(disc(radius=40, centre=(60, 50))))
    cutout = cut_out(png(pixels), remove="always", remover=remover)
    assert np.array_equal(cutout.alpha > 0, disc() & disc(radius=40, centre=(60, 50)))
    assert remover.seen[0].mode == "RGB"
    assert remover.seen[0].getpixel((5, 5)) == (128, 128, 128)


def test_never_leaves_the_picture_as_it_is() -> None:
    remover = FixedMask(opaque(disc()))
    cutout = cut_out(png(scene()), remove="never", remover=remover)
    assert remover.seen == []
    assert np.all(cutout.alpha == 255)


def rounded(size: int, corner: int) -> np.ndarray:
    distance = np.maximum(corner - np.minimum(np.arange(size), np.arange(size)[::-1]), 0)
    return np.hypot(distance[:, None], distance[None]) <= corner


def chamfered(size: int, legs: tuple[int, int, int, int]) -> np.ndarray:
    """True but for triangles of these legs, cut straight off the corners."""
    y, x = np.mgrid[:size, :size]
    sides = ((x, y), (size - 1 - x, y), (x, size - 1 - y), (size - 1 - x, size - 1 - y))
    return np.all([a + b >= leg for (a, b), leg in zip(sides, legs, strict=True)], axis=0)


@pytest.mark.parametrize(
    ("alpha", "is_useful"),
    [
        (opaque(disc()), True),
        (opaque(disc(radius=50, centre=(49.5, 49.5))), True),
        (opaque(disc(radius=45, centre=(50, 75))), True),
        (np.where(disc(), 255, 4).astype(np.uint8), True),
        (opaque(chamfered(100, (8, 8, 8, 8))), True),
        (opaque(chamfered(100, (30, 0, 0, 22))), True),
        (np.where(chamfered(100, (12, 9, 15, 0)), 200, 0).astype(np.uint8), True),
        (opaque(chamfered(100, (12, 0, 0, 0))), False),
        (opaque(chamfered(100, (2, 2, 2, 2))), False),
        (opaque(rounded(100, 6)), False),
        (opaque(rounded(100, 12)), False),
        (np.full((100, 100), 255, np.uint8), False),
        (np.full((100, 100), 180, np.uint8), False),
        (opaque(rounded(100, 20)), False),
        (opaque(~disc(radius=20)), False),
        (np.random.default_rng(0).integers(200, 256, (100, 100)).astype(np.uint8), False),
    ],
    ids=[
        *("free", "cropped", "bust", "haze", "box", "tilted", "three corners", "one corner", "specks"),
        *("slightly rounded", "rounded", "opaque", "veil", "rounded corners", "hole", "noise"),
    ],
)
def test_alpha_is_useful_when_the_object_stands_free(alpha: np.ndarray, is_useful: bool) -> None:
    assert has_useful_alpha(alpha) is is_useful


def test_rounded_corners_are_matted_and_stay_transparent() -> None:
    remover = FixedMask(opaque(disc(radius=70)))
    cutout = cut_out(png(with_alpha(opaque(rounded(100, 20)))), remove="auto", remover=remover)
    assert len(remover.seen) == 1
    assert cutout.alpha[0, 0] == 0


@pytest.mark.parametrize("remove", ["auto", "always", "never"])
@pytest.mark.parametrize("alpha", [0, 3, FAINT_ALPHA])
def test_a_fully_transparent_picture_has_no_foreground(remove: str, alpha: int) -> None:
    picture = png(with_alpha(np.full((100, 100), alpha)))
    with pytest.raises(NoForeground, match="transparent"):
        cut_out(picture, remove=remove, remover=FixedMask(opaque(disc())))  # type: ignore[arg-type]


@pytest.mark.parametrize("remove", ["auto", "always", "never"])
@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (12, 200, 90)])
def test_a_picture_of_one_colour_has_no_foreground(remove: str, colour: tuple[int, int, int]) -> None:
    picture = png(np.full((100, 100, 3), colour, np.uint8))
    with pytest.raises(NoForeground, match="one colour"):
        cut_out(picture, remove=remove, remover=FixedMask(opaque(disc())))  # type: ignore[arg-type]


def test_a_silhouette_of_one_colour_is_an_object() -> None:
    pixels = np.dstack([np.full((100, 100, 3), 40, np.uint8), opaque(disc())])
    assert cut_out(png(pixels), remove="auto", remover=None).foreground_share == pytest.approx(
        0.283, abs=0.01
    )


@pytest.mark.parametrize(
    "mask", [np.zeros((100, 100), np.uint8), np.full((100, 100), 9, np.uint8), opaque(disc(radius=5))]
)
def test_less_than_one_percent_of_foreground_is_none(mask: np.ndarray) -> None:
    with pytest.raises(NoForeground, match="1%"):
        cut_out(png(scene()), remove="auto", remover=FixedMask(mask))


def test_what_is_no_picture_is_said_to_be_none() -> None:
    with pytest.raises(UnreadableImage):
        cut_out(b"no picture", remove="auto", remover=None)


def test_a_cutout_survives_its_file() -> None:
    cutout = cut_out(png(scene()), remove="auto", remover=FixedMask(opaque(disc())))
    assert np.array_equal(Cutout.from_png(cutout.to_png()).rgba, cutout.rgba)


def test_a_missing_weights_file_is_named_and_nothing_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "find_shipped", lambda file: tmp_path / "tiny.onnx")
    for name in MATTING_MODELS:
        remover = BackgroundRemover(name, tmp_path / "matting")
        with pytest.raises(MattingModelUnusable, match=re.escape(str(remover.weights_path))):
            remover.mask(Image.new("RGB", (50, 50)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", MATTING_MODELS)
def test_a_damaged_weights_file_is_named(name: str, tmp_path: Path) -> None:
    weights = tmp_path / "matting" / MATTING_MODELS[name].file
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"<html>404</html>")
    remover = BackgroundRemover(name, tmp_path / "matting")
    with pytest.raises(MattingModelUnusable, match="can't be loaded"):
        remover.load()


def test_the_embedded_remover_is_found_whatever_folder_holds_the_published_ones(tmp_path: Path) -> None:
    assert BackgroundRemover("tiny", tmp_path).weights_path.is_file()
    assert not BackgroundRemover("u2net", tmp_path).weights_path.is_file()


@pytest.mark.parametrize("name", ["", "bria-rmbg", "withoutbg", "atlascloud", "u2net_custom", "../tiny"])
def test_only_named_models_that_run_here_are_opened(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no matting model"):
        open_remover(name, tmp_path)


def test_none_is_no_remover(tmp_path: Path) -> None:
    assert open_remover("none", tmp_path) is None


@pytest.fixture(scope="module")
def embedded() -> BackgroundRemover:
    return BackgroundRemover("tiny", MATTING_HOME)


def test_a_dark_gradient_behind_the_object_becomes_no_wall(embedded: BackgroundRemover) -> None:
    cutout = cut_out(png(scene(400)), remove="auto", remover=embedded)
    corners = cutout.alpha[[0, 0, -1, -1], [0, -1, 0, -1]]
    border = np.concatenate([cutout.alpha[0], cutout.alpha[-1], cutout.alpha[:, 0], cutout.alpha[:, -1]])
    truth = disc(400, 120, (200, 200))
    found = cutout.alpha >= 128
    assert corners.tolist() == [0, 0, 0, 0]
    assert border.max() == 0
    assert (found & truth).sum() / (found | truth).sum() > 0.8


def test_the_embedded_model_runs_without_touching_the_environment_or_the_home(tmp_path: Path) -> None:
    script = (
        "import os, sys; before = dict(os.environ)\n"
        "from pathlib import Path; from PIL import Image\n"
        "from ai_engine.images.background import BackgroundRemover\n"
        "assert 'rembg' not in sys.modules\n"
        f"BackgroundRemover('tiny', Path({str(MATTING_HOME)!r})).mask(Image.new('RGB', (64, 64), 'red'))\n"
        "import numba; assert not numba.config.DISABLE_JIT\n"
        # OpenCV's import writes the second.
        "changed = {name for name in os.environ if os.environ[name] != before.get(name)}\n"
        "assert changed <= {'ORT_DISABLE_TELEMETRY', 'LD_LIBRARY_PATH'}, changed\n"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_is_soft_further_inside_than_the_rim_keeps_its_colours() -> None:
    mask = opaque(disc(radius=33))
    mask[disc(radius=15)] = 120
    pixels = scene()
    pixels[disc(radius=15)] = (10, 90, 200)
    cutout = cut_out(png(pixels), remove="auto", remover=FixedMask(mask))
    assert np.all(cutout.rgba[disc(radius=15), :3] == (10, 90, 200))


def test_a_stray_pixel_of_the_callers_cutout_is_dropped() -> None:
    cases = Path(__file__).parent / "cases"
    stray = cut_out((cases / "cut-stray-pixel.png").read_bytes(), remove="auto", remover=None)
    clean = cut_out((cases / "cut-clean.png").read_bytes(), remove="auto", remover=None)
    assert np.array_equal(stray.alpha, clean.alpha)


def test_one_colour_shows_nothing_whatever_its_alpha() -> None:
    blank = (Path(__file__).parent / "cases" / "blank-alpha254.png").read_bytes()
    with pytest.raises(NoForeground, match="one colour"):
        cut_out(blank, remove="never", remover=None)


def test_a_small_cutout_of_the_caller_in_a_wide_canvas_is_kept() -> None:
    small = (Path(__file__).parent / "cases" / "cut-small-in-big.png").read_bytes()
    assert cut_out(small, remove="auto", remover=None).foreground_share < 0.01


def greys(is_inside: np.ndarray) -> bytes:
    """A mask as a file: white for the object."""
    return png(opaque(is_inside))


def test_the_callers_mask_takes_the_removers_place() -> None:
    remover = FixedMask(opaque(disc(radius=5)))
    cutout = cut_out(png(scene()), remove="auto", remover=remover, mask=greys(disc(radius=20)))
    assert remover.seen == []
    assert np.array_equal(cutout.alpha, opaque(disc(radius=20)))
    assert cutout.facts is not None
    assert cutout.facts.source == "mask"


def test_a_mask_with_an_alpha_channel_counts_by_it() -> None:
    mask = np.dstack([np.zeros((100, 100, 3), np.uint8), opaque(disc())])
    cutout = cut_out(png(scene()), remove="never", remover=None, mask=png(mask))
    assert np.array_equal(cutout.alpha, opaque(disc()))


def test_a_mask_that_is_opaque_all_over_counts_by_its_brightness() -> None:
    grey = opaque(disc())
    mask = np.dstack([grey, grey, grey, np.full((100, 100), 255, np.uint8)])
    cutout = cut_out(png(scene()), remove="never", remover=None, mask=png(mask))
    assert np.array_equal(cutout.alpha, opaque(disc()))


def test_a_mask_hides_within_the_pictures_own_alpha_and_loses_its_islands() -> None:
    own = disc(radius=25)
    mask = disc(radius=25, centre=(50, 40)) | disc(radius=2, centre=(5, 95))
    cutout = cut_out(png(with_alpha(opaque(own))), remove="auto", remover=None, mask=greys(mask))
    assert np.array_equal(cutout.alpha > 0, own & disc(radius=25, centre=(50, 40)))
    assert cutout.facts is not None
    assert cutout.facts.parts_dropped == 1


@pytest.mark.parametrize("size", [(50, 50), (200, 200), (201, 200)])
def test_a_mask_of_another_size_and_the_same_proportion_is_scaled(size: tuple[int, int]) -> None:
    file = io.BytesIO()
    Image.fromarray(opaque(disc())).resize(size).save(file, "PNG")
    cutout = cut_out(png(scene()), remove="auto", remover=None, mask=file.getvalue())
    assert np.mean((cutout.alpha >= 128) != disc()) < 0.01


def test_a_mask_that_does_not_fit_or_shows_nothing_is_a_typed_failure() -> None:
    with pytest.raises(MaskUnusable, match="100 x 60 and the picture 100 x 100"):
        cut_out(png(scene()), remove="auto", remover=None, mask=greys(disc()[:60]))
    with pytest.raises(MaskUnusable, match="shows nothing"):
        cut_out(png(scene()), remove="auto", remover=None, mask=greys(np.zeros((100, 100), bool)))
    with pytest.raises(UnreadableImage, match=r"^The mask: "):
        cut_out(png(scene()), remove="auto", remover=None, mask=b"\x89PNG\r\n\x1a\nno more")


def test_a_published_masks_picture_and_mask_go_together() -> None:
    """scikit-image's horse: a silhouette that nobody here drew, black on white, inverted as editors do it."""
    silhouette = ~skimage.data.horse()
    picture = np.where(silhouette[..., None], (90, 60, 30), (200, 220, 240)).astype(np.uint8)
    cutout = cut_out(png(picture), remove="auto", remover=None, mask=greys(silhouette))
    assert cutout.foreground_share == pytest.approx(silhouette.mean(), abs=0.001)
    assert cutout.facts is not None
    assert cutout.facts.warnings == ()


def test_a_see_through_object_becomes_solid_and_is_said_to_be_soft() -> None:
    cutout = cut_out(png(with_alpha(np.where(disc(), 110, 0))), remove="auto", remover=None)
    assert np.array_equal(cutout.alpha, opaque(disc()))
    assert cutout.facts is not None
    assert cutout.facts.warnings == ("small", "soft")


def test_glass_keeps_its_gradation_and_a_stray_solid_pixel_does_not_matter() -> None:
    alpha = np.where(disc(), np.where(disc(radius=15), 50, 100), 0)
    alpha[50, 50] = 255
    cutout = cut_out(png(with_alpha(alpha)), remove="auto", remover=None)
    assert set(np.unique(cutout.alpha)) == {0, 127, 255}


def test_a_veil_over_the_whole_picture_does_not_hide_the_object() -> None:
    veiled = with_alpha(np.full((100, 100), 90))
    cutout = cut_out(png(veiled), remove="auto", remover=FixedMask(opaque(disc())))
    assert np.array_equal(cutout.alpha, opaque(disc()))


def test_the_matting_model_runs_on_as_many_threads_as_are_set() -> None:
    remover = BackgroundRemover("tiny", MATTING_HOME, num_threads=3)
    remover.load()
    options = remover._session.inner_session.get_session_options()
    assert options.intra_op_num_threads == 3


def test_a_solid_island_beside_glass_does_not_make_the_glass_nothing() -> None:
    alpha = np.where(disc(radius=30), 40, 0)
    alpha[2:6, 2:6] = 255
    cutout = cut_out(png(with_alpha(alpha)), remove="auto", remover=None)
    assert np.array_equal(cutout.alpha, opaque(disc(radius=30)))


def test_a_cutout_of_too_few_pixels_is_refused_with_their_number() -> None:
    alpha = np.zeros((2000, 2000), np.uint8)
    alpha[900:920, 900:930] = 255
    picture = np.dstack([np.full((2000, 2000, 3), (9, 99, 200), np.uint8), alpha])
    picture[905, :, :3] = 0
    with pytest.raises(NoForeground, match=r"600 of 4,000,000 pixels .* 4,096 pixels"):
        cut_out(png(picture), remove="auto", remover=None)
