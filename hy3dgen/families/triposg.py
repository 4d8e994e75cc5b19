"""TripoSG: a denoiser with long skips whose time counts down from 1000; a decoder of 8 heads; a folder per network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from hy3dgen.errors import CheckpointError
from hy3dgen.families.card import Card, Licence
from hy3dgen.families.family import Built, Defaults, Family, LoadedFamily, known_overrides
from hy3dgen.families.published_names import Renames, dino_name, rename
from hy3dgen.families.read_config import (
    SkipDiTNames,
    agreed,
    count,
    encoder_config,
    num_frequencies,
    skip_dit_config,
)
from hy3dgen.families.velocity import Clock
from hy3dgen.field.geometry import Frame
from hy3dgen.networks.image_encoder import Conditioner, ConditionerConfig
from hy3dgen.networks.image_prep import pad_square
from hy3dgen.networks.skip_dit import SkipDiT
from hy3dgen.networks.vecset_decoder import ShapeVAE, VAEConfig
from hy3dgen.sampling import rectified_sigmas, thousandths_left, times_of
from hy3dgen.weights.published_files import PublishedFiles
from hy3dgen.weights.tensor_file import Shapes

NORM_EPS = 1e-5
FRAME = Frame(half_extent=1.005, iso=0.0)
BORDER_SHARE, MAX_SIDE_PX = 0.1, 2000
IGNORED = ("vae.encoder.", "vae.quant.")
"""The encoder side of the VAE, which makes no meshes."""
MARKS = (
    "transformer.blocks.0.attn1.to_q.weight",
    "transformer.time_proj.linear_1.weight",
    "transformer.proj_in.weight",
)
SCRIBBLE_MARK = "transformer.blocks.0.attn2_2.to_q.weight"
ENCODER = "image_encoder_dinov2."

NAMES = SkipDiTNames(
    latent_in="transformer.proj_in.",
    latent_out="transformer.proj_out.",
    blocks="transformer.blocks.",
    head_norms=("attn1.norm_q.weight", "attn1.norm_k.weight", "attn2.norm_q.weight"),
    mlp_in="ff.net.0.proj.",
    mlp_out="ff.net.2.",
)

DENOISER: Renames = (
    (".latent_in.", ".proj_in."),
    (".time_in.mlp.expand.", ".time_proj.linear_1."),
    (".time_in.mlp.contract.", ".time_proj.linear_2."),
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
    (".query_norm.scale", ".norm_q.weight"),
    (".key_norm.scale", ".norm_k.weight"),
    (".proj.", ".to_out.0."),
    (".feed_forward.expand.", ".ff.net.0.proj."),
    (".feed_forward.contract.", ".ff.net.2."),
    (".final_norm.", ".norm_out."),
    (".final.", ".proj_out."),
)

CARD = Card(
    model_id="triposg",
    title="TripoSG",
    source="https://huggingface.co/VAST-AI/TripoSG",
    revision="2c1c516d22d58db486a058d98d31bb6177344e06",
    licences=(
        Licence("weights", "MIT", "https://huggingface.co/VAST-AI/TripoSG", "2026-11-28"),
        Licence(
            "picture encoder", "Apache-2.0", "https://huggingface.co/facebook/dinov2-large", "2026-11-28"
        ),
    ),
    attribution="TripoSG, Copyright (c) 2025 VAST-AI-Research and contributors (MIT).",
    num_parameters=1_439_556_160 + 214_208_513 + 304_368_640,
    guidance_scale=7.0,
)


def build(files: PublishedFiles, overrides: Mapping[str, Any]) -> Built:
    """The networks of a TripoSG folder, without weights.

    Raises:
        CheckpointError: the scribble variant, settings of another model, or a tensor that shows its sizes is missing.
    """
    if SCRIBBLE_MARK in files.shapes:
        raise CheckpointError(
            f"{files.path.name} is TripoSG's scribble variant, which takes a text beside the picture"
        )
    settings = known_overrides("TripoSG", overrides, published_settings(files))
    shapes = files.shapes
    encoder = _conditioner_config(shapes, settings)
    denoiser = skip_dit_config(shapes, NAMES, encoder.width, norm_eps=NORM_EPS)
    decoder = vae_config(shapes, settings["vae_heads"], denoiser.latent_channels)
    with torch.device("meta"):
        dit, conditioner = SkipDiT(denoiser), Conditioner(encoder)
        vae = ShapeVAE(decoder, float(settings["scale_factor"]), FRAME)
    namings = (
        partial(rename, "transformer.", DENOISER),
        partial(rename, "vae.", decoder_names(shapes)),
        partial(dino_name, ENCODER),
    )
    shift = float(settings["shift"])
    model = LoadedFamily(
        card=CARD,
        conditioner=conditioner,
        dit=dit,
        vae=vae,
        clock=Clock(thousandths_left),
        prepare=partial(pad_square, border_share=BORDER_SHARE, max_side_px=MAX_SIDE_PX),
        times=lambda num_steps: times_of(rectified_sigmas(num_steps, shift)),
        num_latents=settings["num_latents"],
        defaults=Defaults(CARD.num_steps, CARD.guidance_scale, guidance_off=1.0),
    )
    return Built(model, namings)


def _conditioner_config(shapes: Shapes, settings: Mapping[str, Any]) -> ConditionerConfig:
    return encoder_config(
        shapes,
        ENCODER,
        working_px=settings["image_encoder_px"],
        resized_px=settings["image_px"],
        num_heads=settings["image_encoder_heads"],
    )


def published_settings(files: PublishedFiles) -> dict[str, Any]:
    """Settings that no tensor shape shows: from the folder's JSON files, where they lack it as published.

    Raises:
        CheckpointError: a setting that no published file has.
    """
    processor = "feature_extractor_dinov2/preprocessor_config.json"
    if files.setting("vae/config.json", "embed_include_pi", False):
        raise CheckpointError(f"{files.path.name}: embed_include_pi is true, which no published TripoSG is")
    if files.setting("scheduler/scheduler_config.json", "use_dynamic_shifting", False):
        raise CheckpointError(
            f"{files.path.name}: use_dynamic_shifting is true, which no published TripoSG is"
        )
    return {
        "num_latents": 2048,
        "scale_factor": 1.0,
        "vae_heads": files.setting("vae/config.json", "num_attention_heads", 8),
        "image_encoder_heads": files.setting("image_encoder_dinov2/config.json", "num_attention_heads", None),
        "image_encoder_px": _side(files.setting(processor, "crop_size", 224), "height"),
        "image_px": _side(files.setting(processor, "size", 256), "shortest_edge"),
        "shift": files.setting("scheduler/scheduler_config.json", "shift", 1.0),
    }


def vae_config(shapes: Shapes, num_heads: int, latent_channels: int) -> VAEConfig:
    """The decoder's sizes; its heads are in no shape, and its latents are the denoiser's.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    num_layers = count(shapes, "vae.decoder.blocks.") - 1
    points = f"vae.decoder.blocks.{num_layers}.ff.net."
    width = agreed(
        shapes, "vae.", ("post_quant.weight", 0), ("post_quant.bias", 0), ("decoder.proj_query.bias", 0)
    )
    hidden = agreed(shapes, points, ("0.proj.weight", 0), ("0.proj.bias", 0), ("2.weight", 1))
    return VAEConfig(
        latent_channels=latent_channels,
        width=width,
        num_heads=num_heads,
        num_layers=num_layers,
        num_frequencies=num_frequencies(shapes, "vae.decoder.proj_query.weight"),
        qkv_bias=False,
        qk_norm=False,
        geo_width=width,
        geo_heads=num_heads,
        geo_mlp_ratio=max(1, hidden // width),
        geo_has_ln_post=True,
        geo_qk_norm=False,
        norm_eps=NORM_EPS,
    )


def decoder_names(shapes: Shapes) -> Renames:
    """What the decoder's tensors are called: the last of its blocks is the one that points go through."""
    points = f".decoder.blocks.{count(shapes, 'vae.decoder.blocks.') - 1}."
    return (
        (".post_kl.", ".post_quant."),
        (".geometry.query_proj.", ".decoder.proj_query."),
        (".geometry.ln_post.", ".decoder.norm_out."),
        (".geometry.head.", ".decoder.proj_out."),
        (".geometry.to_query.", f"{points}attn2.to_q."),
        (".geometry.to_key_value.", (f"{points}attn2.to_k.", f"{points}attn2.to_v.")),
        (".geometry.proj.", f"{points}attn2.to_out.0."),
        (".geometry.ln_1.", f"{points}norm2."),
        (".geometry.ln_2.", f"{points}attn2.norm_cross."),
        (".geometry.ln_3.", f"{points}norm3."),
        (".geometry.", points),
        (".attention.qkv.", (".attn1.to_q.", ".attn1.to_k.", ".attn1.to_v.")),
        (".attention.proj.", ".attn1.to_out.0."),
        (".ln_1.", ".norm1."),
        (".ln_2.", ".norm3."),
        (".mlp.expand.", ".ff.net.0.proj."),
        (".mlp.contract.", ".ff.net.2."),
        (".blocks.", ".decoder.blocks."),
        (".decoder.decoder.", ".decoder."),
    )


def _side(size: Any, name: str) -> int:
    return int(size[name] if isinstance(size, dict) else size)


FAMILY = Family("TripoSG", MARKS, build, IGNORED)
