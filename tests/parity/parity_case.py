"""The two parity checkpoints, loaded, and the reference's numbers for them.

On a CPU, or where `TEST_DEVICE` says: `TEST_DEVICE=cuda pytest tests/parity`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.pipeline import Hunyuan3DDiTFlowMatchingPipeline

DATA = Path(__file__).parent / "data"
DEVICE = torch.device(os.environ.get("TEST_DEVICE", "cpu"))
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """One checkpoint with random weights, and every number the reference got with it."""

    name: str
    pipeline: Hunyuan3DDiTFlowMatchingPipeline
    vae: ShapeVAE
    stages: dict[str, Tensor]

    @property
    def image(self) -> Image.Image:
        return Image.open(DATA / "image.png")


def load_case(name: str, stages: str) -> Case:
    overrides = json.loads((DATA / "overrides.json").read_text())[name]
    path = DATA / f"{name}.safetensors"
    pipeline, vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
        path, DEVICE, torch.float32, overrides=overrides
    )
    return Case(name, pipeline, vae, load_file(DATA / f"{stages}.safetensors", device=str(DEVICE)))


class Recorder:
    """Keeps what chosen modules gave back during a forward pass."""

    def __init__(self) -> None:
        self.outputs: dict[str, Tensor | tuple[Tensor, ...]] = {}

    def watch(self, name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda _module, _inputs, output: self.outputs.update({name: output}))


def close(ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> bool:
    """True when shapes agree and no number is further off than `tolerance`."""
    assert ours.shape == theirs.shape, f"{list(ours.shape)} against {list(theirs.shape)}"
    return bool((ours.cpu().float() - theirs.cpu().float()).abs().max() <= tolerance)


def same(ours: Tensor, theirs: Tensor) -> bool:
    """True when every number agrees, wherever it lies."""
    return torch.equal(ours.cpu(), theirs.cpu())
