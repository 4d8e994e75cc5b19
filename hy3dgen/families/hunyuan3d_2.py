"""Hunyuan3D-2.0, all sizes, distilled or not, one view or several: a single file of three networks.

Settings that no tensor shape shows come, the later source winning, from the published values for this size, the variant
named in the path or by the caller, the file's own `config` header, and the caller's overrides (`variants.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hy3dgen.errors import CheckpointError
from hy3dgen.families.card import EU, Card, Licence
from hy3dgen.families.family import Built, Defaults, Family, LoadedFamily
from hy3dgen.families.published_names import CONDITIONER_PREFIX, published_name
from hy3dgen.families.read_config import conditioner_config, dit_config, has_any, vae_config
from hy3dgen.families.variants import (
    EMBEDDED_MODELS,
    ModelConfig,
    Settings,
    read_settings,
    variant_of_size,
    variant_settings,
)
from hy3dgen.families.velocity import Clock
from hy3dgen.field.geometry import Frame
from hy3dgen.networks.image_encoder import Conditioner
from hy3dgen.networks.image_prep import prepare_image, prepare_views
from hy3dgen.networks.stream_dit import DiT
from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.sampling import times_for
from hy3dgen.weights.assign import assign_weights, published_tensors, refuse_names, wanted_shapes
from hy3dgen.weights.published_files import PublishedFiles
from hy3dgen.weights.tensor_file import PrefixedFile, Shapes, open_weights

PARTS = ("model", "vae", "conditioner")
"""Of a file: the denoiser, the ShapeVAE and the picture encoder."""
IGNORED = ("vae.encoder.", "vae.pre_kl.")
"""The encoder side of the VAE, which makes no meshes; published files come with and without it."""
MARKS = ("model.latent_in.weight", "model.cond_in.weight", "model.double_blocks.0.img_attn.qkv.weight")

FRAME = Frame(half_extent=1.01, iso=-1 / 512)
PUBLISHED_WIDTHS = {
    "model.latent_in.weight": (1024, 64),
    "vae.post_kl.weight": (1024, 64),
    f"{CONDITIONER_PREFIX}embeddings.cls_token": (1, 1, 1536),
}
"""The shapes that every published file of this family has, and no other that is known."""

LICENCE_URL = (
    "https://huggingface.co/tencent/Hunyuan3D-2/blob/9cd649ba6913f7a852e3286bad86bfa9a2d83dcf/LICENSE"
)
ENCODER = Licence(
    "picture encoder", "Apache-2.0", "https://huggingface.co/facebook/dinov2-giant", "2026-11-28"
)
REPOSITORIES = {
    "v2-0": ("tencent/Hunyuan3D-2", "9cd649ba6913f7a852e3286bad86bfa9a2d83dcf"),
    "v2-mini": ("tencent/Hunyuan3D-2mini", "f90a0f7df7d5e6f71109cf333f6a95a0ae3194a6"),
    "v2-mv": ("tencent/Hunyuan3D-2mv", "3a761b539b29fe4ff64714813aa9560fd66f5de0"),
}


def build(files: PublishedFiles, overrides: Mapping[str, Any]) -> Built:
    """The networks of a single file, without weights. `variant` among the overrides names the published model.

    Raises:
        CheckpointError: a part is missing, settings are unknown, or a variant contradicts the tensors.
    """
    _check_parts(files)
    others = dict(overrides)
    settings = read_settings(files.path, files.shapes, files.header, others.pop("variant", None), others)
    if is_published(files.shapes) and settings.model_id == files.path.stem:
        settings = replace(settings, model_id=variant_settings(variant_of_size(files.shapes)).model_id)
    return build_networks(model_config(files.shapes, settings), card_of(settings, files.shapes))


def model_config(shapes: Shapes, settings: Settings) -> ModelConfig:
    """The sizes of the three networks, which fit each other: latents as wide in both, tokens as the encoder's.

    Raises:
        CheckpointError: a tensor that sizes are read from is missing.
    """
    conditioner = conditioner_config(shapes, settings)
    dit = dit_config(shapes, conditioner.width)
    vae = vae_config(shapes, settings.vae_heads, latent_channels=dit.latent_channels)
    return ModelConfig(dit=dit, vae=vae, conditioner=conditioner, settings=settings)


def build_networks(config: ModelConfig, card: Card) -> Built:
    """The networks of `config` on the meta device."""
    settings = config.settings
    with torch.device("meta"):
        dit, vae = DiT(config.dit), ShapeVAE(config.vae, settings.scale_factor, FRAME)
        conditioner = Conditioner(config.conditioner)
    model = LoadedFamily(
        card=card,
        conditioner=conditioner,
        dit=dit,
        vae=vae,
        clock=Clock(),
        prepare=partial(prepare_image, side_px=settings.image_px, border_ratio=settings.border_ratio),
        prepare_views=partial(prepare_views, side_px=settings.image_px, border_ratio=settings.border_ratio),
        times=partial(times_for, settings.schedule, consistency_timesteps=settings.consistency_timesteps),
        num_latents=settings.num_latents,
        # The velocity itself knows when there is no guidance: it may be an input of the network, of any value.
        defaults=Defaults(settings.default_steps, settings.default_guidance, guidance_off=-math.inf),
        settings=settings,
    )
    return Built(model, tuple(partial(published_name, part) for part in PARTS))  # type: ignore[arg-type]


def card_of(settings: Settings, shapes: Shapes) -> Card:
    """The card that follows from the tensors: of the published models, of the embedded one, or of an unknown one.

    Tensors of published sizes are Tencent's, or made from theirs, whatever the file is called and says of itself.
    """
    if is_published(shapes):
        return _published_card(settings, shapes)
    if settings.model_id in EMBEDDED_MODELS:
        return _own_card(settings, "Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0")
    return _own_card(settings, "unknown", "")


def is_published(shapes: Shapes) -> bool:
    """True when the tensors have the widths of all published files."""
    return all(shapes.get(name) == shape for name, shape in PUBLISHED_WIDTHS.items())


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
        CheckpointError: no such file, damaged, of another model, incomplete, or tensors that do not fit.
    """
    path = Path(path)
    with open_weights(path, device) as bare:
        file = PrefixedFile(bare, "vae.")
        if "vae.post_kl.weight" not in file.shapes:
            raise CheckpointError(f"{path.name} is no separate ShapeVAE file: it has no post_kl.weight")
        with torch.device("meta"):
            vae = ShapeVAE(vae_config(file.shapes, num_heads), scale_factor, FRAME)
        naming = partial(published_name, "vae")
        refuse_names(path, set(file.shapes) - set(wanted_shapes(vae, naming)), IGNORED)
        assign_weights(path, file, vae, naming, dtype)
    return vae.eval().requires_grad_(False)


def published_state(dit: nn.Module, vae: nn.Module, conditioner: nn.Module) -> dict[str, Tensor]:
    """The weights under their published names, as a single file holds them."""
    state: dict[str, Tensor] = {}
    for part, network in zip(PARTS, (dit, vae, conditioner), strict=True):
        state |= published_tensors(network, partial(published_name, part))
    return state


def _check_parts(files: PublishedFiles) -> None:
    absent = [f"{part}." for part in PARTS if not has_any(files.shapes, f"{part}.")]
    if absent:
        raise CheckpointError(
            f"{files.path.name} is no whole Hunyuan3D-2.0 file: nothing under {', '.join(absent)}"
        )


def _published_card(settings: Settings, shapes: Shapes) -> Card:
    variant = settings.model_id.removeprefix("hunyuan3d-dit-")
    base = next((one for one in REPOSITORIES if variant.startswith(one)), "v2-0")
    repository, revision = REPOSITORIES[base]
    return Card(
        model_id=settings.model_id,
        title=f"Hunyuan3D 2.0 ({variant})",
        source=f"https://huggingface.co/{repository}",
        revision=revision,
        licences=(
            Licence("weights", "Tencent Hunyuan 3D 2.0 Community License", LICENCE_URL, "2026-11-28"),
            ENCODER,
        ),
        attribution="Tencent Hunyuan 3D 2.0 is licensed under the Tencent Hunyuan 3D 2.0 Community License "
        "Agreement, Copyright (c) 2025 Tencent. All Rights Reserved.",
        territory_excluded=(*EU, "GB", "KR"),
        outputs_restricted=True,
        num_parameters=sum(math.prod(one) for name, one in shapes.items() if not name.startswith(IGNORED)),
        num_steps=settings.default_steps,
        guidance_scale=settings.default_guidance,
        num_latents=settings.num_latents,
    )


def _own_card(settings: Settings, licence: str, url: str) -> Card:
    """The card of weights that Tencent did not publish, in the layout of those it did."""
    return Card(
        model_id=settings.model_id,
        title=settings.model_id,
        source="",
        revision=None,
        licences=(Licence("weights", licence, url, "2026-11-28"),),
        attribution="",
        num_steps=settings.default_steps,
        guidance_scale=settings.default_guidance,
        num_latents=settings.num_latents,
    )


FAMILY = Family("Hunyuan3D-2.0", MARKS, build, IGNORED)
