"""The sparse way finds the cells, values and surface of the dense one, asks little, and asks nothing twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.dense_twin import axis_points, dense_field
from support.fields import BODIES, BOX, LEVEL, Field, field_of, sphere
from support.mesh_checks import (
    assert_open_only_at,
    assert_same_cells,
    assert_same_surface,
    on_lattice,
    rows_as_keys,
)
from support.pretended_gpu import Traffic, pretended_gpu
from torch import Tensor

from hy3dgen.errors import GpuOutOfMemory, NotFinite
from hy3dgen.field.decode_options import DecodeOptions, DecodeProgress, Mode
from hy3dgen.field.field_query import MIN_POINTS_PER_CALL, cells_that_fit
from hy3dgen.field.geometry import Box
from hy3dgen.field.lattice import Grid, Lattice, coarse_lattices, pack, unpack
from hy3dgen.field.marching_cubes import extract_surface
from hy3dgen.field.marching_cubes_table import CORNERS
from hy3dgen.field.octree import SurfaceSearch, decode_field
from hy3dgen.field.sparse_field import SparseField

MAX_PROBES = 3 * 200 * (14 + 6 + 32)
CALL = 50_000
CORNER_STEPS = torch.tensor(CORNERS)

OFF_CENTRE = Box((-1.0, -0.99, -1.02), (1.03, 1.0, 1.01))
"""No lattice point of it is the origin, which calls are filled up with."""


def decode(
    query: Callable[[Tensor], Tensor],
    resolution: int | tuple[int, int, int],
    mode: Mode = "fast",
    *,
    box: Box = BOX,
    call: int = CALL,
) -> SparseField:
    options = DecodeOptions(mode, max_points_per_call=call)
    return decode_field(query, box, resolution, iso=LEVEL, device="cpu", options=options)


def assert_equal_fields(one: SparseField, other: SparseField) -> None:
    """Bit for bit, and so the meshes."""
    for name in ("keys", "logits", "cells", "codes"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    mesh, twin = extract_surface(one), extract_surface(other)
    assert np.array_equal(mesh.vertices, twin.vertices)
    assert np.array_equal(mesh.faces, twin.faces)


class Spy:
    """Remembers every point asked, without the origin that calls are filled up with."""

    def __init__(self, query: Callable[[Tensor], Tensor]) -> None:
        self.query = query
        self.calls: list[Tensor] = []

    def __call__(self, points: Tensor) -> Tensor:
        self.calls.append(points)
        return self.query(points)

    @property
    def points(self) -> Tensor:
        rows = torch.cat(self.calls)
        return rows[(rows != 0).any(dim=1)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("body", BODIES)
def test_cells_values_and_surface_are_those_of_the_dense_field(body: str, seed: int) -> None:
    assert_like_dense(body, seed, 128, ["fast"])


@pytest.mark.parametrize("body", ["plate", "thin rod", "solid"])
def test_so_they_are_in_strict_mode(body: str) -> None:
    assert_like_dense(body, 0, 128, ["strict"])


@pytest.mark.parametrize("body", ["plate", "thin rod", "70 small spheres"])
def test_so_they_are_at_resolution_256_where_parts_are_thin(body: str) -> None:
    assert_like_dense(body, 1, 256, ["fast"])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("resolution", [128, 256])
@pytest.mark.parametrize("body", BODIES)
def test_so_they_are_in_the_whole_matrix(body: str, resolution: int, seed: int) -> None:
    assert_like_dense(body, seed, resolution, ["fast", "strict"])


@pytest.mark.slow
@pytest.mark.parametrize("body", BODIES)
def test_so_they_are_at_resolution_512(body: str) -> None:
    assert_like_dense(body, 2, 512, ["fast"])


@pytest.mark.slow
def test_so_they_are_where_the_field_saturates_early() -> None:
    assert_like_dense("70 small spheres", 0, 256, ["strict"], tau=0.012)


def assert_like_dense(body: str, seed: int, resolution: int, modes: list[Mode], tau: float = 0.03) -> None:
    query = field_of(body, seed, tau)
    dense = dense_field(query, BOX, resolution)
    for mode in modes:
        field = decode(query, resolution, mode)
        assert_same_cells(field, dense)
        assert_same_surface(field, dense)
        mesh = extract_surface(field)
        assert mesh.is_closed
        assert mesh.volume > 0


def test_without_the_guard_the_plate_falls_to_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    query = field_of("plate", 0)
    guarded = decode(query, 64)
    monkeypatch.setattr(SurfaceSearch, "guard", lambda _, surface: surface)
    bare = decode(query, 64)
    assert len(bare.cells) < len(guarded.cells)
    with pytest.raises(AssertionError):
        assert_same_cells(bare, dense_field(query, BOX, 64))


@pytest.mark.parametrize("resolution", [16, 17, 37, 100, 129])
def test_the_resolution_need_not_be_a_multiple_of_anything(resolution: int) -> None:
    query = field_of("solid", 2)
    field, dense = decode(query, resolution), dense_field(query, BOX, resolution)
    assert_same_cells(field, dense)
    assert_same_surface(field, dense)


def test_a_box_may_have_any_sides_and_any_cells_along_each() -> None:
    box = Box((-1.1, -0.7, -0.9), (0.9, 0.75, 0.8))
    query = field_of("block with holes", 1)
    field, dense = decode(query, (140, 77, 96), box=box), dense_field(query, box, (140, 77, 96))
    assert field.report.coarse_resolution == (70, 39, 48)
    assert_same_cells(field, dense)
    assert_same_surface(field, dense)


@pytest.mark.parametrize("mode", ["fast", "strict"])
def test_a_surface_that_leaves_the_box_is_open_only_there(mode: Mode) -> None:
    query = Field(sphere(1.2), torch.eye(3), offset=(0.01, 0.02, 0.03))
    field, dense = decode(query, 100, mode), dense_field(query, BOX, 100)
    assert_same_cells(field, dense)
    assert_same_surface(field, dense)
    assert_open_only_at(BOX, extract_surface(field))


def test_noise_is_read_whole_and_gives_the_dense_surface() -> None:
    generator = torch.Generator().manual_seed(3)
    query = on_lattice(torch.randn(81, 81, 81, generator=generator), BOX)
    field, dense = decode(query, 80), dense_field(query, BOX, 80)
    assert_same_cells(field, dense)
    assert_open_only_at(BOX, extract_surface(field))


@pytest.mark.parametrize("cells_per_block", [1, 40 * 40 * 3, 2**17])
def test_of_a_lattice_that_is_read_whole_no_more_is_kept_than_active_cells_need(cells_per_block: int) -> None:
    body, device = field_of("torus"), torch.device("cpu")
    options = DecodeOptions(cells_per_block=cells_per_block)
    search = SurfaceSearch(body, Grid(BOX, (40, 40, 40)), LEVEL, options, device)
    field = search.run(lambda progress: None)
    active = search.memory.keys
    assert torch.equal(active, pack(unpack(field.cell_keys())[:, None] + CORNER_STEPS).unique())
    assert torch.equal(search.memory.logits, body(search.grid.coordinates(active)))
    assert field.report.num_queries == 41**3, "each point once, though slabs have planes in common"


def test_noise_costs_the_dense_queries_and_no_more() -> None:
    def noise(points: Tensor) -> Tensor:
        return (1e4 * points).sin().prod(dim=-1)

    report = decode(noise, 130).report
    assert report.used_fallback
    assert report.num_queries - report.num_probe_queries == 131**3


@pytest.mark.parametrize("value", [-1.0, 1.0, LEVEL])
def test_a_field_without_a_surface_has_no_cells(value: float) -> None:
    field = decode(lambda points: torch.full_like(points[:, 0], value), 48)
    assert len(field.cells) == len(field.keys) == 0
    assert extract_surface(field).is_empty


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same_cells() -> None:
    query = field_of("solid")
    options = DecodeOptions(max_points_per_call=CALL)

    def on_cpu(points: Tensor) -> Tensor:
        return query(points.cpu()).cuda()

    field = decode_field(on_cpu, BOX, 128, iso=LEVEL, device="cuda", options=options)
    expected = decode(query, 128, "strict")
    assert torch.equal(field.cell_keys().cpu(), expected.cell_keys())
    assert np.array_equal(extract_surface(field).faces, extract_surface(expected).faces)


@pytest.mark.parametrize("body", ["plate", "70 small spheres", "solid"])
def test_no_lattice_point_is_asked_twice_and_all_are_the_dense_ones_bit_for_bit(body: str) -> None:
    spy = Spy(field_of(body, 1))
    report = decode(spy, 120, box=OFF_CENTRE).report
    lattice = [axis.numpy() for axis in axis_points(OFF_CENTRE, (120, 120, 120))]
    points = spy.points.numpy()
    is_on_axes = [np.isin(points[:, axis], lattice[axis]) for axis in range(3)]
    on_lattice = points[np.logical_and.reduce(is_on_axes)]
    assert len(points) == report.num_queries
    assert len(np.unique(rows_as_keys(on_lattice))) == len(on_lattice)
    assert len(points) - len(on_lattice) == report.num_probe_queries <= MAX_PROBES


@pytest.mark.parametrize("body", ["torus", "plate", "thin rod", "solid"])
def test_the_number_of_queries_stays_within_three_times_the_corners(body: str) -> None:
    field = decode(field_of(body, 2), 192)
    coarse = np.prod([cells + 1 for cells in field.report.coarse_resolution])
    beyond = field.report.num_queries - coarse - field.report.num_probe_queries
    assert beyond <= 3 * len(field.keys) + 10_000


def test_a_compact_solid_takes_a_28th_of_the_dense_queries_or_a_16th_when_strict() -> None:
    query = field_of("solid")
    ratios: dict[Mode, int] = {"fast": 28, "strict": 16}
    for mode, ratio in ratios.items():
        field = decode(query, 256, mode)
        assert field.report.num_queries * ratio <= 257**3
        assert field.num_bytes * 10 <= 4 * 257**3


def test_at_1024_a_solid_is_closed_for_a_180th_of_the_dense_queries_in_200_megabytes() -> None:
    query = field_of("solid")
    field = decode(query, 1024, "strict")
    mesh = extract_surface(field)
    assert mesh.is_closed
    assert mesh.volume == pytest.approx(extract_surface(decode(query, 256)).volume, rel=1e-3)
    assert field.report.num_queries * 180 <= 1025**3
    assert field.num_bytes < 200e6


def test_each_level_is_told_and_counted() -> None:
    told: list[DecodeProgress] = []
    options = DecodeOptions("fast", CALL)
    field = decode_field(
        field_of("torus"), BOX, 100, iso=LEVEL, device="cpu", options=options, on_level=told.append
    )
    assert [(step.depth, step.num_depths, step.resolution[0]) for step in told] == [(1, 2, 50), (2, 2, 100)]
    assert told[-1].num_active_cells == len(field.cells)
    assert told[-1].num_queries == field.report.num_queries
    assert sum(level.num_queries for level in field.report.levels) == field.report.num_queries


class Stopped(Exception):
    """Of the caller."""


def test_a_raise_between_levels_stops_the_decode() -> None:
    spy = Spy(field_of("torus"))

    def stop(progress: DecodeProgress) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        decode_field(spy, BOX, 256, iso=LEVEL, device="cpu", on_level=stop)
    assert len(spy.points) <= 65**3 + MAX_PROBES


def test_the_thin_rod_needs_few_rounds_of_flooding() -> None:
    rounds = [level.num_rounds for level in decode(field_of("thin rod", 1), 256).report.levels]
    assert max(rounds) <= 16


@pytest.mark.parametrize("call", [1000, 4096, 8192, 131_072])
def test_the_size_of_a_call_changes_nothing(call: int) -> None:
    query = field_of("solid", 1)
    assert_equal_fields(decode(query, 64, call=call), decode(query, 64, call=8000))


@pytest.mark.parametrize("call", [1000, 8000])
def test_calls_have_at_most_two_sizes(call: int) -> None:
    spy = Spy(field_of("torus", 1))
    field = decode(spy, 64, call=call)
    sizes = Counter(len(points) for points in spy.calls)
    assert set(sizes) <= {call, min(call, MIN_POINTS_PER_CALL)}
    asked = field.report.num_queries + field.report.num_padding
    assert sum(size * count for size, count in sizes.items()) == asked


def test_out_of_memory_halves_the_calls_and_goes_on() -> None:
    query = field_of("solid", 1)

    def small_device(points: Tensor) -> Tensor:
        if len(points) > 5000:
            raise torch.OutOfMemoryError("no room")
        return query(points)

    spy = Spy(small_device)
    field = decode(spy, 64, call=20_000)
    assert (field.report.num_halvings, field.report.points_per_call) == (2, 5000)
    refused = sum(len(points) for points in spy.calls if len(points) > 5000)
    assert refused == 20_000 + 10_000
    assert_equal_fields(field, decode(query, 64, call=20_000))


def test_no_room_for_the_smallest_call_is_an_error() -> None:
    def no_device(points: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("no room")

    with pytest.raises(GpuOutOfMemory, match="2048"):
        decode(no_device, 64)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_logits_that_are_no_numbers_are_refused(bad: float) -> None:
    def query(points: Tensor) -> Tensor:
        return torch.where(points[:, 0] > 0.9, bad, points[:, 1])

    with pytest.raises(NotFinite, match="not finite"):
        decode(query, 40)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_level_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        decode_field(field_of("torus"), BOX, 40, iso=bad, device="cpu")


def test_the_resolution_may_be_any_whole_number_but_no_fraction() -> None:
    assert decode(field_of("torus"), np.int64(20)).resolution == (20, 20, 20)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="float"):
        decode(field_of("torus"), 20.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("tau", [0.03, 0.012])
@pytest.mark.parametrize("body", ["plate", "solid"])
def test_the_probe_measures_where_the_field_saturates_and_how_steep_it_is(body: str, tau: float) -> None:
    report = decode(field_of(body, 1, tau), 160).report
    assert report.saturation_distance == pytest.approx(tau / 1.2 * np.arctanh(0.95), rel=0.15)
    assert report.steepness == pytest.approx(1.2 / tau, rel=0.15)


def test_the_earlier_the_field_saturates_the_finer_the_coarse_lattice() -> None:
    def coarse(mode: Mode, tau: float) -> tuple[int, bool]:
        report = decode(field_of("solid", 0, tau), 150, mode).report
        return report.coarse_resolution[0], report.is_covered

    assert coarse("fast", 0.04) == (38, True)
    assert coarse("fast", 0.03) == (38, False)
    assert coarse("strict", 0.03) == (75, True)
    assert coarse("strict", 0.004) == (75, False)


def test_coarse_lattices_have_32_to_128_cells_where_there_are_as_many() -> None:
    def counts(cells: int) -> list[int]:
        return [level.cells[0] for level in coarse_lattices(Grid(BOX, (cells,) * 3))]

    assert counts(256) == [32, 64, 128]
    assert counts(1024) == [32, 64, 128]
    assert counts(250) == [32, 63, 125]
    assert counts(130) == [33, 65]
    assert counts(16) == [16]
    assert counts(1) == [1]


def test_keys_keep_the_indices_of_large_lattices() -> None:
    indices = torch.tensor([[2047, 2047, 2047], [0, 2048, 1], [2048, 0, 2048]])
    assert torch.equal(unpack(pack(indices)), indices)


@pytest.mark.parametrize("resolution", [16, 100, 250, 256, 1024])
def test_coordinates_are_a_float32_linspace_bit_for_bit(resolution: int) -> None:
    grid = Grid(BOX, (resolution,) * 3)
    index = torch.arange(resolution + 1)
    expected = torch.from_numpy(np.linspace(-1.01, 1.01, resolution + 1, dtype=np.float32))
    assert torch.equal(
        grid.coordinates(pack(torch.stack([index] * 3, dim=-1))), expected[:, None].expand(-1, 3)
    )


def test_cells_cut_off_by_the_box_end_at_it() -> None:
    level = Lattice(Grid(BOX, (10, 10, 10)), stride=4)
    assert level.cells == (3, 3, 3)
    last = pack(torch.tensor([[8, 8, 8]]))
    assert unpack(level.corner_keys(last)[0]).max() == 10
    assert unpack(level.cells_around(pack(torch.tensor([[10, 4, 0]])))).tolist() == [[8, 0, 0], [8, 4, 0]]


def test_options_that_make_no_sense_are_refused() -> None:
    for options in ({"mode": "sloppy"}, {"max_points_per_call": 0}, {"memory_share": 0.0}):
        with pytest.raises(ValueError, match=r"must"):
            DecodeOptions(**options)
    with pytest.raises(ValueError, match="cells"):
        Grid(BOX, (0, 4, 4))


@pytest.mark.parametrize(
    ("resolution", "max_waits"), [(128, 62), pytest.param(256, 100, marks=pytest.mark.slow)]
)
def test_a_decode_hardly_waits_for_a_gpu_and_copies_hardly_anything_to_it(
    resolution: int, max_waits: int
) -> None:
    traffic = Traffic()
    with pretended_gpu(traffic) as gpu:
        body = field_of("solid").to(gpu)
        extract_surface(decode_field(body, BOX, 64, iso=LEVEL, device=gpu))  # as the warm-up
        traffic.clear()
        calls: set[int] = set()
        field = decode_field(without_traffic(body, traffic, calls), BOX, resolution, iso=LEVEL, device=gpu)
        extract_surface(field, cells_that_fit(gpu))
    assert field.report.num_queries > 400_000
    assert calls == {field.report.points_per_call}, "one size, so that all of a field is rounded alike"
    assert traffic.num_waits <= max_waits
    assert traffic.num_copies <= 10


def without_traffic(body: Field, traffic: Traffic, calls: set[int]) -> Callable[[Tensor], Tensor]:
    """The field without what it copies itself, which a network does not; `calls` gets the sizes asked."""

    def query(points: Tensor) -> Tensor:
        calls.add(len(points))
        copies = traffic.copies.copy()
        logits = body(points)
        traffic.copies = copies
        return logits

    return query
