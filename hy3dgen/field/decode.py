"""A field -> its surface as a mesh, in as little memory as it takes: the octree, then the marching cubes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from hy3dgen.errors import EmptyMesh
from hy3dgen.field.decode_options import DecodeOptions, OnLevel
from hy3dgen.field.field_query import MIN_POINTS_PER_CALL, Query, cells_that_fit
from hy3dgen.field.geometry import Box, Mesh
from hy3dgen.field.marching_cubes import extract_surface
from hy3dgen.field.octree import decode_field
from hy3dgen.field.sparse_field import DecodeReport
from hy3dgen.runtime.out_of_memory import OnLowered, first_that_fits, ignore_lowered

LEAST_CELLS_PER_BLOCK = 2**12


@dataclass(frozen=True, eq=False)
class Decoded:
    """A surface, and how it was found."""

    mesh: Mesh
    report: DecodeReport


@dataclass(frozen=True)
class Search:
    """Where and how to look for the surface: `resolution` cells per axis over `box`, where the field equals `iso`."""

    box: Box
    resolution: int
    iso: float
    options: DecodeOptions


def decode_mesh(
    query: Query,
    search: Search,
    device: torch.device,
    *,
    on_level: OnLevel | None = None,
    on_lowered: OnLowered = ignore_lowered,
) -> Decoded:
    """The closed surface of the field, vertices in model units.

    `on_level` hears of each finished octree level and may raise to stop; `on_lowered` hears what was lowered where
    the device ran out of memory: the mesh stays the same.

    Raises:
        EmptyMesh: the field does not cross `search.iso` inside the box.
        GpuOutOfMemory: not even the smallest call fits the device.
    """

    def decode_with(options: DecodeOptions) -> Decoded:
        field = decode_field(
            query,
            search.box,
            search.resolution,
            iso=search.iso,
            options=options,
            device=device,
            on_level=on_level,
        )
        return Decoded(
            extract_surface(field, options.cells_per_block or cells_that_fit(device)), field.report
        )

    least = _least(search.options)
    lowers = f"octree in blocks of {least.cells_per_block} cells, {least.max_points_per_call} points a call"
    found = first_that_fits(
        [(None, lambda: decode_with(search.options)), (lowers, lambda: decode_with(least))], on_lowered
    )
    if found.report.num_halvings > 0:
        on_lowered(f"num_chunks {found.report.points_per_call}")
    if found.mesh.is_empty:
        raise EmptyMesh("the field does not cross the level inside the box: the shape is empty or fills it")
    return found


def _least(wished: DecodeOptions) -> DecodeOptions:
    """The options that take the least memory."""
    return replace(
        wished,
        max_points_per_call=min(wished.max_points_per_call, MIN_POINTS_PER_CALL),
        cells_per_block=LEAST_CELLS_PER_BLOCK,
    )
