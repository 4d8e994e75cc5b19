"""A parameter may lie in several published tensors, in half of one, or with its halves exchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from parity.family_case import NAMES, overrides_of
from parity.parity_case import DATA
from torch import Tensor, nn

from hy3dgen.errors import CheckpointError
from hy3dgen.models import open_model, weights_of
from hy3dgen.shape_model import ShapeModel
from hy3dgen.weights.assign import Naming, PublishedName, assign_weights, published_tensors, wanted_shapes
from hy3dgen.weights.tensor_file import _SafeTensors


@dataclass(frozen=True)
class Table:
    """Tensors in memory, seen as a file."""

    tensors: Mapping[str, Tensor]
    header: Mapping[str, str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(one.shape) for name, one in self.tensors.items()}

    def read(self, name: str) -> Tensor:
        return self.tensors[name]


class Rows(nn.Module):
    """One parameter of six rows."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.arange(12.0).view(6, 2))


def given(naming: Naming, tensors: dict[str, Tensor]) -> list[float]:
    network = Rows()
    assign_weights(Path("file"), Table(tensors, {}), network, naming, torch.float32)
    return network.rows[:, 0].tolist()


def rows(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None].expand(-1, 2)


STACKED = PublishedName("a", below=("b", "c"))
SHARED = PublishedName("a", below=("b",), shares=(1, 2))
SWAPPED = PublishedName("a", is_swapped=True)
HALF = PublishedName("a", half=1)
SIZES = {STACKED: {"a": 2, "b": 2, "c": 2}, SWAPPED: {"a": 6}, HALF: {"a": 12}}


def test_stacked_tensors_give_their_rows_in_order() -> None:
    tensors = {"c": rows(4, 5), "a": rows(0, 1), "b": rows(2, 3)}
    assert given(lambda _: STACKED, tensors) == [0, 1, 2, 3, 4, 5]


def test_stacked_tensors_may_have_unequal_shares() -> None:
    assert given(lambda _: SHARED, {"a": rows(0, 1), "b": rows(2, 3, 4, 5)}) == [0, 1, 2, 3, 4, 5]


def test_exchanged_halves_are_put_back() -> None:
    assert given(lambda _: SWAPPED, {"a": rows(3, 4, 5, 0, 1, 2)}) == [0, 1, 2, 3, 4, 5]


def test_half_of_a_tensor_is_taken() -> None:
    assert given(lambda _: HALF, {"a": rows(*range(12))}) == [6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("place", [STACKED, SWAPPED, HALF])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_parameter_keeps_no_more_memory_than_its_own(place: PublishedName, dtype: torch.dtype) -> None:
    network, tensors = Rows(), {name: torch.ones(rows, 2) for name, rows in SIZES[place].items()}
    assign_weights(Path("file"), Table(tensors, {}), network, lambda _: place, dtype)
    assert network.rows.untyped_storage().nbytes() == network.rows.nbytes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("name", ["hunyuan3d_2", *NAMES])
def test_no_parameter_of_any_family_keeps_more_than_its_own_bytes_on_a_card(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_file = _SafeTensors.read
    # A card has no file's pages to look into: each tensor that is read is allocated there.
    monkeypatch.setattr(_SafeTensors, "read", lambda file, name: from_file(file, name).to(dtype, copy=True))
    path = DATA / "checkpoint.safetensors" if name == "hunyuan3d_2" else DATA / name / NAMES[name].checkpoint
    overrides = json.loads((DATA / "overrides.json").read_text())["checkpoint"]
    model = open_model(
        path, device="cpu", dtype=dtype, overrides=overrides if name == "hunyuan3d_2" else overrides_of(name)
    )
    kept = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in parameters(model)}
    assert sum(kept.values()) == sum(one.nbytes for one in parameters(model))
    assert sum(kept.values()) == weights_of(path, dtype).total


def parameters(model: ShapeModel) -> list[Tensor]:
    return [one for network in model.family.networks for one in network.parameters()]


@pytest.mark.parametrize("place", [STACKED, SHARED, SWAPPED])
def test_what_is_published_again_is_read_as_the_same(place: PublishedName) -> None:
    published = published_tensors(Rows(), lambda _: place)
    assert {name: tuple(one.shape) for name, one in published.items()} == wanted_shapes(
        Rows(), lambda _: place
    )
    assert given(lambda _: place, published) == Rows().rows[:, 0].tolist()


def test_the_one_of_several_tensors_that_does_not_fit_is_named() -> None:
    tensors = {"a": rows(0, 1), "b": rows(2, 3, 4), "c": rows(4, 5)}
    with pytest.raises(CheckpointError, match=r"b is \[3, 2\], wanted \[2, 2\]"):
        given(lambda _: STACKED, tensors)
