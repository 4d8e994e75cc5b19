from __future__ import annotations

import numpy as np
import pytest

from ai_engine.mesh.mesh import Mesh


def test_a_face_that_names_a_missing_vertex_is_no_mesh() -> None:
    with pytest.raises(ValueError, match="there are 2"):
        Mesh(np.zeros((2, 3), np.float32), np.asarray([[0, 1, 2]], np.int32))
