"""From a field to its mesh, in as little memory as it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.fields import BOX, LEVEL, field_of
from torch import Tensor

from hy3dgen.errors import EmptyMesh, GpuOutOfMemory
from hy3dgen.field.decode import LEAST_CELLS_PER_BLOCK, Decoded, Search, decode_mesh
from hy3dgen.field.decode_options import DecodeOptions
from hy3dgen.field.field_query import MIN_POINTS_PER_CALL

SEARCH = Search(BOX, 64, LEVEL, DecodeOptions())
CPU = torch.device("cpu")


def with_room_for(points: int) -> Callable[[Tensor], Tensor]:
    inner = field_of("torus")

    def query(asked: Tensor) -> Tensor:
        if len(asked) > points:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return inner(asked)

    return query


def decoded(query: Callable[[Tensor], Tensor], lowered: list[str], search: Search = SEARCH) -> Decoded:
    return decode_mesh(query, search, CPU, on_lowered=lowered.append)


def test_a_torus_is_closed_has_its_genus_and_is_reported() -> None:
    lowered: list[str] = []
    found = decoded(field_of("torus"), lowered)
    mesh = found.mesh
    edges = 3 * len(mesh.faces) // 2
    assert mesh.is_closed
    assert len(mesh.vertices) - edges + len(mesh.faces) == 0
    assert found.report.levels[-1].resolution == (64, 64, 64)
    assert lowered == []


def test_levels_are_told_in_order() -> None:
    told: list[tuple[int, int]] = []
    decode_mesh(
        field_of("torus"), SEARCH, CPU, on_level=lambda step: told.append((step.depth, step.num_depths))
    )
    assert told == [(depth, told[-1][1]) for depth in range(1, len(told) + 1)]


def test_a_call_that_does_not_fit_is_halved_and_told_and_the_mesh_is_the_same() -> None:
    lowered: list[str] = []
    expected, found = decoded(field_of("torus"), []), decoded(with_room_for(4000), lowered)
    assert lowered == ["num_chunks 4000"]
    assert np.array_equal(found.mesh.vertices, expected.mesh.vertices)


def test_where_nothing_fits_the_smallest_form_was_tried() -> None:
    lowered: list[str] = []
    with pytest.raises(GpuOutOfMemory):
        decoded(with_room_for(0), lowered)
    assert lowered == [
        f"octree in blocks of {LEAST_CELLS_PER_BLOCK} cells, {MIN_POINTS_PER_CALL} points a call"
    ]


@pytest.mark.parametrize("iso", [1e3, -1e3])
def test_a_field_that_never_crosses_is_an_empty_mesh(iso: float) -> None:
    with pytest.raises(EmptyMesh):
        decoded(field_of("torus"), [], replace(SEARCH, iso=iso))
