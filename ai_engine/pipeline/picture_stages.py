"""The stages that make a cut-out: download and cut out. They come before the device, of a job or by themselves."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from ai_engine.errors import DownloadError
from ai_engine.images.background import cut_out
from ai_engine.images.download import fetch_image
from ai_engine.job import Artifact, PictureSource
from ai_engine.logs import event
from ai_engine.pipeline.lanes import Clock, turn
from ai_engine.pipeline.resources import Resources, Run
from ai_engine.stage import Stage
from ai_engine.stage_result import StageResult

What = Literal["picture", "mask"]

logger = logging.getLogger(__name__)


class PictureStages:
    """The stages that make a cut-out of one picture."""

    def __init__(self, source: PictureSource, resources: Resources, run: Run) -> None:
        self.source = source
        self.resources = resources
        self.run = run

    def download(self) -> StageResult:
        """The files of the picture and of the mask, if there is one, as the caller's URLs give them."""
        source = self.source
        if source.cut_out is not None:
            return StageResult(source.cut_out.artifact, {Stage.DOWNLOAD.value: 0.0})
        with turn(self.resources.lanes.download, self.run.waits), Clock() as clock:
            self.run.progress(Stage.DOWNLOAD, 0, 1)
            picture = source.image or self._fetch(source.image_url, "picture")
            mask = source.mask or (self._fetch(source.mask_url, "mask") if source.mask_url else None)
            is_here = source.image is not None and source.mask_url is None
            seconds = 0.0 if is_here else clock.seconds
        return StageResult(picture, {Stage.DOWNLOAD.value: seconds}, mask=mask)

    def _fetch(self, url: str | None, what: What) -> Artifact:
        assert url is not None
        data = self._fetched(url, what)
        return self.resources.store.put_bytes(self.source.entry_id, what, data, is_shared=False)

    def _fetched(self, url: str, what: What) -> bytes:
        limits, http = self.resources.download_limits, self.resources.http
        for attempt in range(1, self.resources.download_attempts):
            try:
                return fetch_image(url, http=http, limits=limits, what=what)
            except DownloadError as error:
                if not error.retryable:
                    raise
                entry_id = self.source.entry_id
                event(logger, "download failed, trying again", job_id=entry_id, detail=error.detail)
                time.sleep(2 ** (attempt - 1) * random.uniform(0.8, 1.2))
                self.run.progress(Stage.DOWNLOAD, 0, 1)
        return fetch_image(url, http=http, limits=limits, what=what)

    def cut_out(self, picture: StageResult) -> StageResult:
        """The object on transparent ground, a PNG file, and its facts."""
        source = self.source
        if source.cut_out is not None:
            made = source.cut_out
            return StageResult(made.artifact, {Stage.CUTOUT.value: 0.0}, cutout=made.facts)
        file = self.present(picture, self.download)
        mask = self._mask(picture)
        with turn(self.resources.lanes.cutout, self.run.waits), Clock() as clock:
            self.run.progress(Stage.CUTOUT, 0, 1)
            cutout = cut_out(
                file.read_bytes(),
                remove=source.remove_background,
                remover=self.resources.removers.named(source.matting_model),
                mask=mask,
                max_pixels=self.resources.max_image_pixels,
            )
            artifact = self.resources.store.put_bytes(source.entry_id, "cutout.png", cutout.to_png())
        return StageResult(artifact, {Stage.CUTOUT.value: clock.seconds}, cutout=cutout.facts)

    def _mask(self, picture: StageResult) -> bytes | None:
        if picture.mask is None:
            return None
        mask = StageResult(picture.mask, {})
        return self.present(mask, self._mask_again).read_bytes()

    def _mask_again(self) -> StageResult:
        mask = self.download().mask
        assert mask is not None
        return StageResult(mask, {})

    def present(self, result: StageResult, make_again: Callable[[], StageResult]) -> Path:
        """The path of the file of `result`, made again if it is gone."""
        try:
            return self.resources.store.path(result.artifact)
        except FileNotFoundError:
            entry_id = self.source.entry_id
            event(logger, "file is gone, making it again", job_id=entry_id, file=result.artifact.uri)
        return self.resources.store.path(make_again().artifact)
