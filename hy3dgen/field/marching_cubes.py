"""Turns a sparse field into a closed mesh, cell by cell, on the device where the field is. Asks nothing.

Each crossed lattice edge gives one vertex, shared by the cells around it; the table gives each cell's triangles. The
order of vertices and faces follows the lattice, so the same field gives the same mesh, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from hy3dgen.field.constants import constant
from hy3dgen.field.geometry import Mesh
from hy3dgen.field.lattice import AXIS_UNITS, CELLS_PER_BLOCK, unpack
from hy3dgen.field.marching_cubes_table import EDGES, code_table
from hy3dgen.field.sparse_field import SparseField


def extract_surface(field: SparseField, cells_per_block: int = CELLS_PER_BLOCK) -> Mesh:
    """The surface where the field equals its iso value, in model units, wound so that normals point outside.

    Closed except where it leaves the box. A field without cells gives an empty mesh.
    """
    edges = triangle_edges(field, cells_per_block)
    crossed, faces = number_edges(edges, num_edges=3 * len(field.keys))
    vertices = [field.grid.world(edge_crossings(field, part)) for part in crossed.split(cells_per_block)]
    return Mesh(torch.cat(vertices).cpu().numpy(), faces.cpu().numpy())


def triangle_edges(
    field: SparseField, cells_per_block: int = CELLS_PER_BLOCK
) -> Int64[Tensor, "triangles 3"]:
    """The three lattice edges of each triangle; an edge's number is 3 * its lower point + its axis."""
    table = triangle_table(field.codes.device)
    parts = [torch.empty((0, 3), dtype=torch.int64, device=field.codes.device)]
    blocks = zip(field.cells.split(cells_per_block), field.codes.split(cells_per_block), strict=True)
    for cells, block_codes in blocks:
        code = block_codes.int()
        # Here and below `index_select`: on a CPU it takes a third of the time of brackets.
        count = table.count.index_select(0, code)
        cell = torch.repeat_interleave(count)
        shift = table.first.index_select(0, code) + count - count.cumsum(0)
        triangle = shift.index_select(0, cell) + torch.arange(len(cell), device=cell.device)
        place = 4 * cell[:, None] + table.column.index_select(0, triangle)
        point = field.columns(cells).flatten().index_select(0, place.flatten()).view(-1, 3)
        parts.append(3 * point + table.step.index_select(0, triangle))
    return torch.cat(parts)


def number_edges(
    edges: Int64[Tensor, "triangles 3"], num_edges: int
) -> tuple[Int64[Tensor, " vertices"], Int32[Tensor, "triangles 3"]]:
    """The distinct edges in order, and the triangles as places among them."""
    corners = edges.flatten()
    is_crossed = torch.zeros(num_edges, dtype=torch.bool, device=edges.device).index_fill_(0, corners, True)
    place = is_crossed.cumsum(0, dtype=torch.int32) - 1
    return is_crossed.nonzero().squeeze(1), place.index_select(0, corners).view(-1, 3)


def edge_crossings(field: SparseField, edges: Int64[Tensor, " n"]) -> Float[Tensor, "n 3"]:
    """Where the field crosses its iso value on each edge, linear between the ends: float64, in finest-cell units."""
    point, axis = edges // 3, edges % 3
    units = constant(AXIS_UNITS, torch.int64, edges.device)
    near_keys = field.keys.index_select(0, point)
    far = torch.searchsorted(field.keys, near_keys + units.index_select(0, axis))
    near_value = field.logits.index_select(0, point).double() - field.iso
    far_value = field.logits.index_select(0, far).double() - field.iso
    share = near_value / (near_value - far_value)
    return unpack(near_keys).double().scatter_add(1, axis[:, None], share[:, None])


@dataclass(frozen=True)
class TriangleTable:
    """The triangles of all codes in one list: where each code's begin, how many they are, the edge at each corner.

    An edge starts in one of a cell's four columns of points, and its number is `step` = 3 * (is it at the upper end?)
    + axis further on than 3 * the column's lower point.
    """

    first: Int64[Tensor, " codes"]
    count: Int64[Tensor, " codes"]
    column: Int64[Tensor, "triangles 3"]
    step: Int64[Tensor, "triangles 3"]


@cache
def triangle_table(device: torch.device) -> TriangleTable:
    """The derived table as tensors."""
    rows = code_table().triangles
    count = torch.tensor([len(row) for row in rows])
    edges = torch.tensor([triangle for row in rows for triangle in row])
    owner, axis = torch.tensor(EDGES).unbind(-1)
    column, step = (owner % 4)[edges], (3 * (owner // 4) + axis)[edges]
    first = count.cumsum(0) - count
    return TriangleTable(first.to(device), count.to(device), column.to(device), step.to(device))
