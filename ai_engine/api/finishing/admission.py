"""Admission of jobs that begin with a mesh: variants of a job, and meshes of callers' own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from ai_engine.api.admission import Admission
from ai_engine.api.request_body import Submission
from ai_engine.api.request_schema import JobRequest, MeshCheckRequest
from ai_engine.errors import MeshUrlForbidden
from ai_engine.job import Artifact, DecodedShape, Job, JobOptions
from ai_engine.web.url_fields import UrlField, check_urls

NO_SHAPE_MODEL = JobOptions(seed=0)
"""A caller's own mesh is asked of no shape model: nothing is drawn for it."""


@dataclass(frozen=True)
class Decoded:
    """What a job left for its variants."""

    shape: DecodedShape
    options: JobOptions
    """That the mesh was made with."""
    pedestal: Artifact | None = None
    """Where the variant names the one that the job had."""


@dataclass(frozen=True)
class FinishAdmission:
    """Makes the jobs that begin with a mesh, by the rules of all jobs."""

    admission: Admission

    def draft_variant(self, source: Job, submission: Submission[JobRequest]) -> Job:
        """The variant of `source` that would be admitted, unchecked: its id and digest say whether it is known.

        Raises:
            InvalidField: the idempotency key is malformed.
        """
        draft = self.admission.draft(submission)
        digest = _sha256(f"{draft.request_sha256} of {source.job_id}")
        return replace(draft, request_sha256=digest, model=source.model)

    def admit_variant(self, draft: Job, submission: Submission[JobRequest], known: Decoded) -> Job:
        """The variant with its own copies of the decoded mesh, of its outline and of the pedestal.

        Raises:
            InvalidField: an address may not be used.
            FileExpired: the mesh is no longer kept.
            StoreUnavailable: it can't be kept now.
        """
        files = self.admission.files
        kept = None if submission.pedestal else files.copy_pedestal(draft, known.pedestal)
        self.admission.check_finish(submission.request, submission.pedestal or kept)
        return replace(
            draft,
            options=known.options,
            decoded=files.copy_shape(known.shape, draft.job_id),
            pedestal=kept or files.keep(draft.job_id, "pedestal", submission.pedestal),
        )

    def draft_mesh_check(self, submission: Submission[MeshCheckRequest]) -> Job:
        """The job of a caller's own mesh that would be admitted, unchecked, as `draft_variant`.

        Raises:
            InvalidField: the idempotency key is malformed.
        """
        request, mesh = submission.request, submission.mesh
        draft = self.admission.draft(Submission(request.as_job(), None, submission.headers))
        which = mesh.sha256 if mesh else request.mesh_url
        return replace(
            draft,
            request_sha256=_sha256(f"{draft.request_sha256} mesh {which}"),
            options=NO_SHAPE_MODEL,
            mesh_url=request.mesh_url,
        )

    def admit_mesh_check(self, draft: Job, submission: Submission[MeshCheckRequest]) -> Job:
        """The job of a caller's own mesh, which is in the store when this returns, if it came inside the request.

        Raises:
            InvalidField: an address may not be used.
            StoreUnavailable: the mesh can't be kept now.
        """
        request = submission.request
        self.admission.check_finish(request.as_job(), submission.pedestal)
        if request.mesh_url is not None:
            policy = self.admission.downloads
            check_urls([UrlField(policy, "mesh_url", request.mesh_url, MeshUrlForbidden.code)])
        files = self.admission.files
        return replace(
            draft,
            mesh=files.keep(draft.job_id, "caller-mesh", submission.mesh),
            pedestal=files.keep(draft.job_id, "pedestal", submission.pedestal),
        )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
