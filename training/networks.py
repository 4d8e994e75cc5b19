"""The sizes of the tiny model, its starting weights, and the encoder that is trained with it but not shipped.

Knows the networks of `hy3dgen`, nothing of data files or schedules.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hy3dgen.families.hunyuan3d_2 import FRAME
from hy3dgen.networks.image_encoder import Conditioner, ConditionerConfig
from hy3dgen.networks.stream_dit import DiT, DiTConfig, Modulation
from hy3dgen.networks.vecset_decoder import ShapeVAE, VAEConfig, fourier_features
from training.data import GRID_CLAMP, GRID_HALF_SIDE, IMAGE_PX

NUM_LATENTS, LATENT_CHANNELS = 32, 16
NUM_COMPONENTS = 384
OFFSETS_PER_AXIS, OFFSET_REACH, ANCHOR_FREQUENCIES = 4, 0.24, 4
NUM_OFFSETS = OFFSETS_PER_AXIS**3
# The field saturates at this distance from the surface, in model units.
TRUNCATION = 0.1

VAE = VAEConfig(
    latent_channels=LATENT_CHANNELS,
    width=128,
    num_heads=4,
    num_layers=4,
    num_frequencies=5,
    qkv_bias=False,
    qk_norm=True,
    geo_width=128,
    geo_heads=4,
    geo_mlp_ratio=2,
    geo_has_ln_post=True,
    geo_qk_norm=True,
)
CONDITIONER = ConditionerConfig(
    width=128, num_layers=4, num_heads=4, is_swiglu=True, mlp_ratio=4, native_px=IMAGE_PX, working_px=IMAGE_PX
)
DIT = DiTConfig(
    hidden=128,
    latent_channels=LATENT_CHANNELS,
    context_width=CONDITIONER.width,
    num_double_blocks=1,
    num_single_blocks=4,
    num_heads=4,
    mlp_ratio=4.0,
    qkv_bias=True,
    has_guidance=False,
)


def target_field(distances: Tensor) -> Tensor:
    """What a logit should be at a signed distance: 1 deep inside, -1 well outside, linear between."""
    return (-distances / TRUNCATION).clamp(-1, 1)


class GridBasis(nn.Module):
    """Principal components of the coarse distance grids: a shape as NUM_COMPONENTS balanced numbers."""

    mean: Tensor
    components: Tensor

    def __init__(self, num_cells: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_cells))
        self.register_buffer("components", torch.zeros(num_cells, NUM_COMPONENTS))

    @torch.no_grad()
    def fit(self, grids: Tensor) -> None:
        """Sets the basis from grids [n, cells]; large components are damped, so that detail counts."""
        self.mean.copy_(grids.mean(0))
        centred = grids - self.mean
        variance, vectors = torch.linalg.eigh(centred.T @ centred / len(grids))
        top = slice(-NUM_COMPONENTS, None)
        scale = (variance[top].clamp(min=1e-6 * float(variance[-1])) * variance[-1]) ** -0.25
        self.components.copy_((vectors[:, top] * scale).flip(1))
        self.components.div_(((centred[:4096] @ self.components) ** 2).mean().sqrt())

    @torch.no_grad()
    def forward(self, grids: Tensor) -> Tensor:
        """Coordinates [batch, NUM_COMPONENTS] of grids [batch, cells]; about unit size on average."""
        return (grids.float() - self.mean) @ self.components


class LocalSamples(nn.Module):
    """Distances around each anchor, read off the coarse grids: what one latent token knows of a shape.

    Anchors [N, 3] are spread over where surfaces lie in the training data. Grids are x slowest.
    """

    anchors: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("anchors", torch.zeros(NUM_LATENTS, 3))

    @torch.no_grad()
    def forward(self, grids: Tensor) -> Tensor:
        """Distances [batch, N, NUM_OFFSETS] in units of the grid's clamp, from grids [batch, cells]."""
        side = round(grids.shape[1] ** (1 / 3))
        steps = torch.linspace(-1, 1, OFFSETS_PER_AXIS) * OFFSET_REACH
        places = self.anchors[:, None] + torch.cartesian_prod(steps, steps, steps)
        # grid_sample counts its axes backwards: its first coordinate runs along the last axis.
        where = (places.flip(-1) / GRID_HALF_SIDE)[None, None].expand(len(grids), -1, -1, -1, -1)
        volume = grids.float().view(-1, 1, side, side, side)
        found = functional.grid_sample(volume, where, padding_mode="border", align_corners=False)
        return found.view(len(grids), NUM_LATENTS, -1) / GRID_CLAMP


class GridEncoder(nn.Module):
    """A shape's coarse distance grid to the mean and log variance of its latents.

    Every token is the same function of its anchor, the distances around it and the whole shape. A set without
    order can't learn thirty-two functions; it can learn one.
    """

    def __init__(self, num_cells: int, width: int = 256, num_blocks: int = 3) -> None:
        super().__init__()
        self.basis, self.samples = GridBasis(num_cells), LocalSamples()
        self.from_local = nn.Linear(NUM_OFFSETS, width)
        self.from_anchor = nn.Linear(3 * (1 + 2 * ANCHOR_FREQUENCIES), width)
        self.from_whole = nn.Linear(NUM_COMPONENTS, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
            )
            for _ in range(num_blocks)
        )
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * LATENT_CHANNELS))

    def forward(self, coordinates: Tensor, local: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance, each [batch, N, LATENT_CHANNELS], from `basis(grids)` and `samples(grids)`."""
        anchor = fourier_features(self.samples.anchors[None], ANCHOR_FREQUENCIES)
        hidden = self.from_local(local) + self.from_anchor(anchor) + self.from_whole(coordinates)[:, None]
        for block in self.blocks:
            hidden = hidden + block(hidden)
        mean, log_variance = self.leave(hidden).chunk(2, -1)
        return mean, (log_variance - 4).clamp(-12, 4)

    @torch.no_grad()
    def encode(self, grids: Tensor) -> Tensor:
        """The mean latents [n, N, C] of grids [n, cells]."""
        parts = grids.split(2048)
        return torch.cat([self(self.basis(part), self.samples(part))[0] for part in parts])


class LatentHeads(nn.Module):
    """Reads the family and the latents off a picture's tokens: trains the conditioner, then is thrown away.

    The latents are read twice: all from the pooled tokens, and each from its own pair of patch tokens, which is
    where the denoiser can then find it.
    """

    def __init__(self, width: int, num_families: int, num_values: int) -> None:
        super().__init__()
        self.family = nn.Linear(2 * width, num_families)
        self.pooled = nn.Linear(2 * width, num_values)
        self.paired = nn.Linear(2 * width, num_values // NUM_LATENTS)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Family logits and two readings of the values [batch, num_values] from tokens [batch, 1 + patches, width]."""
        pooled = torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], -1)
        pairs = tokens[:, 1 : 1 + 2 * NUM_LATENTS].unflatten(1, (NUM_LATENTS, 2)).flatten(2)
        return self.family(pooled), self.pooled(pooled), self.paired(pairs).flatten(1)


def new_vae() -> ShapeVAE:
    """A decoder with fresh weights; its scale factor is set when training ends."""
    return ShapeVAE(VAE, scale_factor=1.0, frame=FRAME)


def new_conditioner() -> Conditioner:
    """A picture encoder with fresh weights."""
    return Conditioner(CONDITIONER)


def new_dit() -> DiT:
    """A denoiser with fresh weights whose blocks begin closed: gates and output start at zero."""
    dit = DiT(DIT)
    for module in dit.modules():
        if isinstance(module, Modulation):
            nn.init.zeros_(module.linear.weight)
            nn.init.zeros_(module.linear.bias)
    nn.init.zeros_(dit.final.weight)
    nn.init.zeros_(dit.final.bias)
    return dit
