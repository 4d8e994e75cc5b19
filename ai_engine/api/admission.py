"""Admission control: turns a submission into a Job, or refuses it.

All that can be refused before work begins is refused here. Knows no routes and no job queue.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ai_engine.api.request_body import Picture, RequestHeaders, Submission
from ai_engine.api.request_schema import CutOutRequest, JobRequest, Redelivery, job_of
from ai_engine.api.submissions.kept_files import KeptFiles
from ai_engine.errors import (
    ImageUrlForbidden,
    InvalidField,
    MeshUrlForbidden,
    NotReady,
    SamplerUnfit,
    ViewsUnfit,
)
from ai_engine.facts import VIEWS
from ai_engine.job import Artifact, CutOut, Job, PictureSource, View
from ai_engine.job_queue.dbos_setup import choose_model
from ai_engine.job_queue.worker_leases import ServedModel
from ai_engine.monitoring.tracing import sane_traceparent
from ai_engine.outbound.addresses import AddressPolicy
from ai_engine.settings import Settings
from ai_engine.slicing.offer import SlicerOffer
from ai_engine.storage.store import ArtifactStore
from ai_engine.web.url_fields import UrlField, check_urls
from ai_engine.webhooks.task import NewTarget

MAX_KEY_CHARS = 255


@dataclass(frozen=True)
class Admission:
    """Checks submissions against the address policies, and makes the jobs that they ask for."""

    settings: Settings
    downloads: AddressPolicy
    webhooks: AddressPolicy
    store: ArtifactStore
    clock: Callable[[], float] = field(default=time.time, repr=False)
    matting_models: Callable[[], Collection[str] | None] = field(default=lambda: None, repr=False)
    """Those that the workers have; None when none has said yet."""
    takes_views: Callable[[str | None], bool | None] = field(default=lambda _: None, repr=False)
    """True where the model of this name takes several views; None when none has said yet."""
    slicer: Callable[[], SlicerOffer | None] = field(default=lambda: None, repr=False)
    """What every worker can slice with; None when none has said yet."""
    served_models: Callable[[], Sequence[ServedModel]] = field(default=tuple, repr=False)
    """The shape models that the workers serve; none when none has said yet."""

    @property
    def files(self) -> KeptFiles:
        """What puts the files of jobs into the store."""
        return KeptFiles(self.store)

    def admit(self, submission: Submission[JobRequest]) -> Job:
        """The job that is asked for, without a picture that came inside the request; writes nothing.

        Raises:
            InvalidField: an address, a model or a sampler may not be used, or the idempotency key is malformed.
            NotReady: a model is named, and no worker has said yet which ones it has.
        """
        request = submission.request
        job = self.draft(submission)
        check_urls(self._pictures(request))
        self.check_finish(request, submission.pedestal)
        self._check_matting_model(request.matting_model)
        model = self._model(request)
        if request.image_urls is not None or submission.views:
            self._check_views("image_urls" if request.image_urls else next(iter(submission.views)), model)
        return replace(job, model=model)

    def draft(self, submission: Submission[JobRequest]) -> Job:
        """The job that would be admitted, unchecked: its id and its digest say whether it is known already.

        Raises:
            InvalidField: the idempotency key is malformed.
        """
        request, headers = submission.request, submission.headers
        job_id = _job_id(headers)
        picture_sha256 = submission.picture.sha256 if submission.picture else ""
        mask_sha256 = f" {submission.mask.sha256}" if submission.mask else ""
        views = "".join(
            f" {view} {submission.views[view].sha256}" for view in VIEWS if view in submission.views
        )
        digest = _sha256(
            f"{request.model_dump_json(exclude_defaults=True)} {picture_sha256}{mask_sha256}{views}"
        )
        return replace(
            job_of(request, job_id=job_id, accepted_at_s=self.clock(), settings=self.settings),
            request_sha256=digest,
            owner=headers.owner,
            traceparent=sane_traceparent(headers.traceparent),
        )

    def check_finish(self, request: JobRequest, pedestal: Picture | Artifact | None) -> None:
        """Checks what is asked of the finished mesh; `pedestal` is the file of `base.mesh_url` that is there already.

        Raises:
            InvalidField: webhook, upload or pedestal may not be asked for, or links or G-code can't be had.
        """
        check_urls([*self._receivers(request), *(self._pedestal(request) if pedestal is None else ())])
        self._check_links(request)
        self._check_slice(request)

    def admit_cut_out(self, submission: Submission[CutOutRequest]) -> PictureSource:
        """The picture to cut out, under an id of its own; what came inside the request is in the store.

        Raises:
            InvalidField: an address or a matting model may not be used.
            NotReady: a matting model is named, and no worker has said yet which ones it has.
            StoreUnavailable: the picture can't be kept now.
        """
        request, entry_id = submission.request, uuid.uuid4().hex
        check_urls(self._pictures(request))
        self._check_matting_model(request.matting_model)
        return PictureSource(
            entry_id,
            request.image_url,
            self.files.keep(entry_id, "picture", submission.picture),
            request.mask_url,
            self.files.keep(entry_id, "mask", submission.mask),
            request.matting_model,
            request.remove_background,
        )

    def accept(self, job: Job, cut_out: CutOut) -> Job:
        """The job with its own copy of a cut-out that was made before.

        Raises:
            FileExpired: its file is no longer kept.
        """
        file = self.files.copy(cut_out.artifact, job.job_id)
        return replace(job, cut_out=replace(cut_out, artifact=file))

    def keep_pictures(self, job: Job, submission: Submission[JobRequest]) -> Job:
        """The job with the picture, mask and pedestal of its request, which are in the store when this returns.

        Raises:
            StoreUnavailable: they can't be kept now.
        """
        image = self.files.keep(job.job_id, "picture", submission.picture)
        kept = {
            view: View(None, self.files.keep(job.job_id, view, picture))
            for view, picture in submission.views.items()
        }
        return replace(
            job,
            image=image,
            mask=self.files.keep(job.job_id, "mask", submission.mask),
            views=job.views | kept,
            pedestal=self.files.keep(job.job_id, "pedestal", submission.pedestal),
        )

    def retry(self, job: Job, pedestal: Artifact | None = None) -> Job:
        """The next attempt at `job`, with its own copies of pictures that came inside the request, and of `pedestal`,
        which it fetched.

        Raises:
            FileExpired: they are no longer kept.
            InvalidField: no worker serves the job's model any more.
            NotReady: it has one, and no worker has said yet which ones it serves.
        """
        choose_model(job.model, self._served_names(), self.settings)
        attempt = job.again(self.clock())
        own = (job.image, job.mask, job.mesh)
        image, mask, mesh = (file and self.files.copy(file, attempt.job_id) for file in own)
        views = {
            name: replace(view, image=view.image and self.files.copy(view.image, attempt.job_id))
            for name, view in job.views.items()
        }
        pedestal = self.files.copy_pedestal(attempt, job.pedestal or pedestal)
        attempt = replace(attempt, image=image, mask=mask, mesh=mesh, views=views, pedestal=pedestal)
        if job.decoded is not None:
            return replace(attempt, decoded=self.files.copy_shape(job.decoded, attempt.job_id))
        return attempt if job.cut_out is None else self.accept(attempt, job.cut_out)

    def check_target(self, redelivery: Redelivery) -> NewTarget:
        """Where a redelivery goes, its addresses checked as those of a submission.

        Raises:
            InvalidField: an address may not be used, or there are headers of an upload without its URL.
        """
        check_urls(self._receivers(redelivery))
        headers = redelivery.upload_headers or {}
        return NewTarget(redelivery.webhook_url, redelivery.upload_url, headers)

    def _receivers(self, request: JobRequest | Redelivery) -> Iterator[UrlField]:
        if request.webhook_url is not None:
            yield UrlField(self.webhooks, "webhook_url", request.webhook_url, "webhook_url_forbidden")
        if request.upload_url is not None:
            yield UrlField(self.webhooks, "upload_url", request.upload_url, "upload_url_forbidden")
        elif request.upload_headers:
            raise InvalidField("upload_headers", "there is no upload_url to send them to", code="no_upload")

    def _check_links(self, request: JobRequest) -> None:
        if request.webhook_format == "link" and self.settings.public_url is None:
            raise InvalidField("webhook_format", "this service has no PUBLIC_URL to link to", code="no_links")

    def _pedestal(self, request: JobRequest) -> Iterator[UrlField]:
        if request.base is not None and request.base.mesh_url is not None:
            yield UrlField(self.downloads, "base.mesh_url", request.base.mesh_url, MeshUrlForbidden.code)

    def _check_slice(self, request: JobRequest) -> None:
        if request.slice is None:
            return
        offer = self.slicer()
        if offer is None:
            raise NotReady("No worker has said yet whether it has a slicer.", retry_after_s=5)
        refusal = offer.refusal(request.slice)
        if refusal is not None:
            raise InvalidField(refusal.field, refusal.reason, code=refusal.code)

    def _pictures(self, request: JobRequest | CutOutRequest) -> Iterator[UrlField]:
        if request.image_url is not None:
            yield UrlField(self.downloads, "image_url", request.image_url, ImageUrlForbidden.code)
        if request.mask_url is not None:
            yield UrlField(self.downloads, "mask_url", request.mask_url, "mask_url_forbidden")
        if isinstance(request, JobRequest) and request.image_urls is not None:
            for view, url in request.image_urls.by_view.items():
                yield UrlField(self.downloads, f"image_urls.{view}", url, ImageUrlForbidden.code)

    def _model(self, request: JobRequest) -> str | None:
        """The shape model that the job goes to, as `choose_model`; it takes the request's sampler."""
        served = self.served_models()
        model = choose_model(request.model, [one.name for one in served], self.settings)
        cards = (one.facts.samplers for one in served if one.name == model and one.facts)
        is_distilled = self.settings.place_of(model).is_distilled
        samplers = next(cards, ("euler",) if is_distilled else ("euler", "adams"))
        if request.options(self.settings.speed).sampler not in samplers:
            raise InvalidField(
                "speed" if request.sampler is None else "sampler",
                "the model is distilled: it was trained for its own few times",
                code=SamplerUnfit.code,
            )
        return model

    def _served_names(self) -> list[str]:
        return [one.name for one in self.served_models()]

    def _check_views(self, field: str, model: str | None) -> None:
        takes_views = self.takes_views(model)
        if takes_views is None:
            raise NotReady("No worker has said yet whether its model takes several views.", retry_after_s=5)
        if not takes_views:
            raise InvalidField(field, "the model takes one view only", code=ViewsUnfit.code)

    def _check_matting_model(self, name: str | None) -> None:
        if name is None:
            return
        installed = self.matting_models()
        if installed is None:
            raise NotReady("No worker has said yet which matting models it has.", retry_after_s=5)
        if name not in installed:
            known = ", ".join(installed) or "none"
            raise InvalidField("matting_model", f"installed are: {known}", code="matting_model_unknown")


def _job_id(headers: RequestHeaders) -> str:
    key = headers.idempotency_key
    if key is None:
        return uuid.uuid4().hex
    if not (0 < len(key) <= MAX_KEY_CHARS and key.isprintable()):
        raise InvalidField(
            "Idempotency-Key", f"1 to {MAX_KEY_CHARS} printable characters", code="invalid_key"
        )
    # Each owner has keys of their own: no caller learns, or takes, what another one uses.
    owner = "" if headers.owner is None else f" of {headers.owner}"
    return _sha256(f"idempotency key{owner} {key}")[:32]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
