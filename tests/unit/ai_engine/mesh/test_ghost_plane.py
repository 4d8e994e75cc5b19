"""Floors, walls and sheets that nobody drew are found; plates, trays and tables that belong to the object are not."""

from __future__ import annotations

import numpy as np
import pytest
from support.solid_shapes import cube, joined, sphere

from ai_engine.mesh.clean import clean
from ai_engine.mesh.ghost_plane import Outline, find_ghost_plane, outline_of
from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh.surface import spread

BOX = 1.01
FLOOR = ((2.0, 0.05, 2.0), (0.0, -0.62, 0.0))
WALL = ((2.0, 2.0, 0.05), (0.0, 0.0, -0.62))


def box(sides: tuple[float, float, float], centre: tuple[float, float, float] = (0, 0, 0)) -> Mesh:
    return Mesh(
        cube(1).vertices * np.asarray(sides, np.float32) + np.asarray(centre, np.float32), cube().faces
    )


def one(*bodies: Mesh) -> Mesh:
    return clean(joined(*bodies))[0]


def drawn(mesh: Mesh, *, azimuth: float = 0.2, elevation: float = 0.3) -> Outline:
    """The outline of `mesh` as a camera a little beside and above it sees it."""
    x, y, z = spread(mesh, 20_000).points.T
    across = x * np.cos(azimuth) - z * np.sin(azimuth)
    towards = x * np.sin(azimuth) + z * np.cos(azimuth)
    return outline_of(np.stack([across, y * np.cos(elevation) - towards * np.sin(elevation)], axis=1))


def ball() -> Mesh:
    return sphere(24, 0.6)


def chair() -> Mesh:
    legs = [box((0.1, 0.95, 0.1), (x, -0.47, z)) for x in (-0.45, 0.45) for z in (-0.45, 0.45)]
    return one(box((1.0, 0.1, 1.0)), box((1.0, 1.0, 0.1), (0, 0.5, -0.45)), *legs)


def table() -> Mesh:
    legs = [box((0.1, 1.2, 0.1), (x, 0.0, z)) for x in (-0.8, 0.8) for z in (-0.8, 0.8)]
    return one(box((2.0, 0.1, 2.0), (0, 0.6, 0)), *legs)


def tray() -> Mesh:
    rims = [box((0.1, 0.5, 2.0), (x, 0, 0)) for x in (-0.95, 0.95)]
    rims += [box((2.0, 0.5, 0.1), (0, 0, z)) for z in (-0.95, 0.95)]
    return one(box((2.0, 0.1, 2.0), (0, -0.25, 0)), *rims)


@pytest.mark.parametrize(
    ("mesh", "shown", "kind"),
    [
        (one(ball(), box(*FLOOR)), ball(), "floor"),
        (one(ball(), box(*WALL)), ball(), "wall"),
        (joined(ball(), box((2.0, 0.05, 2.0), (0, -0.9, 0))), ball(), "sheet"),
        (one(chair(), box((2.0, 0.05, 2.0), (0, -0.95, 0))), chair(), "floor"),
        (one(box((1.8, 0.8, 1.2)), box((2.0, 0.05, 2.0), (0, -0.42, 0))), box((1.8, 0.8, 1.2)), "floor"),
    ],
)
def test_a_sheet_that_the_picture_does_not_show_is_found(mesh: Mesh, shown: Mesh, kind: str) -> None:
    assert find_ghost_plane(mesh, outline=lambda: drawn(shown), half_extent=BOX) == kind
    assert find_ghost_plane(mesh, half_extent=BOX) == kind


@pytest.mark.parametrize("mesh", [one(ball(), box(*FLOOR)), one(ball(), box(*WALL))])
def test_a_plate_that_the_picture_shows_belongs_to_the_object(mesh: Mesh) -> None:
    assert find_ghost_plane(mesh, outline=lambda: drawn(mesh), half_extent=BOX) is None


@pytest.mark.parametrize(
    "mesh",
    [
        *(ball(), cube(), table(), tray(), chair()),
        box((2.0, 2.0, 0.05)),  # a tile
        one(box((0.5, 1.8, 0.5)), box((1.0, 0.1, 1.0), (0, -0.95, 0))),  # a figure on its plinth
        Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)),
    ],
)
def test_flat_parts_of_usual_objects_are_no_ghost(mesh: Mesh) -> None:
    assert find_ghost_plane(mesh, half_extent=BOX) is None


def test_a_tilted_sheet_beside_the_object_is_found() -> None:
    angle = 0.5
    tilt = np.asarray([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    sheet = box((2.0, 0.04, 2.0))
    tilted = Mesh((sheet.vertices @ tilt.T - [0, 1.2, 0]).astype(np.float32), sheet.faces)
    assert find_ghost_plane(joined(ball(), tilted), outline=lambda: drawn(ball()), half_extent=BOX) == "sheet"


def test_an_outline_is_as_large_as_its_square_and_keeps_its_aspect() -> None:
    outline = outline_of(np.random.default_rng(0).uniform([0, 0], [4, 1], (20_000, 2)))
    rows, columns = np.nonzero(outline)
    assert np.ptp(columns) + 1 == 48
    assert np.ptp(rows) + 1 == pytest.approx(12, abs=1)
    assert abs(rows.mean() - 23.5) < 1


def test_the_picture_is_looked_at_only_where_there_is_a_sheet_to_judge() -> None:
    def unasked() -> Outline:
        raise AssertionError("no sheet, and the picture was asked for")

    assert find_ghost_plane(joined(ball(), cube(0.5, (0, 0.9, 0))), outline=unasked, half_extent=BOX) is None
