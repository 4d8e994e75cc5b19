"""Calls of few sizes, each point asked once, and smaller calls where the device has no room."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hy3dgen.errors import GpuOutOfMemory, NotFinite
from hy3dgen.field.field_query import (
    MAX_CELLS_PER_BLOCK,
    MAX_POINTS_PER_CALL,
    MIN_POINTS_PER_CALL,
    FieldMemory,
    FieldQuery,
    cells_that_fit,
    points_that_fit,
)
from hy3dgen.field.geometry import Box
from hy3dgen.field.lattice import CELLS_PER_BLOCK, Grid, pack

GRID = Grid(Box.from_bounds(1.0), (64, 64, 64))


class Asked:
    """The first coordinate as the field; knows the size of each call."""

    def __init__(self, room: int = 10**9) -> None:
        self.room, self.sizes = room, list[int]()

    def __call__(self, points: Tensor) -> Tensor:
        if len(points) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.sizes.append(len(points))
        return points[:, 0]


def some_points(count: int) -> Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(0))


def test_calls_have_two_sizes_and_padding_is_counted_apart() -> None:
    asked, points = Asked(), some_points(9000)
    query = FieldQuery(asked, 4096)
    assert torch.equal(query(points), points[:, 0])
    assert asked.sizes == [4096, 4096, 2048]
    assert (query.num_points, query.num_padding, query.num_calls) == (9000, 3 * 4096 - 2048 - 9000, 3)


def test_no_points_are_no_call() -> None:
    asked = Asked()
    assert len(FieldQuery(asked, 4096)(some_points(0))) == 0
    assert asked.sizes == []


def test_calls_without_room_are_halved_and_the_work_goes_on() -> None:
    asked, points = Asked(room=5000), some_points(20_000)
    query = FieldQuery(asked, 16_000)
    assert torch.equal(query(points), points[:, 0])
    assert (query.points_per_call, query.num_halvings) == (4000, 2)
    assert set(asked.sizes) <= {4000, MIN_POINTS_PER_CALL}


def test_where_the_smallest_call_has_no_room_the_error_names_its_size() -> None:
    with pytest.raises(GpuOutOfMemory, match=str(MIN_POINTS_PER_CALL)):
        FieldQuery(Asked(room=100), 8192)(some_points(10))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_counted_and_refused(bad: float) -> None:
    def broken(points: Tensor) -> Tensor:
        return torch.where(torch.arange(len(points)) == 3, bad, 0.0)

    with pytest.raises(NotFinite, match="1 of 10 logits"):
        FieldQuery(broken, 4096)(some_points(10))


def test_half_precision_answers_come_back_as_float32() -> None:
    assert FieldQuery(lambda points: points[:, 0].half(), 4096)(some_points(5)).dtype == torch.float32


def test_a_point_is_asked_once_whoever_asks() -> None:
    query = FieldQuery(Asked(), 4096)
    memory = FieldMemory(query, GRID, torch.device("cpu"))
    keys = pack(torch.tensor([[1, 2, 3], [9, 9, 9], [1, 2, 3]]))
    first = memory.read(keys)
    again = memory.read(keys.flip(0).view(3, 1))
    assert torch.equal(first, GRID.coordinates(keys)[:, 0])
    assert torch.equal(again, first.flip(0).view(3, 1))
    assert query.num_points == 2


def test_the_memory_stays_sorted_when_points_come_in_between() -> None:
    memory = FieldMemory(FieldQuery(Asked(), 4096), GRID, torch.device("cpu"))
    for x in (30, 10, 20, 40, 10):
        memory.read(pack(torch.tensor([[x, 0, 0], [x + 1, 5, 5]])))
    assert memory.keys.diff().gt(0).all()
    assert torch.equal(memory.logits, GRID.coordinates(memory.keys)[:, 0])


def test_a_cpu_sets_no_bound_to_a_call() -> None:
    fitting = points_that_fit(torch.device("cpu"), bytes_per_point=10**12, memory_share=0.1)
    assert fitting == MAX_POINTS_PER_CALL


@pytest.mark.parametrize(("free", "points"), [(10**6, MIN_POINTS_PER_CALL), (10**15, MAX_POINTS_PER_CALL)])
def test_the_memory_that_is_free_bounds_a_call(
    monkeypatch: pytest.MonkeyPatch, free: int, points: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    assert points_that_fit(torch.device("cuda"), bytes_per_point=26_000, memory_share=0.4) == points


@pytest.mark.parametrize(("free", "cells"), [(10**6, 2**17), (10**9, 2**18), (10**15, MAX_CELLS_PER_BLOCK)])
def test_the_memory_that_is_free_bounds_a_block_of_cells(
    monkeypatch: pytest.MonkeyPatch, free: int, cells: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    assert cells_that_fit(torch.device("cuda")) == cells
    assert cells_that_fit(torch.device("cpu")) == CELLS_PER_BLOCK
