"""The stage of a job that begins with a caller's own mesh: its file is fetched and read. It needs no device."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from ai_engine.caller_meshes.download import fetch_mesh
from ai_engine.caller_meshes.embedded import decode_mesh_url
from ai_engine.caller_meshes.pedestal import make_pedestal
from ai_engine.caller_meshes.read_apart import read_apart
from ai_engine.caller_meshes.read_here import ReadFacts
from ai_engine.images.data_url import is_data_url
from ai_engine.job import Artifact, Job
from ai_engine.logs import event
from ai_engine.mesh_files.npz import load_mesh, save_mesh
from ai_engine.pipeline.lanes import Clock, turn
from ai_engine.pipeline.resources import Resources, Run
from ai_engine.pipeline.stages.attempts import with_retries
from ai_engine.stage import Stage
from ai_engine.stage_result import StageResult

logger = logging.getLogger(__name__)


class MeshStages:
    """The stage that fetches and reads a caller's own mesh."""

    def __init__(self, job: Job, resources: Resources, run: Run) -> None:
        self.job = job
        self.resources = resources
        self.run = run

    def read(self) -> StageResult:
        """The mesh in the caller's file, Y up, an NPZ file; and the report on it as it came.

        Raises:
            MeshUrlForbidden, MeshDownloadFailed, MeshTooLarge: as `fetch_mesh`.
            MeshUnreadable, TooManyFaces, MeshBomb: as `read_apart`.
        """
        self.run.progress(Stage.DOWNLOAD, 0, 1)
        with Clock() as clock:
            source = self._source()
            with turn(self.resources.lanes.finish, self.run):
                artifact, found = self._read(self.resources.store.path(source))
        return StageResult(
            artifact,
            {Stage.DOWNLOAD.value: clock.seconds},
            mm_per_unit=found.mm_per_unit,
            check=found.report,
        )

    def fetch_pedestal(self) -> StageResult:
        """The pedestal that `base.mesh_url` names, a solid in millimetres with Z up, an NPZ file; and its file as it
        came, for retries and variants.

        Raises:
            AdditionUnfit: it bounds no solid.
            MeshUrlForbidden, MeshDownloadFailed, MeshTooLarge, MeshUnreadable, TooManyFaces, MeshBomb: as of `read`.
        """
        base = self.job.print_options.base
        assert base is not None
        assert base.mesh_url is not None
        self.run.progress(Stage.DOWNLOAD, 0, 1)
        with Clock() as clock:
            source = self.job.pedestal or self._fetch(base.mesh_url, "pedestal", is_shared=True)
            with turn(self.resources.lanes.finish, self.run):
                artifact = self._read_pedestal(self.resources.store.path(source))
        return StageResult(artifact, {Stage.DOWNLOAD.value: clock.seconds}, pedestal=source)

    def _read_pedestal(self, source: Path) -> Artifact:
        def write(path: Path) -> None:
            most = self.resources.mesh_limits.max_faces
            found = read_apart(source, path, max_faces=most, look=self._look, is_in_mm=True)
            save_mesh(make_pedestal(load_mesh(path), found.format), path)

        return self.resources.store.put(self.job.job_id, "pedestal.npz", write)

    def _read(self, source: Path) -> tuple[Artifact, ReadFacts]:
        found: list[ReadFacts] = []

        def write(path: Path) -> None:
            limits = self.resources.mesh_limits
            found.append(read_apart(source, path, max_faces=limits.max_faces, look=self._look))

        artifact = self.resources.store.put(self.job.job_id, "mesh.npz", write)
        return artifact, found[0]

    def _look(self) -> None:
        """Raises if the job should stop."""
        self.run.progress(Stage.DOWNLOAD, 0, 1)

    def _source(self) -> Artifact:
        """The caller's file."""
        if self.job.mesh is not None:
            return self.job.mesh
        assert self.job.mesh_url is not None
        return self._fetch(self.job.mesh_url, "caller-mesh", is_shared=False)

    def _fetch(self, url: str, name: str, *, is_shared: bool) -> Artifact:
        """The file at the URL, or in it: from Python a data URL comes as it is."""
        if is_data_url(url):
            data = decode_mesh_url(url, self.resources.mesh_limits)
            return self.resources.store.put_bytes(self.job.job_id, name, data, is_shared=is_shared)
        http, limits, attempts = (
            self.resources.http,
            self.resources.mesh_limits,
            self.resources.download_attempts,
        )
        with turn(self.resources.lanes.download, self.run), self.run.aside():
            data = with_retries(
                lambda: fetch_mesh(url, http=http, limits=limits),
                self.run,
                self.job.job_id,
                attempts=attempts,
            )
        return self.resources.store.put_bytes(self.job.job_id, name, data, is_shared=is_shared)

    def present(self, result: StageResult, make_again: Callable[[], StageResult]) -> Path:
        """The path of the file of `result`, made again if it is gone."""
        try:
            return self.resources.store.path(result.artifact)
        except FileNotFoundError:
            event(logger, "file is gone, making it again", job_id=self.job.job_id, file=result.artifact.uri)
        return self.resources.store.path(make_again().artifact)
