"""The ripple of a ball is what is left besides its place, its size and its proportions."""

import numpy as np
import pytest

from training.evaluate_ripple import unevenness


def directions(count: int = 20_000) -> np.ndarray:
    towards = np.random.default_rng(0).normal(size=(count, 3))
    return towards / np.linalg.norm(towards, axis=1, keepdims=True)


def test_a_moved_ball_has_none() -> None:
    found = unevenness(0.7 * directions() + (0.1, -0.2, 0.05))
    assert found.off_ball == pytest.approx(0, abs=1e-9)
    assert found.ripple == pytest.approx(0, abs=1e-9)


def test_waves_are_found_in_percent_of_the_radius() -> None:
    towards = directions()
    waves = np.sqrt(2) * 0.01 * np.sin(25 * towards[:, 0])
    found = unevenness(0.5 * towards * (1 + waves)[:, None])
    assert found.ripple == pytest.approx(1.0, abs=0.03)


def test_a_stretched_ball_is_off_a_ball_and_has_little_ripple() -> None:
    found = unevenness(directions() * (1.0, 1.0, 1.04))
    assert found.off_ball > 1
    assert found.ripple < 0.05
