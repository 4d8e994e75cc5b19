"""Sanity checks of a decoded field (sign, range): made on every decode, reported in words, never corrected.

Random weights can't show which sign or range trained ones have. A wrong sign gives a solid box with a hole in the
shape of the object; a field of another range gives a coarse or an empty mesh.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from hy3dgen.field.geometry import Box
from hy3dgen.field.sparse_field import DecodeReport

SMALLEST, LARGEST = 1e-4, 1e4
"""Between these lies the largest value of any field that a published model is known, or said, to have."""


def field_warnings(
    query: Callable[[Tensor], Tensor], box: Box, resolution: int, report: DecodeReport, device: torch.device
) -> tuple[str, ...]:
    """What is suspicious about the field of one shape; nothing in the usual case. Asks the box's 8 corners."""
    values = query(_corners(box).to(device)[None])[0]
    found = (_sign_warning(values), _range_warning(values), _ramp_warning(box, resolution, report))
    return tuple(warning for warning in found if warning is not None)


def _corners(box: Box) -> Tensor:
    sides = zip(box.lower, box.upper, strict=True)
    return torch.tensor(list(itertools.product(*sides)), dtype=torch.float32)


def _sign_warning(values: Tensor) -> str | None:
    num_inside = int((values > 0).sum())
    if num_inside == 0:
        return None
    return (
        f"the field is positive at {num_inside} of the box's 8 corners, which should lie outside the shape: "
        "the sign of these weights may be reversed, or the shape does not fit the box"
    )


def _range_warning(values: Tensor) -> str | None:
    largest = float(values.abs().max())
    if SMALLEST <= largest <= LARGEST:
        return None
    return f"the field is {largest:.1e} at the box's corners, not between {SMALLEST:g} and {LARGEST:g}"


def _ramp_warning(box: Box, resolution: int, report: DecodeReport) -> str | None:
    """A field that saturates within one cell of its surface puts every vertex in the middle of its edge."""
    cell = max(box.extent) / resolution
    if report.saturation_distance is None or report.saturation_distance >= cell:
        return None
    return (
        f"the field saturates {report.saturation_distance:.2g} from the surface, and a cell is {cell:.2g} wide: "
        "ask for a finer octree_resolution"
    )
