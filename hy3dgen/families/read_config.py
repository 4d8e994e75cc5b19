"""Tensor shapes -> network sizes. Rules: spec a.4. Knows names and shapes, reads no weights."""

from __future__ import annotations

import math
import re

from hy3dgen.errors import CheckpointError
from hy3dgen.families.published_names import CONDITIONER_PREFIX
from hy3dgen.families.variants import Settings
from hy3dgen.networks.image_encoder import PATCH_PX, ConditionerConfig
from hy3dgen.networks.stream_dit import DiTConfig
from hy3dgen.networks.vecset_decoder import VAEConfig
from hy3dgen.weights.tensor_file import Shapes

DINO_HEAD_WIDTH = 64
DEFAULT_VAE_HEADS = 16


def dit_config(shapes: Shapes) -> DiTConfig:
    """The denoiser's sizes.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    hidden, channels = _shape(shapes, "model.latent_in.weight")
    (head_width,) = _shape(shapes, "model.double_blocks.0.img_attn.norm.query_norm.scale")
    return DiTConfig(
        hidden=hidden,
        latent_channels=channels,
        context_width=_shape(shapes, "model.cond_in.weight")[1],
        num_double_blocks=_count(shapes, "model.double_blocks."),
        num_single_blocks=_count(shapes, "model.single_blocks."),
        num_heads=hidden // head_width,
        mlp_ratio=_shape(shapes, "model.double_blocks.0.img_mlp.0.weight")[0] / hidden,
        qkv_bias="model.double_blocks.0.img_attn.qkv.bias" in shapes,
        has_guidance="model.guidance_in.in_layer.weight" in shapes,
    )


def vae_config(shapes: Shapes, num_heads: int | None = None) -> VAEConfig:
    """The ShapeVAE's sizes; `num_heads` is needed only where the blocks have no q/k norm to read it from.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    width, channels = _shape(shapes, "vae.post_kl.weight")
    attention = "vae.transformer.resblocks.0.attn."
    q_norm, cross = f"{attention}attention.q_norm.weight", "vae.geo_decoder.cross_attn_decoder."
    heads = num_heads or (width // shapes[q_norm][0] if q_norm in shapes else DEFAULT_VAE_HEADS)
    geo_width, query_features = _shape(shapes, "vae.geo_decoder.query_proj.weight")
    return VAEConfig(
        latent_channels=channels,
        width=width,
        num_heads=heads,
        num_layers=_count(shapes, "vae.transformer.resblocks."),
        num_frequencies=(query_features // 3 - 1) // 2,
        qkv_bias=f"{attention}c_qkv.bias" in shapes,
        qk_norm=q_norm in shapes,
        geo_width=geo_width,
        geo_heads=max(1, heads * geo_width // width),
        geo_mlp_ratio=_shape(shapes, f"{cross}mlp.c_fc.weight")[0] // geo_width,
        geo_has_ln_post="vae.geo_decoder.ln_post.weight" in shapes,
        geo_qk_norm=f"{cross}attn.attention.q_norm.weight" in shapes,
    )


def conditioner_config(shapes: Shapes, settings: Settings) -> ConditionerConfig:
    """The picture encoder's sizes; the working size and, if unusual, the heads come from `settings`.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    width = _shape(shapes, f"{CONDITIONER_PREFIX}embeddings.cls_token")[-1]
    num_positions = _shape(shapes, f"{CONDITIONER_PREFIX}embeddings.position_embeddings")[1]
    first_mlp = f"{CONDITIONER_PREFIX}encoder.layer.0.mlp."
    is_swiglu = f"{first_mlp}weights_in.weight" in shapes
    return ConditionerConfig(
        width=width,
        num_layers=_count(shapes, f"{CONDITIONER_PREFIX}encoder.layer."),
        num_heads=settings.image_encoder_heads or width // DINO_HEAD_WIDTH,
        is_swiglu=is_swiglu,
        mlp_ratio=4 if is_swiglu else _shape(shapes, f"{first_mlp}fc1.weight")[0] // width,
        native_px=math.isqrt(num_positions - 1) * PATCH_PX,
        working_px=settings.image_encoder_px,
    )


def _shape(shapes: Shapes, name: str) -> tuple[int, ...]:
    if name not in shapes:
        raise CheckpointError(f"the file lacks {name}")
    return shapes[name]


def _count(shapes: Shapes, prefix: str) -> int:
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
    return 1 + max((int(found[1]) for name in shapes if (found := pattern.match(name))), default=-1)
