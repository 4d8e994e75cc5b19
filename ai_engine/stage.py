"""The stages of a job, in their order. Values only; everything may import this."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """The stages of a job, in their order."""

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


_SHARE = {
    Stage.DOWNLOAD: (0.0, 0.05),
    Stage.CUTOUT: (0.05, 0.1),
    Stage.DENOISE: (0.1, 0.7),
    Stage.DECODE: (0.7, 0.95),
    Stage.FINISH: (0.95, 1.0),
}
"""Which part of the whole each stage is, from 0 to 1: a rule of thumb for progress bars."""


def overall_progress(stage: Stage, done: int, total: int) -> float:
    """How far the whole job is, 0 to 1, when `stage` is at `done` of `total`."""
    begin, end = _SHARE.get(stage, (0.0, 0.0))
    return round(begin + (end - begin) * min(1.0, done / max(1, total)), 3)
