"""Hunyuan3D-2.1: a denoiser with long skips and experts; the decoder and the framing of 2.0; one nested pickle."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from hy3dgen.errors import CheckpointError
from hy3dgen.families.card import EU, Card, Licence
from hy3dgen.families.family import Built, Defaults, Family, LoadedFamily, known_overrides
from hy3dgen.families.published_names import (
    CONDITIONER_PREFIX,
    VAE_NAMES,
    Renames,
    dino_name,
    rename,
)
from hy3dgen.families.read_config import SkipDiTNames, encoder_config, skip_dit_config, vae_config
from hy3dgen.families.velocity import Clock
from hy3dgen.field.geometry import Frame
from hy3dgen.networks.image_encoder import Conditioner
from hy3dgen.networks.image_prep import prepare_image
from hy3dgen.networks.skip_dit import SkipDiT
from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.sampling import flow_times
from hy3dgen.weights.published_files import PublishedFiles

NORM_EPS = 1e-6
FRAME = Frame(half_extent=1.01, iso=0.0)
IGNORED = ("vae.encoder.", "vae.pre_kl.")
"""The encoder side of the VAE, which makes no meshes."""
MARKS = ("model.x_embedder.weight", "model.t_embedder.mlp.2.weight", "model.blocks.0.attn1.to_q.weight")
OTHER_MODELS = {
    "model.t_embedder.cond_proj.": "a guidance input",
    "model.pooler.": "attention pooling",
    "model.extra_embedder.": "attention pooling",
    "model.additional_cond_proj.": "a second picture encoder",
    "model.pos_embed": "an order of the latents",
}
"""Tensors of networks of the same code that were never published, and what they mean."""

SETTINGS: dict[str, Any] = {
    "num_latents": 4096,
    "scale_factor": 1.0039506158752403,
    "image_encoder_px": 518,
    "image_encoder_heads": None,
    "image_px": 512,
    "border_ratio": 0.15,
    "vae_heads": None,
    "moe_top_k": 2,
    "schedule": "flow",
    "consistency_timesteps": None,
}
"""Settings that no tensor shape shows, as published."""

NAMES = SkipDiTNames(
    latent_in="model.x_embedder.",
    latent_out="model.final_layer.linear.",
    blocks="model.blocks.",
    head_norms=("attn1.q_norm.weight", "attn1.k_norm.weight", "attn2.q_norm.weight"),
    mlp_in="mlp.fc1.",
    mlp_out="mlp.fc2.",
)

DENOISER: Renames = (
    (".latent_in.", ".x_embedder."),
    (".time_in.mlp.expand.", ".t_embedder.mlp.0."),
    (".time_in.mlp.contract.", ".t_embedder.mlp.2."),
    (".merge.linear.", ".skip_linear."),
    (".merge.norm.", ".skip_norm."),
    (".norm_1.", ".norm1."),
    (".norm_2.", ".norm2."),
    (".norm_3.", ".norm3."),
    (".cross_attention.to_query.", ".attn2.to_q."),
    (".cross_attention.to_key_value.", (".attn2.to_k.", ".attn2.to_v.")),
    (".cross_attention.", ".attn2."),
    (".attention.qkv.", (".attn1.to_q.", ".attn1.to_k.", ".attn1.to_v.")),
    (".attention.", ".attn1."),
    (".query_norm.scale", ".q_norm.weight"),
    (".key_norm.scale", ".k_norm.weight"),
    (".proj.", ".out_proj."),
    (".feed_forward.expand.", ".mlp.fc1."),
    (".feed_forward.contract.", ".mlp.fc2."),
    (".feed_forward.shared.", ".feed_forward.shared_experts."),
    (".feed_forward.", ".moe."),
    (".expand.", ".net.0.proj."),
    (".contract.", ".net.2."),
    (".final_norm.", ".final_layer.norm_final."),
    (".final.", ".final_layer.linear."),
)

CARD = Card(
    model_id="hunyuan3d-dit-v2-1",
    title="Hunyuan3D 2.1",
    source="https://huggingface.co/tencent/Hunyuan3D-2.1",
    revision=None,
    licences=(
        Licence(
            "weights",
            "Tencent Hunyuan 3D 2.1 Community License",
            "https://huggingface.co/tencent/Hunyuan3D-2.1/blob/main/LICENSE",
            "2026-11-28",
        ),
        Licence(
            "picture encoder", "Apache-2.0", "https://huggingface.co/facebook/dinov2-large", "2026-11-28"
        ),
    ),
    attribution="Tencent Hunyuan is licensed under the Tencent Hunyuan 3D 2.1 Community License Agreement, "
    "Copyright (c) 2025 Tencent. All Rights Reserved.",
    guidance_scale=5.0,
    territory_excluded=(*EU, "GB", "KR"),
    outputs_restricted=True,
    num_parameters=3_682_873_537 - 113_533_312,
    num_latents=4096,
)


def build(files: PublishedFiles, overrides: Mapping[str, Any]) -> Built:
    """The networks of a 2.1 checkpoint, without weights.

    Raises:
        CheckpointError: another network of the same code, or a tensor that its sizes are read from is missing.
    """
    settings = known_overrides("Hunyuan3D-2.1", overrides, SETTINGS)
    _refuse_others(files, settings)
    shapes = files.shapes
    encoder = encoder_config(
        shapes,
        CONDITIONER_PREFIX,
        working_px=settings["image_encoder_px"],
        num_heads=settings["image_encoder_heads"],
    )
    denoiser = skip_dit_config(
        shapes, NAMES, encoder.width, norm_eps=NORM_EPS, experts_per_token=settings["moe_top_k"]
    )
    decoder = vae_config(shapes, settings["vae_heads"], latent_channels=denoiser.latent_channels)
    with torch.device("meta"):
        dit, conditioner = SkipDiT(denoiser), Conditioner(encoder)
        vae = ShapeVAE(decoder, float(settings["scale_factor"]), FRAME)
    namings = (
        partial(rename, "model.", DENOISER),
        partial(rename, "vae.", VAE_NAMES),
        partial(dino_name, CONDITIONER_PREFIX),
    )
    model = LoadedFamily(
        card=CARD,
        conditioner=conditioner,
        dit=dit,
        vae=vae,
        clock=Clock(),
        prepare=partial(prepare_image, side_px=settings["image_px"], border_ratio=settings["border_ratio"]),
        times=flow_times,
        num_latents=settings["num_latents"],
        defaults=Defaults(CARD.num_steps, CARD.guidance_scale, guidance_off=-1e-9),
    )
    return Built(model, namings)


def _refuse_others(files: PublishedFiles, settings: Mapping[str, Any]) -> None:
    for prefix, meaning in OTHER_MODELS.items():
        if any(name.startswith(prefix) for name in files.shapes):
            raise CheckpointError(f"{files.path.name} has {meaning} ({prefix}*): not the published 2.1 model")
    if settings["schedule"] != "flow":
        raise CheckpointError(f"Hunyuan3D-2.1 has the flow schedule alone, not {settings['schedule']!r}")


FAMILY = Family("Hunyuan3D-2.1", MARKS, build, IGNORED)
