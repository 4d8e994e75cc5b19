"""Step1X-3D geometry: the denoiser of 2.0 under other names, its velocity towards the noise; DINOv2 with registers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hy3dgen.errors import CheckpointError
from hy3dgen.families.card import Card, Licence
from hy3dgen.families.family import Built, Defaults, Family, LoadedFamily, known_overrides
from hy3dgen.families.published_names import VAE_NAMES, Renames, dino_name, rename
from hy3dgen.families.read_config import agreed, count, encoder_config, native_px, shape_of, vae_config
from hy3dgen.families.velocity import Clock
from hy3dgen.field.geometry import Frame
from hy3dgen.networks.image_encoder import Conditioner, ConditionerConfig
from hy3dgen.networks.image_prep import fill_own_frame
from hy3dgen.networks.stream_dit import DiT, DiTConfig
from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.sampling import flow_match_sigmas, thousandths_left, times_of
from hy3dgen.weights.assign import PublishedName
from hy3dgen.weights.published_files import PublishedFiles
from hy3dgen.weights.tensor_file import Shapes

VAE_EPS = 1e-5
FRAME = Frame(half_extent=1.05, iso=0.0)
FILLED_SHARE = 0.95
PUBLISHED_REGISTERS = 4
DIT, ENCODER = "transformer.dit_model.", "visual_encoder.dino_model."
IGNORED = ("vae.encoder.", "vae.pre_kl.")
"""The encoder side of the VAE, which makes no meshes."""
MARKS = (
    f"{DIT}transformer_blocks.0.norm1_context.linear.weight",
    f"{DIT}proj_cross_attention.weight",
    f"{DIT}time_proj.linear_1.weight",
)
SCHEDULE = {
    "num_train_timesteps": 1000,
    "shift": 1.0,
    "shift_terminal": None,
    "invert_sigmas": False,
    "use_dynamic_shifting": False,
    "use_beta_sigmas": False,
    "use_exponential_sigmas": False,
    "use_karras_sigmas": False,
}
"""What would change the times."""
CONDITION_PROJECTION = "transformer.proj_visual_condtion."  # misspelt so in the files

DENOISER: Renames = (
    (".latent_in.", ".proj_in."),
    (".context_in.", ".proj_cross_attention."),
    (".time_in.mlp.expand.", ".time_proj.linear_1."),
    (".time_in.mlp.contract.", ".time_proj.linear_2."),
    (".final_modulation.linear.", ".norm_out.linear."),
    (".final.", ".proj_out."),
    (".latent.modulation.linear.", ".norm1.linear."),
    (".context.modulation.linear.", ".norm1_context.linear."),
    (".modulation.linear.", ".norm.linear."),
    (".latent.qkv.", (".attn.to_q.", ".attn.to_k.", ".attn.to_v.")),
    (".context.qkv.", (".attn.add_q_proj.", ".attn.add_k_proj.", ".attn.add_v_proj.")),
    (".latent.norm.query_norm.scale", ".attn.norm_q.weight"),
    (".latent.norm.key_norm.scale", ".attn.norm_k.weight"),
    (".context.norm.query_norm.scale", ".attn.norm_added_q.weight"),
    (".context.norm.key_norm.scale", ".attn.norm_added_k.weight"),
    (".norm.query_norm.scale", ".attn.norm_q.weight"),
    (".norm.key_norm.scale", ".attn.norm_k.weight"),
    (".latent.proj.", ".attn.to_out.0."),
    (".context.proj.", ".attn.to_add_out."),
    (".latent.mlp_in.", ".ff.net.0.proj."),
    (".latent.mlp_out.", ".ff.net.2."),
    (".context.mlp_in.", ".ff_context.net.0.proj."),
    (".context.mlp_out.", ".ff_context.net.2."),
    (".fused_in.", (".attn.to_q.", ".attn.to_k.", ".attn.to_v.", ".proj_mlp.")),
    (".fused_out.", ".proj_out."),
    (".double_blocks.", ".transformer_blocks."),
    (".single_blocks.", ".single_transformer_blocks."),
)
DECODER: Renames = (*VAE_NAMES, (".geo_decoder.", ".decoder."))

CARD = Card(
    model_id="step1x-3d-geometry-1300m",
    title="Step1X-3D geometry",
    source="https://huggingface.co/stepfun-ai/Step1X-3D",
    revision="bf7084495b3a72222f36549b7942948aa4d9daa7",
    licences=(
        Licence("weights", "Apache-2.0", "https://huggingface.co/stepfun-ai/Step1X-3D", "2026-11-28"),
        Licence(
            "picture encoder",
            "Apache-2.0",
            "https://huggingface.co/facebook/dinov2-with-registers-large",
            "2026-11-28",
        ),
    ),
    attribution="Step1X-3D by StepFun (Apache-2.0).",
    num_parameters=1_316_287_808 + 120_548_353 + 304_372_736,
    guidance_scale=7.5,
)


def build(files: PublishedFiles, overrides: Mapping[str, Any]) -> Built:
    """The networks of a Step1X-3D geometry folder, without weights.

    Raises:
        CheckpointError: the label variant, settings of another model, or a tensor that shows its sizes is missing.
    """
    _refuse_others(files)
    settings = known_overrides("Step1X-3D", overrides, published_settings(files))
    shapes = files.shapes
    encoder = _conditioner_config(shapes, settings)
    denoiser = dit_config(shapes, encoder.width)
    decoder = vae_config(
        shapes,
        settings["vae_heads"],
        latent_channels=denoiser.latent_channels,
        decoder="decoder.",
        norm_eps=VAE_EPS,
    )
    with torch.device("meta"):
        dit, conditioner = DiT(denoiser), Conditioner(encoder)
        vae = ShapeVAE(decoder, float(settings["scale_factor"]), FRAME)
    namings = (
        partial(denoiser_name, dit.config),
        partial(rename, "vae.", DECODER),
        partial(dino_name, ENCODER),
    )
    model = LoadedFamily(
        card=CARD,
        conditioner=conditioner,
        dit=dit,
        vae=vae,
        clock=Clock(thousandths_left, points_to_noise=True),
        prepare=partial(fill_own_frame, share=FILLED_SHARE),
        times=times,
        num_latents=settings["num_latents"],
        defaults=Defaults(CARD.num_steps, CARD.guidance_scale, guidance_off=1.0),
    )
    return Built(model, namings)


def _conditioner_config(shapes: Shapes, settings: Mapping[str, Any]) -> ConditionerConfig:
    return encoder_config(
        shapes,
        ENCODER,
        working_px=settings["image_encoder_px"],
        resized_px=settings["image_encoder_px"],
        num_heads=settings["image_encoder_heads"],
        num_registers=_num_registers(shapes),
    )


def _num_registers(shapes: Shapes) -> int:
    """As many as the tensor has; as published where it is no list of tokens."""
    shape = shape_of(shapes, f"{ENCODER}embeddings.register_tokens")
    return shape[1] if len(shape) == 3 and shape[0] == 1 else PUBLISHED_REGISTERS


def times(num_steps: int) -> Tensor:
    """The sampler's times, 0 noise .. 1 shape, without the first of the published table.

    Trained so: the first velocity is multiplied by zero, so the latents are still noise at the second time.
    """
    return times_of(flow_match_sigmas(num_steps))[1:]


def published_settings(files: PublishedFiles) -> dict[str, Any]:
    """Settings that no tensor shape shows: from the folder's JSON files, where they lack it as published.

    Raises:
        CheckpointError: a setting that no published file has.
    """
    vae, scheduler = "vae/config.json", "scheduler/scheduler_config.json"
    if files.setting(vae, "include_pi", False):
        raise CheckpointError(f"{files.path.name}: include_pi is true, which no published Step1X-3D is")
    for name, published in SCHEDULE.items():
        found = files.setting(scheduler, name, published)
        if found != published:
            raise CheckpointError(
                f"{files.path.name}: the schedule's {name} is {found!r}, published is {published!r}"
            )
    return {
        "num_latents": files.setting(vae, "num_latents", 2048),
        "scale_factor": files.setting(vae, "z_scale_factor", 1.0),
        "vae_heads": files.setting(vae, "heads", 12),
        "image_encoder_heads": None,
        "image_encoder_px": files.setting(
            "visual_encoder/config.json", "image_size", native_px(files.shapes, ENCODER)
        ),
    }


def dit_config(shapes: Shapes, context_width: int) -> DiTConfig:
    """The denoiser's sizes; `context_width` is what the picture encoder gives.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    block, norms = f"{DIT}transformer_blocks.0.", ("norm_q.weight", "norm_k.weight", "norm_added_q.weight")
    width = agreed(shapes, DIT, ("proj_in.weight", 0), ("proj_in.bias", 0), ("proj_cross_attention.bias", 0))
    hidden = agreed(shapes, f"{block}ff.net.", ("0.proj.weight", 0), ("0.proj.bias", 0), ("2.weight", 1))
    return DiTConfig(
        hidden=width,
        latent_channels=agreed(
            shapes, DIT, ("proj_in.weight", 1), ("proj_out.weight", 0), ("proj_out.bias", 0)
        ),
        context_width=context_width,
        num_double_blocks=count(shapes, f"{DIT}transformer_blocks."),
        num_single_blocks=count(shapes, f"{DIT}single_transformer_blocks."),
        num_heads=max(1, width // agreed(shapes, f"{block}attn.", *((norm, 0) for norm in norms))),
        mlp_ratio=hidden / width,
        qkv_bias=True,
        has_guidance=False,
        has_wide_time=True,
    )


def denoiser_name(sizes: DiTConfig, name: str) -> PublishedName:
    """The place of the denoiser's parameter `name`."""
    place = rename(DIT, DENOISER, name)
    if ".fused_in." in name:
        return replace(place, shares=(*[sizes.hidden] * 3, sizes.mlp_hidden))
    # Published as scale, shift; ours is shift, scale.
    return replace(place, is_swapped=name.startswith("final_modulation."))


def _refuse_others(files: PublishedFiles) -> None:
    name = files.path.name
    has_labels = (files.path / "label_encoder").is_dir() or any(
        one.startswith(("label_encoder.", "visual_encoder.clip_model.")) for one in files.shapes
    )
    if has_labels or files.setting("transformer/config.json", "use_label_condition", False):
        raise CheckpointError(f"{name} is Step1X-3D's label variant, which takes labels beside the picture")
    if any(one.startswith(CONDITION_PROJECTION) for one in files.shapes):
        raise CheckpointError(
            f"{name} projects its condition ({CONDITION_PROJECTION}*), which no published file does"
        )


FAMILY = Family("Step1X-3D", MARKS, build, IGNORED)
