from __future__ import annotations

import numpy as np
import pytest
from support.broken_meshes import cup

from ai_engine.mesh.mesh import Mesh
from ai_engine.printing.prepare import finish
from ai_engine.printing.pymeshlab_repair import repair
from ai_engine.wishes.print_options import PrintOptions


def test_meshlab_closes_what_the_fast_way_leaves_open() -> None:
    pytest.importorskip("pymeshlab", reason="pymeshlab is optional")
    _, found = finish(cup(), PrintOptions(require_printable=True))
    assert found.is_watertight
    assert found.repairs["mended_by_meshlab"] == 1


def test_a_repair_that_fails_gives_nothing_back() -> None:
    pytest.importorskip("pymeshlab", reason="pymeshlab is optional")
    assert repair(Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))) is None
