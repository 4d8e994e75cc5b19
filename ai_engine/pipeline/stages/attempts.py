"""A download, tried again while its failure may pass."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from ai_engine.errors import DownloadError, MeshDownloadFailed
from ai_engine.logs import event
from ai_engine.pipeline.resources import Run
from ai_engine.stage import Stage

T = TypeVar("T")

logger = logging.getLogger(__name__)


def with_retries(fetch: Callable[[], T], run: Run, entry_id: str, *, attempts: int) -> T:
    """What `fetch` gives back, after as many `attempts` as that takes; raises what the last one raised."""
    for attempt in range(1, attempts):
        try:
            return fetch()
        except (DownloadError, MeshDownloadFailed) as error:
            if not error.retryable:
                raise
            event(logger, "download failed, trying again", job_id=entry_id, detail=error.detail)
            time.sleep(2 ** (attempt - 1) * random.uniform(0.8, 1.2))
            run.progress(Stage.DOWNLOAD, 0, 1)
    return fetch()
