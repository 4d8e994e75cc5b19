"""The device's memory runs short: the real networks go on in a smaller form, and the shape stays the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from parity.parity_case import DATA
from PIL import Image
from torch import nn

from hy3dgen.errors import GpuOutOfMemory
from hy3dgen.families.velocity import SamplingOptions
from hy3dgen.field.cells import codes_of
from hy3dgen.field.field_query import MIN_POINTS_PER_CALL
from hy3dgen.field.geometry import Mesh
from hy3dgen.runtime.out_of_memory import first_that_fits, free_bytes, is_shortage, retry_after_oom
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline, ShapeVAE

RESOLUTION = 48
LATENTS_TOLERANCE = 1e-5
"""By the largest latent: both sides in one call round otherwise than one by one."""
Wants = Callable[[Any], bool]
Loaded = tuple[Hunyuan3DDiTFlowMatchingPipeline, ShapeVAE]


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    overrides = json.loads((DATA / "overrides.json").read_text())["checkpoint"]
    return Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
        DATA / "checkpoint.safetensors", overrides=overrides
    )


@contextmanager
def out_of_memory(network: nn.Module, when: Wants) -> Iterator[list[int]]:
    """The device has no room for calls of `network` whose first argument is as `when` says; counts them."""
    refused = []

    def refuse(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        if when(arguments[0]):
            refused.append(1)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    handle = network.register_forward_pre_hook(refuse)
    try:
        yield refused
    finally:
        handle.remove()


def denoised(loaded: Any, lowered: list[str], pairing: Any = "folded") -> torch.Tensor:
    latents = loaded[0](
        Image.open(DATA / "image.png"),
        3,
        generator=torch.Generator().manual_seed(0),
        sampling=SamplingOptions(pairing=pairing),
        on_lowered=lowered.append,
    )
    return latents


def decoded(vae: ShapeVAE, lowered: list[str]) -> Mesh:
    tokens = torch.randn(1, 32, 64, generator=torch.Generator().manual_seed(0))
    (mesh,) = vae.latents2mesh(tokens, octree_resolution=RESOLUTION, on_lowered=lowered.append)
    return mesh


def test_a_call_that_fits_in_freed_memory_lowers_nothing(loaded: Loaded) -> None:
    lowered: list[str] = []
    expected = denoised(loaded, [])
    first_block = loaded[0].dit.double_blocks[0]
    has_room = iter([False])

    with out_of_memory(first_block, lambda _: not next(has_room, True)) as refused:
        found = denoised(loaded, lowered)

    assert torch.equal(found, expected)
    assert (len(refused), lowered) == (1, [])


def test_a_guidance_pair_that_does_not_fit_goes_on_one_by_one_with_the_same_latents(loaded: Loaded) -> None:
    lowered: list[str] = []
    expected = denoised(loaded, [], "batched")

    with out_of_memory(loaded[0].dit.double_blocks[0], lambda latents: len(latents) == 2) as refused:
        found = denoised(loaded, lowered, "batched")

    assert lowered == ["guidance pair one by one"]
    assert len(refused) == 2, "once more in freed memory, then not again"
    assert (found - expected).abs().max() <= LATENTS_TOLERANCE * expected.abs().max()


def test_fewer_points_a_call_give_the_same_mesh(loaded: Loaded) -> None:
    lowered: list[str] = []
    expected = decoded(loaded[1], [])

    with out_of_memory(loaded[1].geometry, lambda points: points.shape[1] > 3000) as refused:
        found = decoded(loaded[1], lowered)

    assert len(refused) == 2
    assert lowered == [f"num_chunks {MIN_POINTS_PER_CALL}"]
    assert np.array_equal(found.faces, expected.faces)
    assert np.array_equal(found.vertices, expected.vertices)


def test_an_octree_in_smaller_blocks_gives_the_same_mesh(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    lowered: list[str] = []
    expected = decoded(loaded[1], [])
    from hy3dgen.field import octree

    whole = codes_of

    def no_room_for_many(values: torch.Tensor, iso: float) -> torch.Tensor:
        if len(values) > 10_000:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(values, iso)

    monkeypatch.setattr(octree, "codes_of", no_room_for_many)
    found = decoded(loaded[1], lowered)

    assert lowered == [f"octree in blocks of 4096 cells, {MIN_POINTS_PER_CALL} points a call"]
    assert np.array_equal(found.faces, expected.faces)
    assert np.array_equal(found.vertices, expected.vertices)


def test_when_nothing_fits_the_end_is_an_error_with_a_code(loaded: Loaded) -> None:
    with out_of_memory(loaded[1].geometry, lambda _: True), pytest.raises(GpuOutOfMemory):
        decoded(loaded[1], [])


def test_an_attempt_that_failed_holds_no_memory_while_the_next_one_runs() -> None:
    held: list[Any] = []

    class Large:
        def __init__(self) -> None:
            held.append(1)

        def __del__(self) -> None:
            held.pop()

    def fail() -> int:
        large = Large()
        raise torch.OutOfMemoryError(f"no room beside {type(large)}")

    assert first_that_fits([(None, fail), ("less", lambda: len(held))], lambda _: None) == 0
    answers: Iterator[Callable[[], int]] = iter([fail, lambda: len(held)])
    assert retry_after_oom(lambda: next(answers)())() == 0


def test_what_fails_twice_for_room_and_what_fails_otherwise_is_not_tried_again() -> None:
    tried: list[str] = []

    def work(error: type[Exception]) -> None:
        tried.append(error.__name__)
        raise error

    for error in (torch.OutOfMemoryError, ZeroDivisionError):
        with pytest.raises(error):
            retry_after_oom(work)(error)
    assert tried == ["OutOfMemoryError", "OutOfMemoryError", "ZeroDivisionError"]


def test_the_first_form_that_fits_is_the_last_that_is_tried_and_only_lowered_ones_are_reported() -> None:
    tried: list[str] = []
    lowered: list[str] = []

    def form(name: str, *, fits: bool) -> Callable[[], str]:
        def work() -> str:
            tried.append(name)
            if not fits:
                raise torch.OutOfMemoryError
            return name

        return work

    forms = [
        (None, form("whole", fits=False)),
        ("halves", form("half", fits=False)),
        ("quarters", form("quarter", fits=True)),
        ("eighths", form("eighth", fits=True)),
    ]
    assert first_that_fits(forms, lowered.append) == "quarter"
    assert (tried, lowered) == (["whole", "half", "quarter"], ["halves", "quarters"])
    tried.clear()
    assert first_that_fits(forms[2:3], lowered.append) == "quarter"
    with pytest.raises(GpuOutOfMemory, match="smallest form"):
        first_that_fits(forms[:1], lowered.append)


def segment(pool: tuple[int, int], total: int, allocated: int, device: int = 0) -> dict[str, Any]:
    return {"segment_pool_id": pool, "total_size": total, "allocated_size": allocated, "device": device}


@pytest.mark.parametrize(
    ("segments", "free"),
    [
        ([segment((0, 0), 1500, 100)], 100 + 1400),
        ([segment((0, 0), 100, 100), segment((0, 1), 1400, 0)], 100),
        ([segment((0, 0), 300, 100), segment((3, 0), 1200, 0)], 100 + 200),
        ([segment((0, 0), 1500, 100), segment((0, 1), 9000, 0, device=1)], 100 + 1400),
    ],
)
def test_free_blocks_in_the_pools_of_graphs_are_not_free_to_others(
    monkeypatch: pytest.MonkeyPatch, segments: list[dict[str, Any]], free: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 2000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 1500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda **_: segments)
    assert free_bytes(torch.device("cuda")) == free


SHORT = (
    "CUDA error: out of memory",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "Triton Error [CUDA]: out of memory",
)


@pytest.mark.parametrize("words", SHORT)
def test_libraries_that_lack_memory_are_asked_again_in_freed_memory(words: str) -> None:
    answers: list[Exception | int] = [RuntimeError(words), 7]

    def work() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert retry_after_oom(work)() == 7


def test_an_error_that_is_no_shortage_is_neither_retried_nor_taken_for_one() -> None:
    asked: list[int] = []

    def work() -> int:
        asked.append(1)
        raise RuntimeError("shape '[2, 3]' is invalid for input of size 5")

    with pytest.raises(RuntimeError, match="invalid for input"):
        retry_after_oom(work)()
    with pytest.raises(RuntimeError, match="invalid for input"):
        first_that_fits([(None, work), ("smaller", work)], lambda what: None)
    assert len(asked) == 2
    assert not is_shortage(ValueError("out of memory"))
