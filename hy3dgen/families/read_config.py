"""Tensor shapes -> network sizes. Rules: docs/shape-model.md, Sizes. Knows names and shapes, reads no weights."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from hy3dgen.errors import CheckpointError
from hy3dgen.families.published_names import CONDITIONER_PREFIX
from hy3dgen.families.variants import Settings
from hy3dgen.networks.image_encoder import PATCH_PX, ConditionerConfig
from hy3dgen.networks.layers import LAYER_NORM_EPS
from hy3dgen.networks.skip_dit import SkipDiTConfig
from hy3dgen.networks.stream_dit import DiTConfig
from hy3dgen.networks.vecset_decoder import VAEConfig
from hy3dgen.weights.tensor_file import Shapes

DINO_HEAD_WIDTH = 64
DEFAULT_VAE_HEADS = 16


@dataclass(frozen=True)
class SkipDiTNames:
    """The names of the tensors that a denoiser's sizes are read from; those after `blocks` lie in each block."""

    latent_in: str
    blocks: str
    query_norm: str
    context_key: str
    mlp_in: str
    merge: str = "skip_linear.weight"
    gate: str = "moe.gate.weight"

    def block(self, number: int, name: str) -> str:
        """The tensor `name` of a block."""
        return f"{self.blocks}{number}.{name}"


def dit_config(shapes: Shapes) -> DiTConfig:
    """The denoiser's sizes.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    hidden, channels = shape_of(shapes, "model.latent_in.weight")
    (head_width,) = shape_of(shapes, "model.double_blocks.0.img_attn.norm.query_norm.scale")
    return DiTConfig(
        hidden=hidden,
        latent_channels=channels,
        context_width=shape_of(shapes, "model.cond_in.weight")[1],
        num_double_blocks=count(shapes, "model.double_blocks."),
        num_single_blocks=count(shapes, "model.single_blocks."),
        num_heads=hidden // head_width,
        mlp_ratio=shape_of(shapes, "model.double_blocks.0.img_mlp.0.weight")[0] / hidden,
        qkv_bias="model.double_blocks.0.img_attn.qkv.bias" in shapes,
        has_guidance="model.guidance_in.in_layer.weight" in shapes,
    )


def skip_dit_config(
    shapes: Shapes, names: SkipDiTNames, *, norm_eps: float, experts_per_token: int = 2
) -> SkipDiTConfig:
    """The sizes of a denoiser with long skips, published under `names`.

    Raises:
        CheckpointError: a tensor these rules need is absent, or the skips or experts lie elsewhere than they should.
    """
    width, channels = shape_of(shapes, names.latent_in)
    (head_width,) = shape_of(shapes, names.block(0, names.query_norm))
    num_blocks = count(shapes, names.blocks)
    experts = [number for number in range(num_blocks) if names.block(number, names.gate) in shapes]
    config = SkipDiTConfig(
        width=width,
        latent_channels=channels,
        context_width=shape_of(shapes, names.block(0, names.context_key))[1],
        num_blocks=num_blocks,
        num_heads=width // head_width,
        mlp_hidden=shape_of(shapes, names.block(0, names.mlp_in))[0],
        norm_eps=norm_eps,
        num_expert_blocks=len(experts),
        num_experts=shape_of(shapes, names.block(experts[0], names.gate))[0] if experts else 0,
        experts_per_token=experts_per_token,
    )
    merging = [number for number in range(num_blocks) if names.block(number, names.merge) in shapes]
    if merging != [number for number in range(num_blocks) if config.merges(number)]:
        raise CheckpointError(f"the blocks that merge a skip are {merging} of {num_blocks}: another network")
    if experts != [number for number in range(num_blocks) if config.has_experts(number)]:
        raise CheckpointError(f"the blocks with experts are {experts} of {num_blocks}, not the last ones")
    return config


def vae_config(
    shapes: Shapes,
    num_heads: int | None = None,
    *,
    prefix: str = "vae.",
    decoder: str = "geo_decoder.",
    norm_eps: float = LAYER_NORM_EPS,
) -> VAEConfig:
    """The ShapeVAE's sizes; `num_heads` is needed only where the blocks have no q/k norm to read it from.

    The names begin with `prefix`, those of the geometry decoder go on with `decoder`.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    width, channels = shape_of(shapes, f"{prefix}post_kl.weight")
    attention = f"{prefix}transformer.resblocks.0.attn."
    q_norm, cross = f"{attention}attention.q_norm.weight", f"{prefix}{decoder}cross_attn_decoder."
    heads = num_heads or (width // shapes[q_norm][0] if q_norm in shapes else DEFAULT_VAE_HEADS)
    geo_width, query_features = shape_of(shapes, f"{prefix}{decoder}query_proj.weight")
    return VAEConfig(
        latent_channels=channels,
        width=width,
        num_heads=heads,
        num_layers=count(shapes, f"{prefix}transformer.resblocks."),
        num_frequencies=num_frequencies(query_features),
        qkv_bias=f"{attention}c_qkv.bias" in shapes,
        qk_norm=q_norm in shapes,
        geo_width=geo_width,
        geo_heads=max(1, heads * geo_width // width),
        geo_mlp_ratio=shape_of(shapes, f"{cross}mlp.c_fc.weight")[0] // geo_width,
        geo_has_ln_post=f"{prefix}{decoder}ln_post.weight" in shapes,
        geo_qk_norm=f"{cross}attn.attention.q_norm.weight" in shapes,
        norm_eps=norm_eps,
    )


def num_frequencies(num_features: int) -> int:
    """How many frequencies a point's features have: each gives a sine and a cosine of three coordinates."""
    return (num_features // 3 - 1) // 2


def conditioner_config(shapes: Shapes, settings: Settings) -> ConditionerConfig:
    """The sizes of the Hunyuan3D picture encoder; the working size and, if unusual, the heads come from `settings`.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    return encoder_config(
        shapes,
        CONDITIONER_PREFIX,
        working_px=settings.image_encoder_px,
        num_heads=settings.image_encoder_heads,
    )


def encoder_config(
    shapes: Shapes,
    prefix: str,
    *,
    working_px: int,
    num_heads: int | None = None,
    resized_px: int | None = None,
) -> ConditionerConfig:
    """The sizes of the picture encoder whose names begin with `prefix`; `num_heads` where heads are not 64 wide.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    width = shape_of(shapes, f"{prefix}embeddings.cls_token")[-1]
    registers = f"{prefix}embeddings.register_tokens"
    first_mlp = f"{prefix}encoder.layer.0.mlp."
    is_swiglu = f"{first_mlp}weights_in.weight" in shapes
    own_px = native_px(shapes, prefix)
    if registers in shapes and working_px != own_px:
        raise CheckpointError(f"an encoder with registers works at its own {own_px} px, not at {working_px}")
    return ConditionerConfig(
        width=width,
        num_layers=count(shapes, f"{prefix}encoder.layer."),
        num_heads=num_heads or max(1, width // DINO_HEAD_WIDTH),
        is_swiglu=is_swiglu,
        mlp_ratio=4 if is_swiglu else shape_of(shapes, f"{first_mlp}fc1.weight")[0] // width,
        native_px=own_px,
        working_px=working_px,
        resized_px=resized_px,
        num_registers=shapes[registers][1] if registers in shapes else 0,
    )


def native_px(shapes: Shapes, prefix: str) -> int:
    """The side of the pictures that the encoder's positions were trained at.

    Raises:
        CheckpointError: the positions are absent.
    """
    num_positions = shape_of(shapes, f"{prefix}embeddings.position_embeddings")[1]
    return math.isqrt(num_positions - 1) * PATCH_PX


def shape_of(shapes: Shapes, name: str) -> tuple[int, ...]:
    """The shape of a tensor.

    Raises:
        CheckpointError: it is absent.
    """
    if name not in shapes:
        raise CheckpointError(f"the file lacks {name}")
    return shapes[name]


def count(shapes: Shapes, prefix: str) -> int:
    """1 + the largest number that follows `prefix` in a name."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.")
    return 1 + max((int(found[1]) for name in shapes if (found := pattern.match(name))), default=-1)
