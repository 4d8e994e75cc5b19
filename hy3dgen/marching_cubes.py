"""Turns a sparse field into a closed mesh, cell by cell, on the device where the field is. Asks nothing.

Each crossed lattice edge gives one vertex, shared by the cells around it; the table gives each cell's triangles. The
order of vertices and faces follows the lattice, so the same field gives the same mesh, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor

from hy3dgen.geometry import Mesh
from hy3dgen.lattice import AXIS_UNITS, unpack
from hy3dgen.marching_cubes_table import EDGES, code_table
from hy3dgen.sparse_field import SparseField

CELLS_PER_BLOCK = 2**17
"""Cells handled at once: small enough that most of it stays in the processor's cache."""


def extract_surface(field: SparseField, cells_per_block: int = CELLS_PER_BLOCK) -> Mesh:
    """The surface where the field equals its level, in model units, wound so that normals point outside.

    Closed except where it leaves the box. A field without cells gives an empty mesh.
    """
    edges = triangle_edges(field, cells_per_block)
    crossed, faces = numbered(edges, num_edges=3 * len(field.keys))
    vertices = field.grid.world(edge_crossings(field, crossed))
    return Mesh(vertices.cpu().numpy(), faces.cpu().numpy())


def triangle_edges(
    field: SparseField, cells_per_block: int = CELLS_PER_BLOCK
) -> Int64[Tensor, "triangles 3"]:
    """The three lattice edges of each triangle; an edge's number is 3 * its lower point + its axis."""
    table = triangle_table(field.codes.device)
    parts = [torch.empty((0, 3), dtype=torch.int64, device=field.codes.device)]
    blocks = zip(field.cells.split(cells_per_block), field.codes.split(cells_per_block), strict=True)
    for cells, block_codes in blocks:
        codes = block_codes.long()
        row, nth = table.exists[codes].nonzero(as_tuple=True)
        code = codes[row]
        points = field.columns(cells)[row[:, None], table.column[code, nth]]
        parts.append(3 * points + table.step[code, nth])
    return torch.cat(parts)


def numbered(
    edges: Int64[Tensor, "triangles 3"], num_edges: int
) -> tuple[Int64[Tensor, " vertices"], Int32[Tensor, "triangles 3"]]:
    """The distinct edges in order, and the triangles as places among them."""
    is_crossed = torch.zeros(num_edges, dtype=torch.bool, device=edges.device)
    is_crossed[edges.flatten()] = True
    place = is_crossed.cumsum(0, dtype=torch.int32) - 1
    return is_crossed.nonzero().squeeze(1), place[edges]


def edge_crossings(field: SparseField, edges: Int64[Tensor, " n"]) -> Float[Tensor, "n 3"]:
    """Where the field crosses its level on each edge, linear between the ends: float64, in finest-cell units."""
    point, axis = edges // 3, edges % 3
    units = torch.tensor(AXIS_UNITS, device=edges.device)
    far = torch.searchsorted(field.keys, field.keys[point] + units[axis])
    near_value = field.logits[point].double() - field.level
    far_value = field.logits[far].double() - field.level
    positions = unpack(field.keys[point]).double()
    share = near_value / (near_value - far_value)
    return positions.scatter_add(1, axis[:, None], share[:, None])


@dataclass(frozen=True)
class TriangleTable:
    """The triangles of each code: which exist, and the edge at each corner of them.

    An edge starts in one of a cell's four columns of points, and its number is `step` = 3 * (is it at the upper end?)
    + axis further on than 3 * the column's lower point.
    """

    exists: Bool[Tensor, "256 most"]
    column: Int64[Tensor, "256 most 3"]
    step: Int64[Tensor, "256 most 3"]


@cache
def triangle_table(device: torch.device) -> TriangleTable:
    """The derived table as tensors, rows filled up to the longest."""
    rows = code_table().triangles
    counts = torch.tensor([len(row) for row in rows])
    exists = torch.arange(int(counts.max())) < counts[:, None]
    edges = torch.zeros(*exists.shape, 3, dtype=torch.int64)
    edges[exists] = torch.tensor([triangle for row in rows for triangle in row])
    owner, axis = torch.tensor(EDGES).unbind(-1)
    column, step = (owner % 4)[edges], (3 * (owner // 4) + axis)[edges]
    return TriangleTable(exists.to(device), column.to(device), step.to(device))
