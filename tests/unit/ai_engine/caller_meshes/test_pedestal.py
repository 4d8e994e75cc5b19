from __future__ import annotations

import numpy as np
import pytest
from support.solid_shapes import cube

from ai_engine.caller_meshes.pedestal import make_pedestal
from ai_engine.errors import AdditionUnfit, MeshUnreadable
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import signed_volumes

BOX = Mesh(cube(1.0).vertices * np.float32(20), cube(1.0).faces)


def test_a_pedestal_is_mended_as_any_mesh_is() -> None:
    turned = Mesh(BOX.vertices, BOX.faces[:, ::-1])
    assert signed_volumes(make_pedestal(turned, "stl").corners()).sum() == pytest.approx(20**3)


def test_one_that_bounds_no_solid_is_refused() -> None:
    with pytest.raises(AdditionUnfit, match="not closed") as caught:
        make_pedestal(Mesh(BOX.vertices, BOX.faces[:2]), "3mf")
    assert caught.value.stage == "download"


def test_it_comes_in_the_formats_of_print_shops() -> None:
    with pytest.raises(MeshUnreadable, match="not as GLB"):
        make_pedestal(BOX, "glb")
