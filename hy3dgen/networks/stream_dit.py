"""The denoiser: noisy latents, time and a picture's tokens in, velocity out.

Latents are an unordered set: nothing here knows a token's position. Time runs 0 (noise) to 1 (shape). Formulas:
docs/shape-model.md, Denoiser. Layout, everywhere: [batch, tokens, features].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hy3dgen.networks.layers import LAYER_NORM_EPS, HeadNorm, TimeEmbedding, attend, call_block
from hy3dgen.runtime.attention import Merge

TIME_FEATURES = 256
TIME_MULTIPLIER = 1000.0
# Trained so: the period is 1000, where 10000 is usual.
MAX_PERIOD = 1000.0


@dataclass(frozen=True)
class DiTConfig:
    """Sizes of the denoiser."""

    hidden: int
    latent_channels: int
    context_width: int
    num_double_blocks: int
    num_single_blocks: int
    num_heads: int
    mlp_ratio: float
    qkv_bias: bool
    has_guidance: bool
    has_wide_time: bool = False
    """The time features are as wide as the network, sines first, and their MLP has an exact GELU (Step1X-3D)."""

    @property
    def head_width(self) -> int:
        """Features per attention head."""
        return self.hidden // self.num_heads

    @property
    def mlp_hidden(self) -> int:
        """Features inside an MLP."""
        return int(self.hidden * self.mlp_ratio)


def time_features(time: Float[Tensor, " batch"]) -> Float[Tensor, "batch 256"]:
    """Cosines, then sines, of 1000 t at 128 frequencies 1000^(-k/128), in float32."""
    half = TIME_FEATURES // 2
    steps = torch.arange(half, dtype=torch.float32, device=time.device)
    # exp and log in float32, as the weights were trained: angles reach 5000, where the last bit of a frequency shows.
    frequencies = torch.exp(-math.log(MAX_PERIOD) * steps / half)
    angles = TIME_MULTIPLIER * time.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def modulate(
    tokens: Float[Tensor, "batch tokens width"],
    shift: Float[Tensor, "batch 1 width"],
    scale: Float[Tensor, "batch 1 width"],
) -> Float[Tensor, "batch tokens width"]:
    """Layer-normed tokens, scaled by 1 + `scale` and moved by `shift`."""
    normed = functional.layer_norm(tokens, tokens.shape[-1:], eps=LAYER_NORM_EPS)
    return torch.addcmul(shift, normed, 1 + scale)


class Embedder(nn.Module):
    """An MLP from scalar features (time, guidance) to the width of the network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_layer = nn.Linear(TIME_FEATURES, width)
        self.out_layer = nn.Linear(width, width)

    def forward(self, scalars: Float[Tensor, " batch"]) -> Float[Tensor, "batch width"]:
        """One vector per scalar."""
        features = time_features(scalars).to(self.in_layer.weight.dtype)
        return self.out_layer(functional.silu(self.in_layer(features)))


class Modulation(nn.Module):
    """Turns the time vector into rows of shift, scale and gate, in this order, once or twice."""

    def __init__(self, width: int, num_slices: int) -> None:
        super().__init__()
        self.num_slices = num_slices
        self.linear = nn.Linear(width, num_slices * width)

    def forward(self, vector: Float[Tensor, "batch width"]) -> Float[Tensor, "batch rows width"]:
        """`num_slices` rows."""
        return self.linear(functional.silu(vector)).unflatten(-1, (self.num_slices, -1))


def _over_tokens(rows: Float[Tensor, "batch rows width"]) -> tuple[Float[Tensor, "batch 1 width"], ...]:
    """The rows one by one, each broadcasting over tokens."""
    return rows[:, :, None].unbind(1)


class QkvNorm(nn.Module):
    """Splits fused features into heads, all of q, then k, then v, and RMS-normalises q and k."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.query_norm = HeadNorm(config.head_width)
        self.key_norm = HeadNorm(config.head_width)

    def forward(self, fused: Float[Tensor, "batch tokens fused"]) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, each [batch, heads, tokens, head width]."""
        query, key, value = fused.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.query_norm(query), self.key_norm(key), value


class Stream(nn.Module):
    """One side of a double block, latents or context, with its own weights."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.hidden
        self.modulation = Modulation(width, num_slices=6)
        self.qkv = nn.Linear(width, 3 * width, bias=config.qkv_bias)
        self.norm = QkvNorm(config)
        self.proj = nn.Linear(width, width)
        self.mlp_in = nn.Linear(width, config.mlp_hidden)
        self.mlp_out = nn.Linear(config.mlp_hidden, width)

    def heads(self, tokens: Tensor, shift: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of this stream."""
        return self.norm(self.qkv(modulate(tokens, shift, scale)))

    def mlp(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Two linear layers with a tanh GELU between them."""
        return self.mlp_out(functional.gelu(self.mlp_in(tokens), approximate="tanh"))


class DoubleBlock(nn.Module):
    """Latents and context attend jointly, then go through their own MLPs."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.latent = Stream(config)
        self.context = Stream(config)

    def modulation(self, vector: Float[Tensor, "batch width"]) -> Float[Tensor, "batch 12 width"]:
        """Six rows of the latents, then six of the context."""
        return torch.cat([self.latent.modulation(vector), self.context.modulation(vector)], dim=1)

    def forward(
        self,
        latent: Tensor,
        context: Tensor,
        rows: Float[Tensor, "batch 12 width"],
        multiplicity: int = 1,
        merge_by: Merge | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Both streams, one block further; shapes unchanged. `multiplicity` as in `DiT.velocity`."""
        mods = _over_tokens(rows)
        latent_mods, context_mods = mods[:6], mods[6:]
        latent_heads = self.latent.heads(latent, *latent_mods[:2])
        context_heads = self.context.heads(context, *context_mods[:2])
        query, key, value = (torch.cat(pair, dim=2) for pair in zip(context_heads, latent_heads, strict=True))
        attended = attend(query, key, value, first_key_counts=multiplicity, merge_by=merge_by)
        from_context, from_latent = attended.split([context.shape[1], latent.shape[1]], dim=1)
        latent = _advance(self.latent, latent, from_latent, latent_mods)
        context = _advance(self.context, context, from_context, context_mods)
        return latent, context


def _advance(stream: Stream, tokens: Tensor, attended: Tensor, mods: tuple[Tensor, ...]) -> Tensor:
    """Tokens plus their gated attention, plus their gated MLP."""
    _, _, gate_attention, shift, scale, gate_mlp = mods
    tokens = torch.addcmul(tokens, gate_attention, stream.proj(attended))
    return torch.addcmul(tokens, gate_mlp, stream.mlp(modulate(tokens, shift, scale)))


class SingleBlock(nn.Module):
    """Self-attention over context and latents together, with the MLP beside it in the same two matrices."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width = config.hidden
        self.widths = [3 * width, config.mlp_hidden]
        self.modulation = Modulation(width, num_slices=3)
        self.fused_in = nn.Linear(width, sum(self.widths))
        self.norm = QkvNorm(config)
        self.fused_out = nn.Linear(width + config.mlp_hidden, width)

    def forward(
        self,
        tokens: Tensor,
        rows: Float[Tensor, "batch 3 width"],
        multiplicity: int = 1,
        merge_by: Merge | None = None,
    ) -> Tensor:
        """Tokens, one block further; shape unchanged. `multiplicity` as in `DiT.velocity`."""
        shift, scale, gate = _over_tokens(rows)
        fused, hidden = self.fused_in(modulate(tokens, shift, scale)).split(self.widths, dim=-1)
        query, key, value = self.norm(fused)
        attended = attend(query, key, value, first_key_counts=multiplicity, merge_by=merge_by)
        hidden = functional.gelu(hidden, approximate="tanh")
        return torch.addcmul(tokens, gate, self.fused_out(torch.cat([attended, hidden], dim=-1)))


class DiT(nn.Module):
    """The whole denoiser: double blocks, then single blocks, then a modulated linear layer.

    `forward` is the plain way. A sampler makes what its steps share beforehand, `context_in(context)` and
    `modulations(times)`, and asks `velocity`: the modulations take a quarter of all weights, and only the time.
    """

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden
        self.latent_in = nn.Linear(config.latent_channels, width)
        self.context_in = nn.Linear(config.context_width, width)
        self.time_in = TimeEmbedding(width) if config.has_wide_time else Embedder(width)
        self.guidance_in = Embedder(width) if config.has_guidance else None
        self.double_blocks = nn.ModuleList(DoubleBlock(config) for _ in range(config.num_double_blocks))
        self.single_blocks = nn.ModuleList(SingleBlock(config) for _ in range(config.num_single_blocks))
        self.final_modulation = Modulation(width, num_slices=2)
        self.final = nn.Linear(width, config.latent_channels)
        self.call_block: Callable[..., Any] = call_block
        """How a block is called; compiling replaces it."""
        self.merge_by: Merge | None = None
        """The kernel that attends to a context token with a `multiplicity` in half precision; None repeats it."""

    def forward(
        self,
        latents: Float[Tensor, "batch tokens channels"],
        time: Float[Tensor, " batch"],
        context: Float[Tensor, "batch context context_width"],
        guidance: Float[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch tokens channels"]:
        """The velocity d(latents)/d(time), pointing from noise to shape.

        `guidance` is the guidance scale itself (about 5) and belongs to distilled checkpoints alone.

        Raises:
            ValueError: guidance is missing where the network takes it, or given where it does not.
        """
        return self.velocity(latents, self.context_in(context), self.modulations(time, guidance))

    def modulations(
        self, time: Float[Tensor, " times"], guidance: Float[Tensor, " times"] | None = None
    ) -> Float[Tensor, "times rows width"]:
        """Every shift, scale and gate at each time, block after block.

        Raises:
            ValueError: as `forward`.
        """
        vector = self.time_in(time) + self._guidance_vector(guidance)
        rows = [block.modulation(vector) for block in self.blocks]
        return torch.cat([*rows, self.final_modulation(vector)], dim=1)

    def velocity(
        self,
        latents: Float[Tensor, "batch tokens channels"],
        context: Float[Tensor, "batch context width"],
        rows: Float[Tensor, "batch rows width"],
        multiplicity: int = 1,
    ) -> Float[Tensor, "batch tokens channels"]:
        """The velocity, given `context_in(context)` and the `modulations` of one time.

        The unconditional context is T identical tokens, and they stay identical: nothing here knows a position. One of
        them is passed with `multiplicity` T, and its attention logit is raised by log T.
        """
        double, single, final = rows.split(self._row_counts, dim=1)
        latent = self.latent_in(latents)
        for double_block, own in zip(self.double_blocks, double.split(12, dim=1), strict=True):
            latent, context = self.call_block(double_block, latent, context, own, multiplicity, self.merge_by)
        tokens = torch.cat([context, latent], dim=1)
        for single_block, own in zip(self.single_blocks, single.split(3, dim=1), strict=True):
            tokens = self.call_block(single_block, tokens, own, multiplicity, self.merge_by)
        return self.final(modulate(tokens[:, context.shape[1] :], *_over_tokens(final)))

    @property
    def blocks(self) -> tuple[DoubleBlock | SingleBlock, ...]:
        """All blocks, in order."""
        return (*self.double_blocks, *self.single_blocks)

    @property
    def _row_counts(self) -> list[int]:
        return [12 * len(self.double_blocks), 3 * len(self.single_blocks), 2]

    def _guidance_vector(self, guidance: Tensor | None) -> Tensor | float:
        if (self.guidance_in is None) != (guidance is None):
            wanted = "no" if self.guidance_in is None else "a"
            raise ValueError(f"this denoiser takes {wanted} guidance input")
        return 0.0 if self.guidance_in is None else self.guidance_in(guidance)
