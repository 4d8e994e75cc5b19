"""The files that a job begins with: those of its request, and its own copies of an earlier job's."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from ai_engine.api.request_body import Picture
from ai_engine.errors import FileExpired
from ai_engine.job import Artifact, DecodedShape, Job
from ai_engine.storage.store import ArtifactStore


@dataclass(frozen=True)
class KeptFiles:
    """Puts files into the store of jobs."""

    store: ArtifactStore

    def keep(self, entry_id: str, kind: str, picture: Picture | None) -> Artifact | None:
        """The file that came inside a request, in the store; None where none came.

        Raises:
            StoreUnavailable: it can't be kept now.
        """
        if picture is None:
            return None
        picture.file.seek(0)

        def write(path: Path) -> None:
            with path.open("wb") as file:
                shutil.copyfileobj(picture.file, file)

        # By its content: a later request under the same key must not harm the first one's.
        name = f"{kind}-{picture.sha256[:16]}"
        return self.store.put(entry_id, name, write, sha256=picture.sha256)

    def copy(self, file: Artifact, job_id: str) -> Artifact:
        """The file of another job, as one of this job.

        Raises:
            FileExpired: it is no longer kept.
        """
        if not self.store.has(file):
            raise FileExpired("The picture, or the mesh, is no longer kept; send the request again.")

        def write(path: Path) -> None:
            # In pieces: of a bucket's file no copy stays on this machine, where nobody would drop it.
            with path.open("wb") as copy:
                copy.writelines(self.store.read(file))

        return self.store.put(job_id, file.uri.rpartition("/")[2], write)

    def copy_shape(self, shape: DecodedShape, job_id: str) -> DecodedShape:
        """The shape with copies of its files for a job of that id.

        Raises:
            FileExpired: they are no longer kept.
        """
        outline = shape.outline and self.copy(shape.outline, job_id)
        return replace(shape, mesh=self.copy(shape.mesh, job_id), outline=outline)

    def copy_pedestal(self, job: Job, file: Artifact | None) -> Artifact | None:
        """The pedestal `file` of an earlier job as one of `job`; None where `job` fetches it from its URL.

        Raises:
            FileExpired: it is no longer kept, and has no URL.
        """
        base = job.print_options.base
        if file is None or base is None or base.mesh_url is None:
            return None
        is_gone = not self.store.has(file)
        return None if is_gone and not base.mesh_url.startswith("sha256:") else self.copy(file, job.job_id)
