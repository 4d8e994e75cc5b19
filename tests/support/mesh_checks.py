"""What a mesh out of marching cubes must satisfy, and how two of them compare."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hy3dgen.field import marching_cubes_table as table
from hy3dgen.field.geometry import Box, Mesh
from hy3dgen.field.lattice import unpack
from hy3dgen.field.marching_cubes import edge_crossings, number_edges, triangle_edges
from hy3dgen.field.sparse_field import SparseField
from support.dense_twin import DenseField

Lines = NDArray[np.int64]


def directed_edges(faces: NDArray[np.int32]) -> Lines:
    start = faces.astype(np.int64)
    return np.stack([start, np.roll(start, -1, axis=1)], axis=-1).reshape(-1, 2)


def rows_as_keys(rows: NDArray[np.generic]) -> NDArray[np.void]:
    """Each row as one comparable value, bit for bit."""
    rows = np.ascontiguousarray(rows)
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()


def open_edges(mesh: Mesh) -> Lines:
    """The directed edges whose opposite no face has; fails when a directed edge is used twice."""
    edges = directed_edges(mesh.faces)
    keys = rows_as_keys(edges)
    assert len(np.unique(keys)) == len(keys), "two faces use an edge in the same direction"
    return edges[~np.isin(keys, rows_as_keys(edges[:, ::-1]))]


def assert_open_only_at(box: Box, mesh: Mesh) -> None:
    """Every open edge lies in a face of the box."""
    ends = mesh.vertices[open_edges(mesh)]
    sides = np.asarray([box.lower, box.upper], np.float32)
    in_side = np.abs(ends[:, :, None, :] - sides).max(axis=1) < 1e-6
    assert in_side.any(axis=(1, 2)).all()


def assert_same_cells(field: SparseField, dense: DenseField) -> None:
    """The same active cells, codes and, bit for bit, corner values."""
    codes = dense.codes(field.iso)
    active = ((codes != 0) & (codes != 255)).nonzero()
    assert torch.equal(unpack(field.cell_keys()), active)
    assert torch.equal(field.codes, codes[tuple(active.T)])
    assert torch.equal(field.logits, dense.values[tuple(unpack(field.keys).T)])


def assert_same_surface(field: SparseField, dense: DenseField) -> None:
    """Bit-equal vertices on lattice edges, and equal faces outside ambiguous cells, as scikit-image draws them.

    A face is compared by the outline of its cell's polygon: how a polygon is cut into triangles is free.
    """
    crossed, numbered_faces = number_edges(triangle_edges(field), 3 * len(field.keys))
    ours = rows_as_keys(edge_crossings(field, crossed).float().numpy())
    vertices, their_faces = dense.lattice_mesh(field.iso)
    theirs = rows_as_keys(vertices)
    on_edge = (vertices == np.floor(vertices)).sum(axis=1) >= 2
    assert np.array_equal(np.unique(ours), np.unique(theirs[on_edge]))

    order = ours.argsort()
    same = order[np.searchsorted(ours[order], theirs).clip(max=len(ours) - 1)]
    # Two vertices may round to one position: the cells round them can't be told apart, and are left out.
    _, place, counts = np.unique(ours, return_inverse=True, return_counts=True)
    is_single = (counts == 1)[place]
    is_known = ((ours[same] == theirs) & is_single[same])[their_faces].all(axis=1)
    edges, our_faces = _doubled_edges(field, crossed), numbered_faces.numpy()
    is_compared = ~is_ambiguous()[dense.codes(field.iso).numpy()]
    is_compared[tuple(_cells(edges, our_faces[~is_single[our_faces].all(axis=1)]).T)] = False
    drawn, expected = (
        _outlines(edges, faces, is_compared) for faces in (our_faces, same[their_faces[is_known]])
    )
    assert np.array_equal(drawn, expected)


def _doubled_edges(field: SparseField, crossed: Tensor) -> NDArray[np.int64]:
    """The middle of each lattice edge, times two, so that it is a triple of integers."""
    point, axis = unpack(field.keys[crossed // 3]).numpy(), (crossed % 3).numpy()
    return 2 * point + np.eye(3, dtype=np.int64)[axis]


def _cells(edges: NDArray[np.int64], faces: NDArray[np.integer]) -> NDArray[np.int64]:
    """The cell that each face lies in: the one whose edges its corners are on."""
    ends = edges[faces]
    return (ends.min(axis=1) + ends.max(axis=1)) // 4


def _outlines(
    edges: NDArray[np.int64], faces: NDArray[np.integer], is_compared: NDArray[np.bool_]
) -> NDArray[np.void]:
    """The outlines of the chosen cells, sorted: cell, first vertex, second vertex."""
    cell = _cells(edges, faces)
    is_chosen = is_compared[tuple(cell.T)]
    number = np.ravel_multi_index(tuple(cell[is_chosen].T), is_compared.shape).repeat(3)
    lines = directed_edges(faces[is_chosen])
    forward = rows_as_keys(np.column_stack([number, lines]))
    backward = rows_as_keys(np.column_stack([number, lines[:, ::-1]]))
    return np.sort(forward[~np.isin(forward, backward)])


@cache
def is_ambiguous() -> NDArray[np.bool_]:
    """For each code: whether the signs at the corners leave more than one way to draw the surface."""
    return np.array([len(table.loops_of(code)) != 1 or _has_checkered_face(code) for code in range(256)])


def _has_checkered_face(code: int) -> bool:
    signs = ([code >> corner & 1 for corner in table.face_corners(face)] for face in range(6))
    return any(sign[0] == sign[2] != sign[1] == sign[3] for sign in signs)


def on_lattice(values: Tensor, box: Box) -> Callable[[Tensor], Tensor]:
    """The field that has `values` [x, y, z] at the points of a lattice over `box`."""
    cells = torch.tensor(values.shape) - 1

    def query(points: Tensor) -> Tensor:
        share = (points.double() - torch.tensor(box.lower)) / torch.tensor(box.extent)
        x, y, z = (share * cells).round().long().clamp_(min=torch.zeros(3).long(), max=cells).unbind(-1)
        return values[x, y, z]

    return query
