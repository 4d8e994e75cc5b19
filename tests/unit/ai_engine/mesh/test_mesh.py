from __future__ import annotations

import numpy as np
import pytest
from support.solid_shapes import sphere

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import area_vectors


def test_a_face_that_names_a_missing_vertex_is_no_mesh() -> None:
    with pytest.raises(ValueError, match="there are 2"):
        Mesh(np.zeros((2, 3), np.float32), np.asarray([[0, 1, 2]], np.int32))


def test_area_vectors_and_the_box_are_those_of_the_faces_and_vertices() -> None:
    mesh = sphere(12)

    assert np.array_equal(mesh.area_vectors, area_vectors(mesh.corners()))
    assert np.array_equal(mesh.box, (mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)))
    assert mesh.area_vectors is mesh.area_vectors
    outwards = np.einsum("na,na->n", mesh.vertex_normals, mesh.vertices)
    assert outwards.min() > 0.99
