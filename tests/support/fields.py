"""Eight bodies with known signed distances, as logits of the kind the ShapeVAE gives: positive inside, saturating.

Sizes are model units in the box of half extent 1.01; `VOXEL` is a cell of that box at 256 cells per side. Bodies are
turned at random, so that nothing lines up with the lattice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hy3dgen.field.geometry import Box

BOX = Box.from_bounds(1.01)
LEVEL = -1 / 512
VOXEL = 2.02 / 256
Distance = Callable[[Tensor], Tensor]
"""Points [n, 3] -> signed distances [n], negative inside."""


def sphere(radius: float, center: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Distance:
    return lambda points: (points - points.new_tensor(center)).norm(dim=-1) - radius


def torus(major: float, minor: float) -> Distance:
    def distance(points: Tensor) -> Tensor:
        ring = torch.hypot(points[:, 0], points[:, 1]) - major
        return torch.hypot(ring, points[:, 2]) - minor

    return distance


def block(half: tuple[float, float, float]) -> Distance:
    def distance(points: Tensor) -> Tensor:
        excess = points.abs() - points.new_tensor(half)
        return excess.clamp_min(0).norm(dim=-1) + excess.amax(dim=-1).clamp_max(0)

    return distance


def rod(half_length: float, radius: float) -> Distance:
    def distance(points: Tensor) -> Tensor:
        nearest = points[:, 2].clamp(-half_length, half_length)
        return torch.stack([points[:, 0], points[:, 1], points[:, 2] - nearest], dim=-1).norm(dim=-1) - radius

    return distance


def gyroid_shell(cell: float, thickness: float, radius: float) -> Distance:
    """A gyroid sheet inside a ball; about a true distance near the sheet."""

    def distance(points: Tensor) -> Tensor:
        sine, cosine = (points * (2 * torch.pi / cell)).sin(), (points * (2 * torch.pi / cell)).cos()
        sheet = (sine * cosine.roll(-1, dims=-1)).sum(dim=-1) * (cell / (2 * torch.pi * 1.5))
        return torch.maximum(sheet.abs() - thickness / 2, points.norm(dim=-1) - radius)

    return distance


def block_with_holes() -> Distance:
    body = block((0.6, 0.45, 0.3))

    def distance(points: Tensor) -> Tensor:
        x, y, z = points.unbind(-1)
        nearest = torch.stack([x.abs() - 0.3, y, torch.zeros_like(z)], dim=-1)
        vertical = nearest[:, :2].norm(dim=-1) - 0.15
        along = torch.hypot(y, z) - 0.1
        return torch.maximum(body(points), -torch.minimum(vertical, along))

    return distance


def many_spheres(count: int = 70, seed: int = 7) -> Distance:
    generator = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    centers = 0.85 * directions * torch.rand(count, 1, generator=generator) ** (1 / 3)
    radii = 0.004 + 0.086 * torch.rand(count, generator=generator) ** 2

    bodies = [(*center, radius) for center, radius in zip(centers.tolist(), radii.tolist(), strict=True)]

    def distance(points: Tensor) -> Tensor:
        x, y, z = points.T.contiguous()
        nearest = torch.full_like(x, torch.inf)
        for center_x, center_y, center_z, radius in bodies:
            squared = (x - center_x).square_().add_((y - center_y).square_()).add_((z - center_z).square_())
            torch.minimum(nearest, squared.sqrt_().sub_(radius), out=nearest)
        return nearest

    return distance


def moved(distance: Distance, by: tuple[float, float, float]) -> Distance:
    return lambda points: distance(points - points.new_tensor(by))


def smooth_union(one: Tensor, other: Tensor, width: float) -> Tensor:
    blend = (width - (one - other).abs()).clamp_min(0) / width
    return torch.minimum(one, other) - 0.25 * width * blend * blend


def solid() -> Distance:
    """Body, head and two ears, smoothly joined: the compact solid with thin parts."""
    parts = [
        sphere(0.45, (0.0, 0.0, -0.3)),
        sphere(0.3, (0.1, 0.0, 0.3)),
        moved(rod(0.2, 0.05), (0.1, 0.12, 0.65)),
        moved(rod(0.2, 0.05), (0.1, -0.12, 0.65)),
    ]

    def distance(points: Tensor) -> Tensor:
        joined = parts[0](points)
        for part in parts[1:]:
            joined = smooth_union(joined, part(points), 0.08)
        return joined

    return distance


BODIES: dict[str, Distance] = {
    "sphere": sphere(0.85),
    "torus": torus(0.6, 0.24),
    "plate": block((0.63, 0.63, VOXEL / 2)),
    "gyroid shell": gyroid_shell(0.55, 0.06, 0.9),
    "block with holes": block_with_holes(),
    "70 small spheres": many_spheres(),
    "thin rod": rod(0.8, 0.75 * VOXEL),
    "solid": solid(),
}


@dataclass(frozen=True)
class Field:
    """Logits of a body: `tau` is the distance over which they saturate, `ripple` a small unrest everywhere."""

    distance: Distance
    rotation: Tensor
    offset: tuple[float, float, float]
    tau: float = 0.03
    ripple: float = 0.01

    def to(self, device: torch.device) -> Field:
        """The same logits, computed there."""
        return replace(self, rotation=self.rotation.to(device))

    def __call__(self, points: Tensor) -> Tensor:
        signed = self.distance((points - points.new_tensor(self.offset)) @ self.rotation.T)
        waves = (points * points.new_tensor((13.0, 17.0, 11.0))).sin().prod(dim=-1)
        return (1 - self.ripple) * torch.tanh(-1.2 * signed / self.tau) + self.ripple * waves


def field_of(name: str, seed: int = 0, tau: float = 0.03) -> Field:
    """A body, turned and moved a little at random."""
    generator = torch.Generator().manual_seed(100 + seed)
    x, y, z = (0.06 * torch.rand(3, generator=generator) - 0.03).tolist()
    return Field(BODIES[name], random_rotation(generator), offset=(x, y, z), tau=tau)


def random_rotation(generator: torch.Generator) -> Tensor:
    rotation, upper = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    rotation = rotation * upper.diagonal().sign()
    return (rotation * rotation.det()).float()
