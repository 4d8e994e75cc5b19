"""The parity checkpoints of the families behind `open_model`, and what the reference's numbers are called for each."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from parity.parity_case import DATA, DEVICE
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from hy3dgen.models import open_model
from hy3dgen.shape_model import ShapeModel


@dataclass(frozen=True)
class Names:
    """Where one family's fixtures keep what all have. `field_sign` is -1 where their field is positive outside."""

    checkpoint: str
    image: str
    context: str
    time: str
    tokens: str
    points: str
    field: str
    grid: str
    token_blocks: str
    cells: int
    field_sign: int = 1


NAMES = {
    "hunyuan3d_21": Names(
        checkpoint="checkpoint.safetensors",
        image="image.png",
        context="cond.main",
        time="dit.t",
        tokens="vae.out",
        points="geo.points",
        field="geo.logits",
        grid="grid.logits_32",
        token_blocks="vae.resblock_",
        cells=32,
    ),
    "triposg": Names(
        checkpoint=".",
        image="image_rgba.png",
        context="cond.tokens",
        time="dit.timestep",
        tokens="vae.block_2",
        points="field.points",
        field="field.decode",
        grid="grid.decode_32",
        token_blocks="vae.block_",
        cells=32,
        field_sign=-1,
    ),
    "step1x_3d": Names(
        checkpoint=".",
        image="image_wide.png",
        context="cond.tokens",
        time="dit.timestep",
        tokens="vae.block_2",
        points="field.points",
        field="field.value",
        grid="grid.field_24",
        token_blocks="vae.block_",
        cells=24,
    ),
}


@dataclass(frozen=True)
class FamilyCase:
    """One family's model with random weights, and every number the reference got with it."""

    name: str
    model: ShapeModel
    stages: dict[str, Tensor]

    @property
    def names(self) -> Names:
        return NAMES[self.name]

    @property
    def folder(self) -> Path:
        return DATA / self.name

    @property
    def image(self) -> Image.Image:
        return self.picture(self.names.image)

    @property
    def context(self) -> Tensor:
        return self.stages[self.names.context]

    @property
    def tokens(self) -> Tensor:
        return self.stages[self.names.tokens]

    def picture(self, file: str) -> Image.Image:
        return Image.open(self.folder / file)

    def prepared(self, file: str) -> Tensor:
        """A prepared picture as the fixtures store it, [1, 3, H, W] in 8 bits."""
        rgb = np.array(self.picture(file))[..., :3]
        return torch.from_numpy(rgb).permute(2, 0, 1)[None]

    def samples(self) -> list[tuple[str, int, float]]:
        """Each stored result of the sampler: its name, the number of steps, the guidance."""
        found = (re.fullmatch(r"sample\.latents_(?:flow_)?n(\d+)_g([\d.]+)", name) for name in self.stages)
        return [(one.string, int(one[1]), float(one[2])) for one in found if one]


@cache
def family_case(name: str) -> FamilyCase:
    folder = DATA / name
    model = open_model(
        folder / NAMES[name].checkpoint, device=DEVICE, dtype=torch.float32, overrides=overrides_of(name)
    )
    return FamilyCase(name, model, load_file(folder / "stages.safetensors", device=str(DEVICE)))


def overrides_of(name: str) -> dict[str, Any]:
    """What neither the tensors of a fixture nor its JSON files tell."""
    file = DATA / name / "overrides.json"
    return json.loads(file.read_text())["checkpoint"] if file.exists() else {}
