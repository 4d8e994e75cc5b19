"""The names callers import, nothing else."""

from __future__ import annotations

from hy3dgen.errors import (
    CheckpointError,
    EmptyImage,
    EmptyMesh,
    GpuOutOfMemory,
    ImageError,
    LatentShapeError,
    NotFinite,
    SamplerUnfit,
    ShapeModelError,
)
from hy3dgen.field.geometry import Mesh
from hy3dgen.networks.vecset_decoder import ShapeVAE
from hy3dgen.pipeline import Hunyuan3DDiTFlowMatchingPipeline

__all__ = [
    "CheckpointError",
    "EmptyImage",
    "EmptyMesh",
    "GpuOutOfMemory",
    "Hunyuan3DDiTFlowMatchingPipeline",
    "ImageError",
    "LatentShapeError",
    "Mesh",
    "NotFinite",
    "SamplerUnfit",
    "ShapeModelError",
    "ShapeVAE",
]
