"""Tensor shapes -> network sizes. Rules: docs/shape-model.md, Sizes. Knows names and shapes, reads no weights."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass

from hy3dgen.errors import CheckpointError
from hy3dgen.families.published_names import CONDITIONER_PREFIX
from hy3dgen.families.variants import GUIDANCE_INPUT, Settings
from hy3dgen.networks.image_encoder import PATCH_PX, ConditionerConfig
from hy3dgen.networks.layers import LAYER_NORM_EPS
from hy3dgen.networks.skip_dit import SkipDiTConfig
from hy3dgen.networks.stream_dit import DiTConfig
from hy3dgen.networks.vecset_decoder import VAEConfig
from hy3dgen.weights.tensor_file import Shapes

DINO_HEAD_WIDTH = 64
DEFAULT_VAE_HEADS = 16
PUBLISHED_FREQUENCIES, PUBLISHED_PX = 8, 518
"""Of all published files."""


@dataclass(frozen=True)
class SkipDiTNames:
    """The names of the tensors that a denoiser's sizes are read from; those after `blocks` lie in each block."""

    latent_in: str
    latent_out: str
    blocks: str
    head_norms: tuple[str, str, str]
    mlp_in: str
    mlp_out: str
    merge: str = "skip_linear."
    experts: str = "moe."

    def block(self, number: int, name: str) -> str:
        """The tensor `name` of a block."""
        return f"{self.blocks}{number}.{name}"


def dit_config(shapes: Shapes, context_width: int) -> DiTConfig:
    """The denoiser's sizes; `context_width` is what the picture encoder gives.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    part, block = "model.", "model.double_blocks.0."
    norms = ("img_attn.norm.query_norm", "img_attn.norm.key_norm", "txt_attn.norm.query_norm")
    hidden = agreed(shapes, part, ("latent_in.weight", 0), ("latent_in.bias", 0), ("cond_in.bias", 0))
    mlp = agreed(shapes, block, ("img_mlp.0.weight", 0), ("img_mlp.0.bias", 0), ("img_mlp.2.weight", 1))
    return DiTConfig(
        hidden=hidden,
        latent_channels=agreed(shapes, part, ("latent_in.weight", 1), *_rows_of("final_layer.linear.")),
        context_width=context_width,
        num_double_blocks=count(shapes, "model.double_blocks."),
        num_single_blocks=count(shapes, "model.single_blocks."),
        num_heads=max(1, hidden // agreed(shapes, block, *((f"{norm}.scale", 0) for norm in norms))),
        mlp_ratio=mlp / hidden,
        qkv_bias=any(name.startswith(part) and name.endswith(".qkv.bias") for name in shapes),
        has_guidance=has_any(shapes, GUIDANCE_INPUT),
    )


def skip_dit_config(
    shapes: Shapes, names: SkipDiTNames, context_width: int, *, norm_eps: float, experts_per_token: int = 2
) -> SkipDiTConfig:
    """The sizes of a denoiser with long skips, published under `names`.

    `context_width` is what the picture encoder gives.

    Raises:
        CheckpointError: a tensor these rules need is absent, or the skips or experts lie elsewhere than they should.
    """
    width = agreed(shapes, "", *_rows_of(names.latent_in), (names.block(0, "norm1.weight"), 0))
    head_width = agreed(shapes, names.block(0, ""), *((norm, 0) for norm in names.head_norms))
    num_blocks = count(shapes, names.blocks)
    experts = [number for number in range(num_blocks) if has_any(shapes, names.block(number, names.experts))]
    config = SkipDiTConfig(
        width=width,
        latent_channels=agreed(shapes, "", (f"{names.latent_in}weight", 1), *_rows_of(names.latent_out)),
        context_width=context_width,
        num_blocks=num_blocks,
        num_heads=max(1, width // head_width),
        mlp_hidden=agreed(shapes, names.block(0, ""), *_rows_of(names.mlp_in), (f"{names.mlp_out}weight", 1)),
        norm_eps=norm_eps,
        num_expert_blocks=len(experts),
        num_experts=count(shapes, names.block(experts[0], f"{names.experts}experts.")) if experts else 0,
        experts_per_token=experts_per_token,
    )
    merging = [number for number in range(num_blocks) if has_any(shapes, names.block(number, names.merge))]
    if merging != [number for number in range(num_blocks) if config.merges(number)]:
        raise CheckpointError(f"the blocks that merge a skip are {merging} of {num_blocks}: another network")
    if experts != [number for number in range(num_blocks) if config.has_experts(number)]:
        raise CheckpointError(f"the blocks with experts are {experts} of {num_blocks}, not the last ones")
    return config


def vae_config(
    shapes: Shapes,
    num_heads: int | None = None,
    *,
    latent_channels: int | None = None,
    prefix: str = "vae.",
    decoder: str = "geo_decoder.",
    norm_eps: float = LAYER_NORM_EPS,
) -> VAEConfig:
    """The ShapeVAE's sizes; `num_heads` is needed only where the blocks have no q/k norm to read it from.

    `latent_channels` is the denoiser's, where there is one. The names begin with `prefix`, those of the geometry
    decoder go on with `decoder`.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    attention, cross = f"{prefix}transformer.resblocks.0.attn.", f"{prefix}{decoder}cross_attn_decoder."
    width = agreed(shapes, prefix, *_rows_of("post_kl."), ("transformer.resblocks.0.ln_1.weight", 0))
    geo_width = agreed(
        shapes, f"{prefix}{decoder}", *_rows_of("query_proj."), ("cross_attn_decoder.ln_1.weight", 0)
    )
    geo_hidden = agreed(shapes, f"{cross}mlp.", *_rows_of("c_fc."), ("c_proj.weight", 1))
    heads = num_heads or _heads_of(shapes, f"{attention}attention.", width)
    return VAEConfig(
        latent_channels=latent_channels or agreed(shapes, prefix, ("post_kl.weight", 1)),
        width=width,
        num_heads=heads,
        num_layers=count(shapes, f"{prefix}transformer.resblocks."),
        num_frequencies=num_frequencies(shapes, f"{prefix}{decoder}query_proj.weight"),
        qkv_bias=any(name.startswith(prefix) and name.endswith(".c_qkv.bias") for name in shapes),
        qk_norm=has_any(shapes, f"{attention}attention."),
        geo_width=geo_width,
        geo_heads=max(1, heads * geo_width // width),
        geo_mlp_ratio=max(1, geo_hidden // geo_width),
        geo_has_ln_post=has_any(shapes, f"{prefix}{decoder}ln_post."),
        geo_qk_norm=has_any(shapes, f"{cross}attn.attention."),
        norm_eps=norm_eps,
    )


def _heads_of(shapes: Shapes, norms: str, width: int) -> int:
    if not has_any(shapes, norms):
        return DEFAULT_VAE_HEADS
    return max(1, width // agreed(shapes, norms, *_rows_of("q_norm."), ("k_norm.weight", 0)))


def num_frequencies(shapes: Shapes, name: str) -> int:
    """How many frequencies a point's features have, read off the matrix that takes them.

    Each gives a sine and a cosine of three coordinates. As published where the matrix can't be one of such features.

    Raises:
        CheckpointError: the matrix is absent.
    """
    shape = shape_of(shapes, name)
    if len(shape) != 2 or shape[1] % 6 != 3:
        return PUBLISHED_FREQUENCIES
    return (shape[1] // 3 - 1) // 2


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
    num_registers: int = 0,
) -> ConditionerConfig:
    """The sizes of the picture encoder whose names begin with `prefix`; `num_heads` where heads are not 64 wide.

    Raises:
        CheckpointError: a tensor these rules need is absent.
    """
    width = agreed(shapes, prefix, ("embeddings.cls_token", 2), *_rows_of("layernorm."))
    mlp = f"{prefix}encoder.layer.0.mlp."
    is_swiglu = has_any(shapes, f"{mlp}weights_in.")
    hidden = 0 if is_swiglu else agreed(shapes, mlp, *_rows_of("fc1."), ("fc2.weight", 1))
    own_px = native_px(shapes, prefix, working_px)
    if num_registers and working_px != own_px:
        raise CheckpointError(f"an encoder with registers works at its own {own_px} px, not at {working_px}")
    return ConditionerConfig(
        width=width,
        num_layers=count(shapes, f"{prefix}encoder.layer."),
        num_heads=num_heads or max(1, width // DINO_HEAD_WIDTH),
        is_swiglu=is_swiglu,
        mlp_ratio=4 if is_swiglu else max(1, hidden // width),
        native_px=own_px,
        working_px=working_px,
        resized_px=resized_px,
        num_registers=num_registers,
    )


def native_px(shapes: Shapes, prefix: str, otherwise_px: int = PUBLISHED_PX) -> int:
    """The side of the pictures that the encoder's positions were trained at; `otherwise_px` if they are no square.

    Raises:
        CheckpointError: the positions are absent.
    """
    shape = shape_of(shapes, f"{prefix}embeddings.position_embeddings")
    side = math.isqrt(max(0, shape[1] - 1)) if len(shape) == 3 else 0
    return side * PATCH_PX if side and side**2 == shape[1] - 1 else otherwise_px


def agreed(shapes: Shapes, prefix: str, *witnesses: tuple[str, int]) -> int:
    """The size that most of the witnesses have: each a tensor, its name after `prefix`, and an axis of it.

    So one tensor of another shape than it should have does not decide the size, and is named when shapes are compared.

    Raises:
        CheckpointError: a witness is absent, or none has its axis.
    """
    found = [(f"{prefix}{name}", axis, shape_of(shapes, f"{prefix}{name}")) for name, axis in witnesses]
    sizes = [shape[axis] for _, axis, shape in found if axis < len(shape) and shape[axis] > 0]
    if not sizes:
        raise CheckpointError(f"{found[0][0]} is {list(found[0][2])}: no network has such a tensor")
    return Counter(sizes).most_common(1)[0][0]


def has_any(shapes: Shapes, prefix: str) -> bool:
    """True when a tensor's name begins with `prefix`."""
    return any(name.startswith(prefix) for name in shapes)


def _rows_of(linear: str) -> tuple[tuple[str, int], tuple[str, int]]:
    """The witnesses of how many features the layer `linear` gives: its weight and its bias."""
    return (f"{linear}weight", 0), (f"{linear}bias", 0)


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
