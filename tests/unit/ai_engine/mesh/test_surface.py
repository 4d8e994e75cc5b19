from __future__ import annotations

import numpy as np
from support.solid_shapes import sphere

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import spread


def test_points_spread_evenly_lie_on_the_surface() -> None:
    points = spread(sphere(64), 2000).points
    assert np.abs(np.linalg.norm(points, axis=1) - 1).max() < 0.002
    assert np.linalg.norm(points.mean(axis=0)) < 0.05
    assert len(spread(Mesh(np.zeros((3, 3), np.float32), np.asarray([[0, 1, 2]], np.int32)), 5).points) == 0
