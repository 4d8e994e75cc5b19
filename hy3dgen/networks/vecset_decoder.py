"""The decoder side of the ShapeVAE: latents -> tokens once per shape; tokens + points -> logits.

A logit is positive inside the shape, negative outside, and saturates away from the surface. Points are in model
units. Formulas: docs/shape-model.md, Decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hy3dgen.errors import LatentShapeError
from hy3dgen.field.decode import Decoded, Search, decode_mesh
from hy3dgen.field.decode_options import POINTS_PER_CALL, DecodeOptions, Mode, OnLevel
from hy3dgen.field.field_query import Query
from hy3dgen.field.geometry import Box, Frame, Mesh
from hy3dgen.networks.layers import LAYER_NORM_EPS, Mlp, attend
from hy3dgen.runtime.execution import Execution
from hy3dgen.runtime.out_of_memory import OnLowered, ignore_lowered

POST_NORM_EPS = 1e-5  # Trained so: the one layer norm with another epsilon.


@dataclass(frozen=True)
class VAEConfig:
    """Sizes of the ShapeVAE's decoder side: the token blocks and the geometry decoder (`geo_`)."""

    latent_channels: int
    width: int
    num_heads: int
    num_layers: int
    num_frequencies: int
    qkv_bias: bool
    qk_norm: bool
    geo_width: int
    geo_heads: int
    geo_mlp_ratio: int
    geo_has_ln_post: bool
    geo_qk_norm: bool
    norm_eps: float = LAYER_NORM_EPS


def fourier_features(
    points: Float[Tensor, "batch points 3"], num_frequencies: int
) -> Float[Tensor, "batch points features"]:
    """The points, then sin and cos of each coordinate at frequencies 1, 2, 4, ... (no factor of pi), in float32."""
    # Made anew on every call: the checkpoint does not store them, and a buffer would be lost on the meta device.
    frequencies = 2.0 ** torch.arange(num_frequencies, dtype=torch.float32, device=points.device)
    angles = (points.float()[..., None] * frequencies).flatten(-2)
    return torch.cat([points.float(), angles.sin(), angles.cos()], dim=-1)


class QkNorm(nn.Module):
    """Layer norms with weight and bias over the features of a head: one for queries, one for keys."""

    def __init__(self, head_width: int) -> None:
        super().__init__()
        self.q_norm = nn.LayerNorm(head_width, eps=LAYER_NORM_EPS)
        self.k_norm = nn.LayerNorm(head_width, eps=LAYER_NORM_EPS)


class SelfAttention(nn.Module):
    """Attention among the shape tokens; the fused features lie head by head as q | k | v."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=config.qkv_bias)
        self.norm = QkNorm(config.width // config.num_heads) if config.qk_norm else None
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """What each token gathers from all."""
        heads = self.qkv(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        query, key, value = heads.chunk(3, dim=-1)
        if self.norm is not None:
            query, key = self.norm.q_norm(query), self.norm.k_norm(key)
        return self.proj(attend(query, key, value))


class TokenBlock(nn.Module):
    """Pre-norm self-attention and MLP."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attention = SelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = Mlp(config.width, 4 * config.width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Tokens, one block further."""
        tokens = tokens + self.attention(self.ln_1(tokens))
        return tokens + self.mlp(self.ln_2(tokens))


class GeometryDecoder(nn.Module):
    """One cross-attention block from query points to shape tokens, and a linear head."""

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        width = config.geo_width
        self.num_frequencies, self.num_heads = config.num_frequencies, config.geo_heads
        self.query_proj = nn.Linear(3 * (1 + 2 * config.num_frequencies), width)
        self.latents_proj = nn.Linear(config.width, width) if width != config.width else None
        self.ln_1, self.ln_2, self.ln_3 = (nn.LayerNorm(width, eps=config.norm_eps) for _ in range(3))
        self.to_query = nn.Linear(width, width, bias=config.qkv_bias)
        self.to_key_value = nn.Linear(width, 2 * width, bias=config.qkv_bias)
        self.norm = QkNorm(width // config.geo_heads) if config.geo_qk_norm else None
        self.proj = nn.Linear(width, width)
        self.mlp = Mlp(width, config.geo_mlp_ratio * width)
        self.ln_post = nn.LayerNorm(width, eps=POST_NORM_EPS) if config.geo_has_ln_post else None
        self.head = nn.Linear(width, 1)

    def keys_values(self, tokens: Float[Tensor, "batch tokens width"]) -> tuple[Tensor, Tensor]:
        """Keys and values of the tokens, each [batch, heads, tokens, head width]: made once per shape."""
        if self.latents_proj is not None:
            tokens = self.latents_proj(tokens)
        heads = self.to_key_value(self.ln_2(tokens)).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        key, value = heads.chunk(2, dim=-1)
        if self.norm is not None:
            key = self.norm.k_norm(key)
        return key.contiguous(), value.contiguous()

    def forward(
        self, points: Float[Tensor, "batch points 3"], key: Tensor, value: Tensor
    ) -> Float[Tensor, "batch points"]:
        """One float32 logit per point, given `keys_values`."""
        # Coordinates stay float32 until they are features: half precision would move a point by up to 1/4 voxel.
        features = fourier_features(points, self.num_frequencies).to(key.dtype)
        queries = self.query_proj(features)
        heads = self.to_query(self.ln_1(queries)).unflatten(-1, (self.num_heads, -1))
        if self.norm is not None:
            # Before heads and points change places, which would cost it a copy.
            heads = self.norm.q_norm(heads)
        queries = queries + self.proj(attend(heads.transpose(1, 2), key, value))
        queries = queries + self.mlp(self.ln_3(queries))
        if self.ln_post is not None:
            queries = self.ln_post(queries)
        return self.head(queries).squeeze(-1).float()


class ShapeVAE(nn.Module):
    """The decoder networks of one checkpoint, the factor between sampled latents and theirs, and their frame."""

    def __init__(self, config: VAEConfig, scale_factor: float, frame: Frame) -> None:
        super().__init__()
        self.config = config
        self.scale_factor = scale_factor
        self.frame = frame
        self.post_kl = nn.Linear(config.latent_channels, config.width)
        self.blocks = nn.ModuleList(TokenBlock(config) for _ in range(config.num_layers))
        self.geometry = GeometryDecoder(config)
        self.execution = Execution()

    def forward(self, latents: Float[Tensor, "batch tokens channels"]) -> Float[Tensor, "batch tokens width"]:
        """The shape tokens of `latents`, which the caller has divided by `scale_factor`.

        Raises:
            LatentShapeError: `latents` are not `latent_channels` wide.
        """
        check_width(latents, self.config.latent_channels, stage="vae(latents)")
        self.execution.load(self)
        tokens = self.post_kl(latents.to(self.post_kl.weight.dtype))
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def query_geometry(
        self, points: Float[Tensor, "batch points 3"], tokens: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch points"]:
        """The logit at each point (positive inside), float32; `points` in model units.

        Raises:
            LatentShapeError: `tokens` did not come out of `vae(latents)`.
        """
        check_width(tokens, self.config.width, stage="query_geometry(points, tokens)")
        self.execution.load(self)
        return self.geometry(points, *self.geometry.keys_values(tokens))

    @torch.no_grad()
    def decode(
        self,
        tokens: Float[Tensor, "1 tokens width"],
        search: Search,
        *,
        on_level: OnLevel | None = None,
        on_lowered: OnLowered = ignore_lowered,
    ) -> Decoded:
        """The closed surface of one shape, and how it was found; see `decode_mesh`.

        Raises:
            LatentShapeError: `tokens` did not come out of `vae(latents)`.
            EmptyMesh, GpuOutOfMemory: as `decode_mesh`.
        """
        check_width(tokens, self.config.width, stage="decode(tokens)")
        return decode_mesh(
            self.field(tokens), search, tokens.device, on_level=on_level, on_lowered=on_lowered
        )

    @torch.no_grad()
    def latents2mesh(
        self,
        latents: Float[Tensor, "batch tokens width"],
        bounds: float | Sequence[float] | None = None,
        octree_resolution: int = 256,
        mc_level: float | None = None,
        num_chunks: int = POINTS_PER_CALL,
        decode_mode: Mode = "strict",
        on_level: OnLevel | None = None,
        on_lowered: OnLowered = ignore_lowered,
    ) -> list[Mesh]:
        """One closed mesh per row of `latents`, which came out of `vae(...)`: the published name of `decode`.

        `bounds` is a half extent or the six numbers of a box, `octree_resolution` the number of cells along each
        axis, `mc_level` the field's value at the surface, `num_chunks` the most points asked in one call. What is
        None is the model's own.

        Raises:
            LatentShapeError: `latents` skipped `vae(...)`.
            EmptyMesh, GpuOutOfMemory: as `decode_mesh`.
        """
        check_width(latents, self.config.width, stage="latents2mesh(latents)")
        search = Search(
            box=self.frame.box if bounds is None else Box.from_bounds(bounds),
            resolution=octree_resolution,
            iso=self.frame.iso if mc_level is None else mc_level,
            options=DecodeOptions(
                max_points_per_call=self.execution.bounded_points(num_chunks), mode=decode_mode
            ),
        )
        decoded = (
            self.decode(row[None], search, on_level=on_level, on_lowered=on_lowered) for row in latents
        )
        return [one.mesh for one in decoded]

    def field(self, tokens: Float[Tensor, "1 tokens width"]) -> Query:
        """The field of one shape as a function of points [n, 3]; keys and values are made once."""
        self.execution.load(self)
        key, value = self.geometry.keys_values(tokens)
        query = self.execution.query or self.geometry
        return lambda points: query(points[None], key, value)[0]


def check_width(tensor: Tensor, width: int, *, stage: str) -> None:
    """Refuses a tensor that is not [batch, tokens, `width`].

    Raises:
        LatentShapeError: with both shapes.
    """
    if tensor.ndim != 3 or tensor.shape[-1] != width:
        raise LatentShapeError(
            f"{stage} takes [batch, tokens, {width}], got {list(tensor.shape)}: "
            "the line is pipeline(...) -> / scale_factor -> vae(...) -> latents2mesh(...)"
        )
