"""Draws the pictures of finished meshes that are asked for. Knows no database."""

from __future__ import annotations

import logging
import time

from ai_engine.job_queue.on_demand import PreviewOutcome, PreviewTask
from ai_engine.logs import event
from ai_engine.pipeline.preview import draw_preview
from ai_engine.storage.store import ArtifactStore

logger = logging.getLogger(__name__)


def make_preview(task: PreviewTask, store: ArtifactStore) -> PreviewOutcome:
    """The picture that is asked for, or that its mesh is no longer kept.

    Raises:
        StoreUnavailable: the mesh can't be had now.
    """
    began_at = time.monotonic()
    try:
        picture = draw_preview(task.job_id, task.mesh, store, is_z_up=task.is_z_up)
    except FileNotFoundError:
        event(logger, "no preview, the mesh is gone", job_id=task.job_id)
        return PreviewOutcome(None)
    seconds = round(time.monotonic() - began_at, 3)
    event(logger, "preview drawn", job_id=task.job_id, seconds=seconds)
    return PreviewOutcome(picture)
