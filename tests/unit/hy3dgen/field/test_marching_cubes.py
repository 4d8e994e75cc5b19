"""The table is what its rule says, and the mesh is closed, shared, outward and where the field says."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from support.dense_twin import dense_field
from support.fields import BOX, LEVEL, Field, field_of, sphere
from support.mesh_checks import assert_open_only_at, assert_same_cells, on_lattice, open_edges
from torch import Tensor

from hy3dgen.field import marching_cubes_table as table
from hy3dgen.field.decode_options import DecodeOptions
from hy3dgen.field.geometry import Box, Mesh
from hy3dgen.field.marching_cubes import extract_surface
from hy3dgen.field.octree import decode_field
from hy3dgen.field.sparse_field import SparseField

UNIT = Box((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def surface_of(values: Tensor, level: float = 0.0, box: Box = UNIT) -> Mesh:
    return extract_surface(field_of_values(values, level, box))


def field_of_values(values: Tensor, level: float, box: Box) -> SparseField:
    x, y, z = (count - 1 for count in values.shape)
    return decode_field(on_lattice(values, box), box, (x, y, z), iso=level, device="cpu")


def with_rim(values: Tensor) -> Tensor:
    """The values with a layer of outside around them."""
    return torch.nn.functional.pad(values, (1,) * 6, value=-1.0)


def lines_on(code: int, face: int) -> set[tuple[int, ...]]:
    """The lines that a code draws on a face, each edge named by the corners' place in the face."""
    axis, _ = table.FACES[face]

    def place(edge: int) -> int:
        corner, along = table.EDGES[edge]
        return (corner & ~(1 << axis)) << 2 | along

    corners = set(table.face_corners(face))
    lines = (line for loop in table.loops_of(code) for line in pairwise((*loop, loop[0])))
    inside = (line for line in lines if all(set(table.edge_corners(edge)) <= corners for edge in line))
    return {tuple(place(edge) for edge in line) for line in inside}


def test_the_table_has_820_triangles_and_at_most_five_per_cell() -> None:
    counts = [len(row) for row in table.code_table().triangles]
    assert (sum(counts), max(counts), counts[0], counts[255]) == (820, 5, 0, 0)


def test_triangles_use_exactly_the_crossed_edges() -> None:
    for row, crossed in zip(table.code_table().triangles, table.code_table().crossed_edges, strict=True):
        assert {edge for triangle in row for edge in triangle} == {
            edge for edge in range(12) if crossed[edge]
        }


def test_triangles_fill_the_loops_without_a_chord_in_a_face() -> None:
    for code, row in enumerate(table.code_table().triangles):
        directed = [edge for triangle in row for edge in pairwise((*triangle, triangle[0]))]
        outline = {edge for edge in directed if edge[::-1] not in directed}
        assert len(set(directed)) == len(directed)
        assert outline == {line for loop in table.loops_of(code) for line in pairwise((*loop, loop[0]))}
        assert not any(table.share_a_face(*chord) for chord in set(directed) - outline)


@pytest.mark.parametrize("axis", range(3))
def test_cells_that_share_a_face_draw_the_same_lines_on_it(axis: int) -> None:
    for code, other in product(range(256), repeat=2):
        upper, lower = table.FACES.index((axis, 1)), table.FACES.index((axis, 0))
        ours = [corner for corner in range(8) if corner >> axis & 1]
        if all(code >> corner & 1 == other >> (corner ^ 1 << axis) & 1 for corner in ours):
            assert lines_on(code, upper) == {line[::-1] for line in lines_on(other, lower)}


def test_every_code_gives_a_closed_outward_body_within_a_rim() -> None:
    for code in range(1, 256):
        values = torch.tensor([1.0 if code >> corner & 1 else -1.0 for corner in range(8)])
        mesh = surface_of(with_rim(values.view(2, 2, 2).permute(2, 1, 0)))
        assert mesh.is_closed, code
        assert mesh.volume > 0, code


@pytest.mark.parametrize("seed", range(3))
def test_pure_noise_is_closed_within_a_rim(seed: int) -> None:
    noise = torch.randn(24, 24, 24, generator=torch.Generator().manual_seed(seed))
    mesh = surface_of(with_rim(noise))
    assert mesh.is_closed
    assert mesh.volume > 0


def test_noise_up_to_the_box_is_open_only_there() -> None:
    noise = torch.randn(12, 14, 10, generator=torch.Generator().manual_seed(5))
    mesh = surface_of(noise)
    assert len(open_edges(mesh)) > 0
    assert_open_only_at(UNIT, mesh)


@pytest.mark.parametrize("sign", [1, -1])
def test_values_exactly_at_the_level_count_as_outside(sign: int) -> None:
    level = sign / 512
    values = torch.full((5, 5, 5), level)
    assert surface_of(values, level).is_empty
    values[2, 2, 2] = level + 1
    mesh = surface_of(values, level)
    assert mesh.is_closed
    # Each neighbour's value equals the level, so that the surface passes through the neighbours themselves.
    assert np.array_equal(np.unique(mesh.vertices), np.asarray([0.25, 0.5, 0.75], np.float32))


def test_a_level_between_two_float32_numbers_leaves_every_vertex_on_its_edge() -> None:
    at_level = torch.tensor(0.1)
    values = at_level.expand(5, 5, 5).clone()
    values[2, 2, 2] = at_level.nextafter(torch.tensor(1.0))
    mesh = surface_of(values, level=0.1)
    assert mesh.is_closed
    assert np.array_equal(np.unique(mesh.vertices), np.asarray([0.25, 0.5, 0.75], np.float32))


def test_the_level_itself_is_extracted() -> None:
    x = torch.linspace(-1, 1, 9).view(-1, 1, 1).expand(9, 9, 9)
    mesh = surface_of(-x.contiguous(), level=-1 / 512)
    assert mesh.vertices[:, 0] == pytest.approx(0.5 + 0.5 / 512, abs=1e-6)


@pytest.mark.parametrize("resolution", [128, 250])
def test_a_sphere_is_where_and_as_large_as_it_should_be(resolution: int) -> None:
    center = np.array([0.1, -0.2, 0.15])
    mesh = sphere_mesh(resolution, center, radius=0.6)
    voxel = 2.02 / resolution
    distances = np.linalg.norm(mesh.vertices - center, axis=1)
    assert np.abs(mesh.bounds.mean(axis=0) - center).max() < 0.05 * voxel
    assert np.abs(distances - 0.6).max() < 0.05 * voxel
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=1e-3)


def sphere_mesh(resolution: int, center: np.ndarray, radius: float) -> Mesh:
    x, y, z = center.tolist()
    query = Field(sphere(radius), torch.eye(3), offset=(x, y, z), ripple=0.0)
    field = decode_field(query, BOX, resolution, iso=0.0, device="cpu", options=DecodeOptions("fast"))
    return extract_surface(field)


def test_a_box_that_is_no_cube_stretches_the_cells() -> None:
    box = Box((-1.0, -0.8, -0.9), (1.1, 0.8, 0.7))
    query = field_of("solid")
    field = decode_field(query, box, (70, 45, 90), iso=LEVEL, device="cpu")
    dense = dense_field(query, box, (70, 45, 90))
    assert_same_cells(field, dense)
    mesh, twin = extract_surface(field), dense.mesh(LEVEL)
    assert mesh.is_closed
    assert mesh.bounds == pytest.approx(twin.bounds, abs=1e-6)
    assert mesh.volume == pytest.approx(twin.volume, rel=1e-3)  # Other diagonals, a hair of volume.


def test_an_empty_field_gives_an_empty_mesh() -> None:
    mesh = surface_of(torch.full((4, 4, 4), -1.0))
    assert mesh.is_empty
    assert mesh.vertices.shape == mesh.faces.shape == (0, 3)


@pytest.mark.parametrize("cells_per_block", [1, 7, 100])
def test_the_size_of_a_block_of_cells_changes_nothing(cells_per_block: int) -> None:
    noise = torch.randn(6, 7, 9, generator=torch.Generator().manual_seed(2))
    field = field_of_values(noise, level=0.0, box=UNIT)
    whole, in_blocks = extract_surface(field), extract_surface(field, cells_per_block)
    assert np.array_equal(in_blocks.vertices, whole.vertices)
    assert np.array_equal(in_blocks.faces, whole.faces)


def test_vertices_are_shared_and_all_used() -> None:
    mesh = extract_surface(decode_field(field_of("torus"), BOX, 48, iso=LEVEL, device="cpu"))
    assert np.array_equal(np.unique(mesh.faces), np.arange(len(mesh.vertices)))
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)
    assert len(mesh.vertices) - len(mesh.faces) / 2 == 0  # Euler number of a torus.


def euler_number(mesh: Mesh) -> int:
    """Vertices less edges plus faces, of a closed mesh: 2 for each body, less 2 for each hole through it."""
    assert mesh.is_closed
    return len(mesh.vertices) - len(mesh.faces) // 2


def ball(center: tuple[float, float, float], radius: float, points: Tensor) -> Tensor:
    return radius - (points - points.new_tensor(center)).norm(dim=-1)


SOLIDS: dict[str, tuple[Callable[[Tensor], Tensor], int, float]] = {
    "two balls": (
        lambda points: torch.maximum(ball((-0.5, 0.03, 0), 0.3, points), ball((0.45, 0, 0.1), 0.4, points)),
        4,
        4 / 3 * np.pi * (0.3**3 + 0.4**3),
    ),
    "a hollow ball": (
        lambda points: torch.minimum(ball((0, 0, 0), 0.8, points), -ball((0, 0.1, 0), 0.5, points)),
        4,
        4 / 3 * np.pi * (0.8**3 - 0.5**3),
    ),
    "a ring": (
        lambda points: 0.25 - torch.hypot(torch.hypot(points[:, 0], points[:, 1]) - 0.6, points[:, 2]),
        0,
        2 * np.pi**2 * 0.6 * 0.25**2,
    ),
}
"""Fields whose surfaces have a known Euler number and volume."""


@pytest.mark.parametrize("name", SOLIDS)
def test_bodies_holes_and_hollows_come_out_as_many_as_they_are(name: str) -> None:
    field, number, volume = SOLIDS[name]
    mesh = extract_surface(decode_field(field, Box.from_bounds(1.0), 80, iso=0.0, device="cpu"))
    assert euler_number(mesh) == number
    assert mesh.volume == pytest.approx(volume, rel=0.01)


def test_a_mirrored_or_turned_field_gives_the_mesh_mirrored_or_turned() -> None:
    noise = with_rim(torch.randn(6, 7, 5, generator=torch.Generator().manual_seed(8)))
    plain, mirrored = surface_of(noise), surface_of(noise.flip(0))
    turned = surface_of(noise.permute(1, 2, 0).contiguous())
    assert mirrored.volume == pytest.approx(plain.volume, rel=0.2)  # other diagonals in ambiguous cells
    for other, points in (
        (mirrored, plain.vertices * np.array([-1, 1, 1]) + np.array([1, 0, 0])),
        (turned, plain.vertices[:, [1, 2, 0]]),
    ):
        assert other.is_closed
        assert np.sort(other.vertices.round(5), axis=0) == pytest.approx(
            np.sort(points.round(5), axis=0), abs=2e-5
        )


def test_what_is_inside_and_what_is_outside_share_one_surface() -> None:
    noise = torch.randn(6, 6, 6, generator=torch.Generator().manual_seed(4))
    inside, outside = surface_of(noise), surface_of(-noise)
    assert np.array_equal(np.unique(inside.vertices, axis=0), np.unique(outside.vertices, axis=0))
