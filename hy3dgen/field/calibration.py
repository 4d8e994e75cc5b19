"""How fast the field changes at its surface and how far from it the field saturates, measured by a small probe.

Both say what a lattice of a given spacing can overlook. Knows no networks; off-lattice points only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torch.nn import functional

from hy3dgen.field.constants import constant
from hy3dgen.field.field_query import FieldMemory, FieldQuery
from hy3dgen.field.lattice import Lattice
from hy3dgen.field.marching_cubes_table import EDGES, code_table, edge_corners

MAX_POINTS = 200
PARTS_PER_EDGE = 15
POINTS_PER_RAY = 32
RAY_CELLS = 2.0
SLOPE_STEP_CELLS = 1 / 32
SATURATED_SHARE = 0.95
STEEPNESS_QUANTILE = 0.95
DISTANCE_QUANTILE = 0.25
PLATEAU_QUANTILE = 0.75
"""The median of the upper half."""

SEED = 0


@dataclass(frozen=True)
class Calibration:
    """`steepness` in logits per model unit, `saturation_distance` in model units."""

    steepness: float
    saturation_distance: float


def saturated_value(logits: Float[Tensor, " n"], iso: float) -> float:
    """The distance from `iso` at which a logit counts as saturated, judged by logits all over the box."""
    rank = 1 + int(PLATEAU_QUANTILE * (len(logits) - 1))
    return SATURATED_SHARE * float((logits - iso).abs().kthvalue(rank).values)


def calibrate(
    query: FieldQuery, lattice: Lattice, points: Float[Tensor, "m 3"], *, iso: float, saturated: float
) -> Calibration:
    """Measures the field round points on its surface, or as near to it as any are known.

    Asks 6 points round each for the slope and 32 on the way out, in two calls. Points that lie off the surface make
    the distance come out too small, on the careful side.
    """
    slope = _gradient(query, points, SLOPE_STEP_CELLS * lattice.stride * min(lattice.grid.spacing))
    steepness = slope.norm(dim=-1)
    outward = -slope / steepness.clamp_min(1e-12)[:, None]
    distance = _saturation_distance(query, lattice, points, outward, iso, saturated)
    return Calibration(
        steepness=float(steepness.quantile(STEEPNESS_QUANTILE)),
        saturation_distance=float(distance.quantile(DISTANCE_QUANTILE)),
    )


def crossings(
    memory: FieldMemory, lattice: Lattice, cells: Int64[Tensor, " n"], codes: UInt8[Tensor, " n"], iso: float
) -> Float[Tensor, "m 3"]:
    """Up to `MAX_POINTS` points where the field crosses `iso`, on edges of active cells.

    Asks 14 points inside each edge, none of which lies on a finer lattice, and interpolates at the first sign change.
    """
    ends = _crossed_edges(lattice, cells, codes)
    start, end = (lattice.grid.coordinates(keys) for keys in ends.unbind(-1))
    shares = torch.arange(1, PARTS_PER_EDGE, device=cells.device) / PARTS_PER_EDGE
    inner = torch.lerp(start[:, None], end[:, None], shares[:, None])
    known = memory.read(ends)
    asked = memory.query(inner.flatten(0, 1)).view(len(start), -1)
    values = torch.cat([known[:, :1], asked, known[:, 1:]], dim=1) - iso
    before = ((values[:, 1:] > 0) != (values[:, :-1] > 0)).int().argmax(dim=-1, keepdim=True)
    low, high = values.gather(1, before), values.gather(1, before + 1)
    return torch.lerp(start, end, (before + low / (low - high)) / PARTS_PER_EDGE)


def _crossed_edges(
    lattice: Lattice, cells: Int64[Tensor, " n"], codes: UInt8[Tensor, " n"]
) -> Int64[Tensor, "m 2"]:
    """The ends of one crossed edge in each of some cells, drawn with a fixed seed on the CPU: the same everywhere."""
    generator = torch.Generator().manual_seed(SEED)
    drawn = torch.randperm(len(cells), generator=generator)[:MAX_POINTS].to(cells.device)
    weights = torch.rand(len(drawn), len(EDGES), generator=generator).to(cells.device)
    crossed = constant(code_table().crossed_edges, torch.bool, cells.device)[codes[drawn].long()]
    edge = (weights + crossed).argmax(dim=-1)
    ends = tuple(edge_corners(number) for number in range(len(EDGES)))
    corners = constant(ends, torch.int64, cells.device)[edge]
    return lattice.corner_keys(cells[drawn]).gather(1, corners)


def _gradient(query: FieldQuery, points: Float[Tensor, "m 3"], step: float) -> Float[Tensor, "m 3"]:
    """Central differences, in logits per model unit."""
    offsets = step * torch.eye(3, device=points.device)
    sides = torch.stack([points[:, None] + offsets, points[:, None] - offsets])
    above, below = query(sides.flatten(0, 2)).view(2, -1, 3)
    return (above - below) / (2 * step)


def _saturation_distance(
    query: FieldQuery,
    lattice: Lattice,
    points: Float[Tensor, "m 3"],
    outward: Float[Tensor, "m 3"],
    iso: float,
    saturated: float,
) -> Float[Tensor, " m"]:
    """How far along `outward` the field first saturates; the ray's length where it does not, its end at the box."""
    length = RAY_CELLS * lattice.half_diagonal * 2 / 3**0.5
    step = length / POINTS_PER_RAY
    distances = step * torch.arange(1, POINTS_PER_RAY + 1, device=points.device)
    rays = points[:, None] + distances[:, None] * outward[:, None]
    box = lattice.grid.box
    lower, upper = (constant(corner, points.dtype, points.device) for corner in (box.lower, box.upper))
    inside = rays.clamp(lower, upper)
    values = (query(inside.flatten(0, 1)).view(len(points), -1) - iso).abs()
    # Beyond the box nothing is asked: taking it as saturated errs on the careful side.
    values = values.where((inside == rays).all(dim=-1), saturated)
    values = functional.pad(functional.pad(values, (1, 0)), (0, 1), value=saturated)
    first = (values >= saturated).int().argmax(dim=-1, keepdim=True)
    before, after = values.gather(1, first - 1), values.gather(1, first)
    share = ((saturated - before) / (after - before).clamp_min(1e-12)).clamp(0, 1)
    return (step * (first - 1 + share)).squeeze(1).clamp_max(length)
