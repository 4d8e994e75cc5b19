from __future__ import annotations

import numpy as np

from ai_engine.mesh_files import text_rows as mesh_text


def test_numbers_keep_every_bit_as_text() -> None:
    values = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    lines = b"".join(mesh_text.rows_as_text(values, "%.9g %.9g %.9g\n")).split()
    assert np.array_equal(np.asarray(lines, np.float32).reshape(-1, 3), values)
