"""The denoiser with long skips: noisy latents, time and a picture's tokens in, velocity out.

Plain pre-norm blocks: self-attention, cross-attention to the picture, feed-forward. Time is one token more, put before
the latents and dropped at the end; nothing is modulated. The second half of the blocks merges the outputs of the first
half, last in first out. Latents are an unordered set: nothing here knows a token's position. Layout, everywhere:
[batch, tokens, features].

    z = [time token; latents]
    z <- norm(linear([stored, z]))      in the second half, where it takes the place of z
    z <- z + self-attention(norm z)
    z <- z + cross-attention(norm z, picture)
    z <- z + feed-forward(norm z)       or experts
    velocity = linear(norm z), without the time token
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from hy3dgen.networks.layers import HeadNorm, Mlp, TimeEmbedding, attend

Heads = tuple[Tensor, Tensor]
"""Keys and values, each [batch, heads, context tokens, head width]."""


@dataclass(frozen=True)
class SkipDiTConfig:
    """Sizes of the denoiser. The last `num_expert_blocks` blocks have `num_experts` feed-forwards each."""

    width: int
    latent_channels: int
    context_width: int
    num_blocks: int
    num_heads: int
    mlp_hidden: int
    norm_eps: float
    num_expert_blocks: int = 0
    num_experts: int = 0
    experts_per_token: int = 2

    @property
    def head_width(self) -> int:
        """Features per attention head."""
        return self.width // self.num_heads

    @property
    def middle(self) -> int:
        """The block that neither stores nor merges: those before it store their output, those after it merge one."""
        return self.num_blocks // 2

    def merges(self, block: int) -> bool:
        """True when block number `block` merges a stored output."""
        return block > self.middle

    def has_experts(self, block: int) -> bool:
        """True when block number `block` has experts in place of one feed-forward."""
        return block >= self.num_blocks - self.num_expert_blocks


class SelfAttention(nn.Module):
    """Attention among time token and latents; the fused features lie head by head as q | k | v."""

    def __init__(self, config: SkipDiTConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.query_norm = HeadNorm(config.head_width)
        self.key_norm = HeadNorm(config.head_width)
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """What each token gathers from all."""
        heads = self.qkv(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        query, key, value = heads.chunk(3, dim=-1)
        return self.proj(attend(self.query_norm(query), self.key_norm(key), value))


class CrossAttention(nn.Module):
    """Attention from tokens to the picture; the fused features of the picture lie head by head as k | v."""

    def __init__(self, config: SkipDiTConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.to_query = nn.Linear(config.width, config.width, bias=False)
        self.to_key_value = nn.Linear(config.context_width, 2 * config.width, bias=False)
        self.query_norm = HeadNorm(config.head_width)
        self.key_norm = HeadNorm(config.head_width)
        self.proj = nn.Linear(config.width, config.width)

    def keys_values(self, context: Float[Tensor, "batch context context_width"]) -> Heads:
        """Keys and values of the picture, which depend on neither time nor latents."""
        fused = self.to_key_value(context).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        key, value = fused.chunk(2, dim=-1)
        return self.key_norm(key), value.contiguous()

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], seen: Heads | None
    ) -> Float[Tensor, "batch tokens width"] | Float[Tensor, "1 1 width"]:
        """What each token gathers from the picture.

        Without a picture (a context of zeros) keys and values are zero too, as they have no bias: every token gathers
        the bias of `proj`, and nothing else is computed.
        """
        if seen is None:
            return self.proj(tokens.new_zeros(1, 1, tokens.shape[-1]))
        query = self.to_query(tokens).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        return self.proj(attend(self.query_norm(query), *seen))


class Experts(nn.Module):
    """A mixture of experts: each token goes through the few that its router prefers, and through a shared one."""

    def __init__(self, config: SkipDiTConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.mlp_hidden
        self.num_chosen = config.experts_per_token
        self.gate = nn.Linear(width, config.num_experts, bias=False)
        self.experts = nn.ModuleList(Mlp(width, hidden) for _ in range(config.num_experts))
        self.shared = Mlp(width, hidden)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """The chosen experts' answers by their weights, plus the shared one's."""
        rows = tokens.flatten(0, 1)
        weights, chosen = self.route(rows)
        answers = self._answers(rows, chosen) * weights[..., None]
        return answers.sum(dim=1).unflatten(0, tokens.shape[:2]) + self.shared(tokens)

    def route(
        self, rows: Float[Tensor, "rows width"]
    ) -> tuple[Float[Tensor, "rows chosen"], Int64[Tensor, "rows chosen"]]:
        """The weights of the preferred experts, best first, and their numbers.

        Trained so: the weights are shares of the softmax over all experts, and do not sum to 1.
        """
        weights, chosen = self.gate(rows).softmax(dim=-1).topk(self.num_chosen, dim=-1)
        return weights, chosen

    def _answers(
        self, rows: Float[Tensor, "rows width"], chosen: Int64[Tensor, "rows chosen"]
    ) -> Float[Tensor, "rows chosen width"]:
        """What each chosen expert makes of each row. The rows of an expert are asked in one call."""
        order = chosen.flatten().argsort(stable=True)
        # One read back from the device per layer, where a mask per expert would take one each.
        counts = torch.bincount(chosen.flatten(), minlength=len(self.experts)).tolist()
        sorted_rows = rows[order // self.num_chosen].split(counts)
        found = torch.cat([expert(part) for expert, part in zip(self.experts, sorted_rows, strict=True)])
        return torch.empty_like(found).index_copy_(0, order, found).unflatten(0, chosen.shape)


class Merge(nn.Module):
    """Takes the place of the stream: a linear map of a stored output and the stream, layer-normed."""

    def __init__(self, config: SkipDiTConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(self, stored: Tensor, tokens: Tensor) -> Float[Tensor, "batch tokens width"]:
        """The merged stream. Trained so: the stored output comes first."""
        return self.norm(self.linear(torch.cat([stored, tokens], dim=-1)))


class SkipBlock(nn.Module):
    """Self-attention, cross-attention and feed-forward, each behind its own layer norm."""

    def __init__(self, config: SkipDiTConfig, *, merges: bool, has_experts: bool) -> None:
        super().__init__()
        width, eps = config.width, config.norm_eps
        self.merge = Merge(config) if merges else None
        self.norm_1, self.norm_2, self.norm_3 = (nn.LayerNorm(width, eps=eps) for _ in range(3))
        self.attention = SelfAttention(config)
        self.cross_attention = CrossAttention(config)
        self.feed_forward = Experts(config) if has_experts else Mlp(width, config.mlp_hidden)

    def forward(
        self, tokens: Float[Tensor, "batch tokens width"], seen: Heads | None
    ) -> Float[Tensor, "batch tokens width"]:
        """Tokens, one block further. `seen` is None where there is no picture."""
        tokens = tokens + self.attention(self.norm_1(tokens))
        tokens = tokens + self.cross_attention(self.norm_2(tokens), seen)
        return tokens + self.feed_forward(self.norm_3(tokens))


class SkipDiT(nn.Module):
    """The whole denoiser. A sampler makes `keys_values(context)` once per picture and asks `velocity` at each step."""

    def __init__(self, config: SkipDiTConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.latent_in = nn.Linear(config.latent_channels, width)
        self.time_in = TimeEmbedding(width)
        self.blocks = nn.ModuleList(
            SkipBlock(config, merges=config.merges(number), has_experts=config.has_experts(number))
            for number in range(config.num_blocks)
        )
        self.final_norm = nn.LayerNorm(width, eps=config.norm_eps)
        self.final = nn.Linear(width, config.latent_channels)

    def forward(
        self,
        latents: Float[Tensor, "batch tokens channels"],
        time: Float[Tensor, " batch"],
        context: Float[Tensor, "batch context context_width"],
    ) -> Float[Tensor, "batch tokens channels"]:
        """The velocity, in the network's own time and direction."""
        return self.velocity(latents, time, self.keys_values(context))

    def keys_values(self, context: Float[Tensor, "batch context context_width"]) -> list[Heads]:
        """Keys and values of a picture, block after block."""
        return [block.cross_attention.keys_values(context) for block in self._skip_blocks()]

    def velocity(
        self,
        latents: Float[Tensor, "batch tokens channels"],
        time: Float[Tensor, " batch"],
        seen: Sequence[Heads] | None,
    ) -> Float[Tensor, "batch tokens channels"]:
        """The velocity, given `keys_values(context)`; None is the context of zeros, exactly and for less."""
        tokens = torch.cat([self.time_in(time)[:, None], self.latent_in(latents)], dim=1)
        stored: list[Tensor] = []
        for number, block in enumerate(self._skip_blocks()):
            if block.merge is not None:
                tokens = block.merge(stored.pop(), tokens)
            tokens = block(tokens, None if seen is None else seen[number])
            if number < self.config.middle:
                stored.append(tokens)
        return self.final(self.final_norm(tokens)[:, 1:])

    def _skip_blocks(self) -> Iterable[SkipBlock]:
        return cast(Iterable[SkipBlock], self.blocks)
