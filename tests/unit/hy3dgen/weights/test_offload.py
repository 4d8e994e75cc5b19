"""Weights that take turns on the device, or come layer by layer, give the same shapes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from parity.parity_case import DATA, DEVICE
from PIL import Image
from torch import Tensor, nn

from hy3dgen.models import weights_of
from hy3dgen.pipeline import Hunyuan3DDiTFlowMatchingPipeline
from hy3dgen.weights.offload import ModelOffload, Weights, choose_residence

CHECKPOINT = DATA / "checkpoint.safetensors"
OVERRIDES = json.loads((DATA / "overrides.json").read_text())["checkpoint"]
V2_0 = Weights(conditioner=2_270_000_000, dit=2_230_000_000, vae=430_000_000)


def load(**options: Any) -> Hunyuan3DDiTFlowMatchingPipeline:
    return Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
        CHECKPOINT, DEVICE, torch.float32, overrides=OVERRIDES, **options
    )[0]


def shape_of(pipeline: Hunyuan3DDiTFlowMatchingPipeline) -> tuple[Tensor, Any]:
    """Latents and mesh of the parity picture, twice over so that every network comes back once."""
    for _ in range(2):
        generator = torch.Generator().manual_seed(5)
        latents = pipeline(Image.open(DATA / "image.png"), num_inference_steps=4, generator=generator)
        tokens = pipeline.vae(latents / pipeline.vae.scale_factor)
        (mesh,) = pipeline.vae.latents2mesh(tokens, octree_resolution=24)
    return latents, mesh


def num_bytes(network: nn.Module) -> int:
    there = [one for one in network.state_dict().values() if not one.is_meta]
    return sum(one.numel() * one.element_size() for one in there)


@pytest.mark.parametrize("residence", ["low", "minimal"])
def test_the_numbers_are_the_same_wherever_the_weights_wait(residence: str) -> None:
    latents, mesh = shape_of(load())
    same_latents, same_mesh = shape_of(load(residence=residence))
    assert torch.equal(same_latents, latents)
    assert same_mesh.vertices.tobytes() == mesh.vertices.tobytes()


def test_one_network_at_a_time_has_weights() -> None:
    pipeline = load(residence="low")
    networks = {"conditioner": pipeline.conditioner, "dit": pipeline.dit, "vae": pipeline.vae}
    seen: list[list[str]] = []
    load_weights = pipeline.model.execution.load

    def watched(network: nn.Module) -> None:
        load_weights(network)
        seen.append([name for name, one in networks.items() if num_bytes(one)])

    pipeline.model = pipeline.model.running(load=watched)
    shape_of(pipeline)
    assert seen == [["conditioner"], ["dit"], ["vae"], ["vae"]] * 2


def test_layers_that_come_for_their_call_have_no_weights_between_calls() -> None:
    pipeline = load(residence="minimal")
    shape_of(pipeline)
    assert [num_bytes(one) for one in (pipeline.conditioner, pipeline.dit, pipeline.vae)] == [0, 0, 0]


def test_a_network_used_out_of_turn_fails_at_once() -> None:
    pipeline = load(residence="low")
    pipeline.model.execution.load(pipeline.vae)
    with pytest.raises((RuntimeError, NotImplementedError)):
        pipeline.dit(*(torch.zeros(shape, device=DEVICE) for shape in ((1, 32, 16), (1,), (1, 17, 48))))


def test_offloaded_weights_are_not_changed_by_what_was_on_the_device() -> None:
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    before = one.weight.detach().clone()
    offload = ModelOffload([one, other], DEVICE)
    offload.load(one)
    one.weight.zero_()
    offload.load(other)
    offload.load(one)
    assert torch.equal(one.weight.cpu(), before)


@pytest.mark.parametrize(
    ("free_gb", "residence"), [(24, "full"), (8, "full"), (6, "full"), (5, "low"), (4, "low"), (3, "minimal")]
)
def test_the_fastest_residence_that_fits_is_chosen(free_gb: int, residence: str) -> None:
    assert choose_residence(V2_0, free_gb * 10**9) == residence


def test_sizes_are_read_off_the_header_without_the_encoder() -> None:
    networks = load()
    found = weights_of(CHECKPOINT, torch.float32)
    assert found == Weights(*(num_bytes(one) for one in (networks.conditioner, networks.dit, networks.vae)))
    with_encoder = weights_of(DATA / "checkpoint_turbo.safetensors", torch.float16)
    assert with_encoder.vae < with_encoder.total / 2
