"""The stages that make cut-outs: download and cut out. They come before the device, of a job or by themselves."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ai_engine.errors import JobError
from ai_engine.facts import ViewName
from ai_engine.images.background import cut_out
from ai_engine.images.download import fetch_image
from ai_engine.job import Artifact, PictureSource
from ai_engine.logs import event
from ai_engine.pipeline.lanes import Clock, turn
from ai_engine.pipeline.resources import Resources, Run
from ai_engine.pipeline.stages.attempts import with_retries
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
        if source.image is not None and source.mask_url is None:
            self.run.progress(Stage.DOWNLOAD, 0, 1)
            return StageResult(source.image, {Stage.DOWNLOAD.value: 0.0}, mask=source.mask)
        with turn(self.resources.lanes.download, self.run), self.run.aside(), Clock() as clock:
            self.run.progress(Stage.DOWNLOAD, 0, 1)
            picture = source.image or self._fetch(source.image_url, "picture")
            mask = source.mask or (self._fetch(source.mask_url, "mask") if source.mask_url else None)
            seconds = clock.seconds
        return StageResult(picture, {Stage.DOWNLOAD.value: seconds}, mask=mask)

    def _fetch(self, url: str | None, what: What) -> Artifact:
        assert url is not None
        data = self._fetch_with_retries(url, what)
        name = self.source.file_name(what)
        return self.resources.store.put_bytes(self.source.entry_id, name, data, is_shared=False)

    def _fetch_with_retries(self, url: str, what: What) -> bytes:
        limits, http = self.resources.download_limits, self.resources.http

        def fetch() -> bytes:
            return fetch_image(url, http=http, limits=limits, what=what)

        attempts = self.resources.download_attempts
        return with_retries(fetch, self.run, self.source.entry_id, attempts=attempts)

    def cut_out(self, picture: StageResult) -> StageResult:
        """The object on transparent ground, a PNG file, and its facts."""
        source = self.source
        if source.cut_out is not None:
            made = source.cut_out
            return StageResult(made.artifact, {Stage.CUTOUT.value: 0.0}, cutout=made.facts)
        file = self.present(picture, self.download)
        mask = self._mask(picture)
        with turn(self.resources.lanes.cutout, self.run), Clock() as clock:
            self.run.progress(Stage.CUTOUT, 0, 1)
            cutout = cut_out(
                file.read_bytes(),
                remove=source.remove_background,
                remover=self.resources.removers.choose(source.matting_model),
                mask=mask,
                max_pixels=self.resources.max_image_pixels,
            )
            name = source.file_name("cutout.png")
            artifact = self.resources.store.put_bytes(source.entry_id, name, cutout.to_png())
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


class ViewStages:
    """The stages that make the cut-outs of all views of an object, or of its one picture."""

    def __init__(self, sources: Sequence[PictureSource], resources: Resources, run: Run) -> None:
        self.views = {source.view: PictureStages(source, resources, run) for source in sources}

    def download(self) -> StageResult:
        """The files of all views, as `PictureStages` makes them. An error names its view."""
        return _join({view: self._download(view) for view in self.views})

    def cut_out(self, pictures: StageResult) -> StageResult:
        """The object of each view on transparent ground, and its facts. An error names its view."""
        return _join({view: self._cut_out(view, pictures) for view in self.views})

    def files(self, pictures: StageResult, cutouts: StageResult) -> dict[ViewName | None, Path]:
        """The cut-outs' files, each made again if it is gone."""
        return {view: self._file(view, pictures, cutouts) for view in self.views}

    def _download(self, view: ViewName | None) -> StageResult:
        with _name_view(view):
            return self.views[view].download()

    def _cut_out(self, view: ViewName | None, pictures: StageResult) -> StageResult:
        with _name_view(view):
            return self.views[view].cut_out(_part(pictures, view))

    def _file(self, view: ViewName | None, pictures: StageResult, cutouts: StageResult) -> Path:
        return self.views[view].present(_part(cutouts, view), lambda: self._cut_out(view, pictures))


def _part(result: StageResult, view: ViewName | None) -> StageResult:
    """One view's part of a stage's result."""
    return result if view is None else replace(result, artifact=result.views[view])


def _join(results: Mapping[ViewName | None, StageResult]) -> StageResult:
    """The result of a stage whose views' results these are."""
    first = next(iter(results.values()))
    named = {view: result for view, result in results.items() if view is not None}
    if not named:
        return first
    stages = first.seconds
    return StageResult(
        first.artifact,
        {stage: sum(result.seconds[stage] for result in named.values()) for stage in stages},
        views={view: result.artifact for view, result in named.items()},
        cutouts={view: result.cutout for view, result in named.items() if result.cutout is not None},
    )


@contextmanager
def _name_view(view: ViewName | None) -> Iterator[None]:
    """Raises a JobError of the block with the name of its view."""
    try:
        yield
    except JobError as error:
        if view is None:
            raise
        detail = f"View {view}: {error.detail}"
        raise type(error)(detail, stage=error.stage, retryable=error.retryable) from error
