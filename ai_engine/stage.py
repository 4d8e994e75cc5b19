"""The stations of a job, in their order. Values only; everything may import this."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """The stations of a job, in their order."""

    QUEUE = "queue"
    """Waiting for a worker."""
    DOWNLOAD = "download"
    """URL to image bytes."""
    CUTOUT = "cutout"
    """Image to object on transparent ground."""
    DENOISE = "denoise"
    """Noise to latents, one network call per step."""
    DECODE = "decode"
    """Latents to field to mesh."""
    FINISH = "finish"
    """Mesh to file."""
