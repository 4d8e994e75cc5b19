"""Networks of the exact published shapes with random weights: for time and memory they are as good as the real ones."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path

import torch
from torch import Tensor, nn

from hy3dgen.families.family import Built
from hy3dgen.families.hunyuan3d_2 import build_networks, card_of, model_config
from hy3dgen.families.variants import ModelConfig, variant_settings
from hy3dgen.pipeline import Hunyuan3DDiTFlowMatchingPipeline
from hy3dgen.shape_model import ShapeModel

KEYS = Path(__file__).parents[1] / "tests" / "parity" / "data" / "keys_full.json"
EMBEDDED = Path(__file__).parents[1] / "models" / "tiny" / "tiny.safetensors"
TILE = 1_000_003
"""Random numbers that are laid out again and again: a prime, so that no two rows are alike."""


def shapes_of(variant: str) -> dict[str, tuple[int, ...]]:
    """Every name and shape of a published single file without the encoder."""
    components = json.loads(KEYS.read_text())["components"]
    size = "mini" if "mini" in variant else "v2_0"
    dit = f"dit_{size}_guidance" if variant.endswith(("fast", "turbo")) else f"dit_{size}"
    parts = {"model.": dit, "vae.": "vae_v2_0_decoder", "conditioner.": "conditioner_dinov2_giant"}
    return {
        prefix + name: tuple(shape)
        for prefix, component in parts.items()
        for pattern, shape in components[component]["tensors_list"].items()
        for name in _names(pattern)
    }


def _names(pattern: str) -> list[str]:
    """`a.{0..2}.b` stands for three names."""
    parts = re.split(r"\{(\d+)\.\.(\d+)\}", pattern)
    ranges = [range(int(low), int(high) + 1) for low, high in zip(parts[1::3], parts[2::3], strict=True)]
    return [
        "".join(itertools.chain(*zip(parts[0::3], [*map(str, numbers), ""], strict=True)))
        for numbers in itertools.product(*ranges)
    ]


def config_of(variant: str) -> ModelConfig:
    return model_config(shapes_of(variant), variant_settings(variant))


def networks_of(variant: str) -> Built:
    """The networks without weights."""
    config = config_of(variant)
    return build_networks(config, card_of(config.settings, shapes_of(variant)))


def filled(network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Gives a network on the meta device random weights of about the usual size."""
    tile = _tile(dtype).to(device)
    network.load_state_dict(
        {name: _laid_out(tile, one) for name, one in network.state_dict().items()}, assign=True
    )
    network.requires_grad_(False)


def random_pipeline(
    variant: str, device: torch.device, dtype: torch.dtype
) -> Hunyuan3DDiTFlowMatchingPipeline:
    family = networks_of(variant).model
    for network in family.networks:
        filled(network.eval(), device, dtype)
    return Hunyuan3DDiTFlowMatchingPipeline(ShapeModel(family, device, dtype))


def write_random_file(path: Path, variant: str) -> int:
    """Writes a float16 single file of the published layout, tensor by tensor; its bytes."""
    header: dict[str, object] = {}
    end = 0
    for name, shape in shapes_of(variant).items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    tile = _tile(torch.float16).numpy().tobytes()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _ in range(end // len(tile)):
            file.write(tile)
        file.write(tile[: end % len(tile)])
    return path.stat().st_size


def _tile(dtype: torch.dtype) -> Tensor:
    return (0.02 * torch.randn(TILE, generator=torch.Generator().manual_seed(0))).to(dtype)


def _laid_out(tile: Tensor, like: Tensor) -> Tensor:
    count = like.numel()
    return tile.repeat(-(-count // len(tile)))[:count].reshape(like.shape)
