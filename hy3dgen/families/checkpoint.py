"""A single-file Hunyuan3D-2 checkpoint -> strictly loaded networks. Knows its layout, nothing of sampling.

The file is opened lazily, the networks are built on the meta device, and every tensor is read once and assigned:
the peak of memory is about the size of the weights. Nothing is forgiven: each published name is used, none is
missing, every shape fits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hy3dgen.errors import CheckpointError
from hy3dgen.families.published_names import published_name
from hy3dgen.families.read_config import conditioner_config, dit_config, vae_config
from hy3dgen.families.variants import VARIANTS, ModelConfig, Settings, variant_settings
from hy3dgen.networks.image_encoder import Conditioner
from hy3dgen.networks.stream_dit import DiT
from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.weights.assign import assign_weights, published_tensors, refuse_names, wanted_shapes
from hy3dgen.weights.offload import Weights
from hy3dgen.weights.tensor_file import (
    CountedFile,
    OnLoaded,
    PrefixedFile,
    Shapes,
    TensorFile,
    open_weights,
)

PARTS = ("model", "vae", "conditioner")
# The VAE's encoder side is not needed to make meshes; published files come with and without it.
OPTIONAL_PREFIXES = ("vae.encoder.", "vae.pre_kl.")
MARKS_OF_2_1 = ("model.x_embedder.weight", "model.t_embedder.mlp.2.weight")


@dataclass(frozen=True)
class Networks:
    """The three networks of a checkpoint, on one device, in eval mode, and what they are."""

    config: ModelConfig
    dit: DiT
    vae: ShapeVAE
    conditioner: Conditioner


def load_networks(
    path: str | Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    use_safetensors: bool = True,
    variant: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    on_loaded: OnLoaded | None = None,
) -> Networks:
    """The networks of a single-file checkpoint. `on_loaded` hears of each tensor.

    What tensor shapes do not tell comes from, in this order: the published values for this size, the file's own
    `config` header, the variant named in the path, `variant`, `overrides`.

    Raises:
        CheckpointError: no such file, damaged, of another model, incomplete, or tensors that do not fit.
    """
    path = Path(path)
    with open_weights(path, device, use_safetensors=use_safetensors, pickled_parts=PARTS) as file:
        _check_layout(path, file.shapes)
        settings = read_settings(path, file, variant, dict(overrides or {}))
        config = ModelConfig(
            dit=dit_config(file.shapes),
            vae=vae_config(file.shapes, settings.vae_heads),
            conditioner=conditioner_config(file.shapes, settings),
            settings=settings,
        )
        networks = build_networks(config)
        refuse_names(path, set(file.shapes) - set(published_shapes(networks)), OPTIONAL_PREFIXES)
        counted = file if on_loaded is None else CountedFile(file, on_loaded, OPTIONAL_PREFIXES)
        for part, network in _parts(networks):
            assign_weights(path, counted, network, partial(published_name, part), dtype)
    return networks


def load_vae(
    path: str | Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    scale_factor: float,
    num_heads: int | None = None,
) -> ShapeVAE:
    """The ShapeVAE of a separate VAE file (no prefixes), normal or turbo geometry decoder.

    Raises:
        CheckpointError: as `load_networks`.
    """
    path = Path(path)
    with open_weights(path, device) as bare:
        file = PrefixedFile(bare, "vae.")
        if "vae.post_kl.weight" not in file.shapes:
            raise CheckpointError(f"{path.name} is no separate ShapeVAE file: it has no post_kl.weight")
        with torch.device("meta"):
            vae = ShapeVAE(vae_config(file.shapes, num_heads), scale_factor)
        naming = partial(published_name, "vae")
        refuse_names(path, set(file.shapes) - set(wanted_shapes(vae, naming)), OPTIONAL_PREFIXES)
        assign_weights(path, file, vae, naming, dtype)
    return vae.eval().requires_grad_(False)


def weights_of(path: str | Path, dtype: torch.dtype) -> Weights:
    """How large a single file's networks are in numbers of `dtype`, read off its header.

    Raises:
        CheckpointError: missing, damaged, or of another layout.
    """
    path = Path(path)
    with open_weights(path, torch.device("cpu")) as file:
        _check_layout(path, file.shapes)
        bytes_of = dict.fromkeys(PARTS, 0)
        for name, shape in file.shapes.items():
            if not name.startswith(OPTIONAL_PREFIXES):
                bytes_of[name.split(".", 1)[0]] += math.prod(shape) * dtype.itemsize
    return Weights(bytes_of["conditioner"], dit=bytes_of["model"], vae=bytes_of["vae"])


def build_networks(config: ModelConfig) -> Networks:
    """The networks of `config` on the meta device: names and shapes without weights."""
    with torch.device("meta"):
        dit, vae = DiT(config.dit), ShapeVAE(config.vae, config.settings.scale_factor)
        conditioner = Conditioner(config.conditioner)
    for network in (dit, vae, conditioner):
        network.eval().requires_grad_(False)
    return Networks(config, dit, vae, conditioner)


def published_shapes(networks: Networks) -> dict[str, tuple[int, ...]]:
    """Every published name that `networks` are made of, with its shape."""
    wanted: dict[str, tuple[int, ...]] = {}
    for part, network in _parts(networks):
        wanted |= wanted_shapes(network, partial(published_name, part))
    return wanted


def published_state(dit: nn.Module, vae: nn.Module, conditioner: nn.Module) -> dict[str, Tensor]:
    """The weights under their published names, as a single file holds them."""
    state: dict[str, Tensor] = {}
    for part, network in zip(PARTS, (dit, vae, conditioner), strict=True):
        state |= published_tensors(network, partial(published_name, part))
    return state


def read_settings(path: Path, file: TensorFile, variant: str | None, overrides: dict[str, Any]) -> Settings:
    """What no shape tells, from all sources; the later source wins.

    Raises:
        CheckpointError: unknown names or values, or a variant that contradicts the tensors.
    """
    is_mini = "model.single_blocks.16.linear1.weight" not in file.shapes
    settings = VARIANTS["v2-mini" if is_mini else "v2-0"].updated({"model_id": path.stem}, origin="shapes")
    named = variant or variant_in_path(path)
    if named is not None:
        settings = variant_settings(named)
        _check_variant(named, settings, file.shapes, is_mini)
    if "config" in file.header and variant is None:
        settings = settings.updated(
            _header_config(path, file.header["config"]), origin=f"header of {path.name}"
        )
    return settings.updated(overrides, origin="overrides")


def variant_in_path(path: Path) -> str | None:
    """The published variant that a file or folder on `path` is named after, if any; the longest name wins."""
    for text in (path.stem.lower(), path.parent.name.lower()):
        found = [name for name in VARIANTS if re.search(rf"hunyuan3d-dit-{name}(?![a-z0-9-])", text)]
        if found:
            return max(found, key=len)
    return None


def _check_layout(path: Path, shapes: Shapes) -> None:
    if all(mark in shapes for mark in MARKS_OF_2_1):
        raise CheckpointError(f"{path.name} is a Hunyuan3D 2.1 checkpoint; this program runs the 2.0 family")
    if "post_kl.weight" in shapes:
        raise CheckpointError(
            f"{path.name} is a separate ShapeVAE file: give it as vae_path beside a full checkpoint"
        )
    marks = {
        "model.": "model.latent_in.weight",
        "vae.": "vae.post_kl.weight",
        "conditioner.": "conditioner.main_image_encoder.model.embeddings.cls_token",
    }
    absent = [part for part, mark in marks.items() if mark not in shapes]
    if absent:
        raise CheckpointError(
            f"{path.name} is no Hunyuan3D 2.0 single file: nothing under {', '.join(absent)}"
        )


def _check_variant(name: str, settings: Settings, shapes: Shapes, is_mini: bool) -> None:
    is_distilled = name.endswith(("-fast", "-turbo"))
    has_guidance = "model.guidance_in.in_layer.weight" in shapes
    if is_distilled != has_guidance:
        found = "has" if has_guidance else "lacks"
        raise CheckpointError(f"variant {name} contradicts the file, which {found} guidance tensors")
    if ("mini" in name) != is_mini:
        raise CheckpointError(f"variant {name} contradicts the file's number of single blocks")


def _header_config(path: Path, text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"the config header of {path.name} is not JSON") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"the config header of {path.name} is not a JSON object")
    return config


def _parts(networks: Networks) -> Iterable[tuple[str, nn.Module]]:
    return zip(PARTS, (networks.dit, networks.vae, networks.conditioner), strict=True)
