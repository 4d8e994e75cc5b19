"""The renderers that training never saw: their frame, and that a seed fixes the picture."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

pytest.importorskip("numba")

from training.evaluate import truth_mesh
from training.evaluate_unseen import picture_of
from training.held_out import REPORT_SEED, Example, examples
from training.solids import BOX, Primitive, assemble
from training.unseen_renders import STYLES, unseen_picture

CORNERS = np.array([[0.0, 0.0, 0.8], [0.8, 0.0, 0.8], [0.8, 0.8, 0.8]])
SIDE_PX = 96


def test_right_is_right_and_up_is_up() -> None:
    opaque = unseen_picture(CORNERS[None], "drawn", np.random.default_rng(0), 0.0, SIDE_PX)[..., 3] > 0
    rows, columns = np.nonzero(opaque)
    # The camera looks down by 2 to 30 degrees, which lowers what is in front of the centre.
    assert columns.min() >= SIDE_PX // 2 - 1
    assert opaque[: SIDE_PX // 2].sum() > opaque[SIDE_PX // 2 :].sum()
    assert columns[rows == rows.min()].mean() > columns[rows == rows.max()].mean() - 1


@pytest.mark.parametrize("style", STYLES)
def test_a_sphere_covers_the_disc_of_its_radius(style: str) -> None:
    example = examples(1, REPORT_SEED)[0]
    mesh = truth_mesh(example.shape)
    vertices = mesh.vertices.astype(np.float64)
    sphere = 0.9 * vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    alpha = unseen_picture(sphere[mesh.faces], style, np.random.default_rng(1), 60.0, 256)[..., 3]
    radius = np.sqrt((alpha > 0).sum() / np.pi) * 3.2 / 256
    assert radius == pytest.approx(0.9, rel=0.03)


@pytest.mark.parametrize("style", STYLES)
def test_the_number_of_an_example_fixes_its_picture(style: str) -> None:
    example = examples(1, REPORT_SEED)[0]
    first, again, other = (np.asarray(picture_of(example, style, n, 25.0)) for n in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_an_unknown_style_is_refused() -> None:
    with pytest.raises(ValueError, match="oil"):
        unseen_picture(CORNERS[None], "oil", np.random.default_rng(0), 0.0, SIDE_PX)


def test_a_steep_face_is_drawn_in_its_colour_and_not_in_lines() -> None:
    floor = np.array([[-0.8, 0.0, -0.8], [0.8, 0.0, 0.8], [0.8, 0.0, -0.8], [-0.8, 0.0, 0.8]])
    triangles = floor[[[0, 1, 2], [0, 3, 1]]]
    for seed in range(6):
        picture = unseen_picture(triangles, "drawn", np.random.default_rng(seed), 10.0, 256)
        rgb = picture[picture[..., 3] > 0][:, :3].astype(int).sum(1)
        assert (rgb == rgb.max()).mean() > 0.5


def test_a_box_is_drawn_with_a_line_where_its_faces_meet() -> None:
    shape = assemble("box", [Primitive(BOX, (1.0, 1.0, 1.0))])
    example = Example(shape, examples(1, REPORT_SEED)[0].view)
    picture = np.asarray(picture_of(example, "drawn", 3, 0.0))
    opaque = ndimage.binary_erosion(picture[..., 3] > 0, iterations=4)
    middle = picture[..., :3].sum(-1)[:, 128] * opaque[:, 128]
    assert middle[opaque[:, 128]].min() < 0.3 * middle.max()
