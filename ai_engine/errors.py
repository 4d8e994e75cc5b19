"""Everything that can go wrong on purpose in the service, drawn as two trees.

JobError                   ends a job; travels in its status and its webhook     stage      retryable
|- ImageUrlForbidden       image_url_forbidden     address not public            download   no
|- DownloadError           image_download_failed   no usable answer              download   yes
|- ImageTooLarge           image_too_large         bytes or pixels over limit    download   no
|- UnreadableImage         image_invalid           no picture, or damaged        cutout     no
|- NoForeground            no_foreground           nothing to build from         cutout     no
|- MaskUnusable            mask_invalid            does not fit, shows nothing   cutout     no
|- MeshUrlForbidden        mesh_url_forbidden      address not public            download   no
|- MeshDownloadFailed      mesh_download_failed    no usable answer              download   yes
|- MeshUnreadable          mesh_invalid            no mesh, or damaged           download   no
|  |- MeshTooLarge         mesh_too_large          bytes over limit              download   no
|  |- TooManyFaces         mesh_too_many_faces     faces over limit              download   no
|  '- MeshBomb             mesh_bomb               unpacks to too much           download   no
|- SamplerUnfit            sampler_unfit           the model is distilled        denoise    no
|- ViewsUnfit              views_unfit             the model takes one view      denoise    no
|- GpuOutOfMemory          gpu_out_of_memory       not even the smallest fits    denoise    yes
|- GenerationTimeout       generation_timeout      the whole job took too long   denoise    yes
|- EmptyMesh               empty_mesh              the field has no surface      decode     no
|- NotPrintable            not_printable           asked for, not reached        finish     no
|- AdditionUnfit           addition_unfit          base, ring, hollow don't fit  finish     no
|- ResultTooLarge          result_too_large        the file is over the limit    finish     no
|- SliceFailed             slice_failed            the slicer gives no G-code    finish     no
|- JobCancelled            cancelled               the caller asked to stop      queue      no
|- WorkerLost              worker_lost             its worker died, repeatedly   queue      no
'- InternalError           internal                our own bug; the log knows    queue      yes

RequestRefused             answers a request; travels as problem+json            status
|- KeyWrong                unauthorized            no key, or an unknown one     401
|- JobNotFound             not_found                                             404
|- BodyTooSlow             request_timeout         the body took too long        408
|- FileNotReady            not_ready               the job has no file yet       409
|- KeyReused               idempotency_key_reused  same key, another body        409
|- JobSucceeded            job_succeeded           nothing to run again          409
|- NoWebhook               no_webhook              no webhook and no upload URL  409
|- DeliveryUnderWay        delivery_under_way      being sent at this moment     409
|- HostUnknown             host_unknown            asked for by another's name   403
|- OperatorsOnly           operators_only          the key is no operator's      403
|- CrossOrigin             cross_origin            a page's form, from elsewhere  403
|- LinkInvalid             link_invalid            not signed by us              403
|- FileExpired             expired                                               410
|- LinkExpired             link_expired                                          410
|- BodyTooLarge            body_too_large                                        413
|- BodyTypeUnknown         unsupported_media_type                                415
|- InvalidField            validation_failed       `errors` name the fields      422
|- QueueFull               queue_full              with `Retry-After`            429
|- TooManyJobs             too_many_jobs           of this key; likewise         429
|- TooManyStreams          too_many_streams        likewise                      429
|- TooManyBodies           too_many_bodies         likewise                      429
|- RateExceeded            rate_limited            likewise                      429
|- DiskFull                disk_full               with `Retry-After`            429
'- NotReady                unavailable             still starting                503
   '- StoreUnavailable     unavailable             files can't be reached        503

DeviceFault                the device broke; the process leaves and is started again; not shown to callers
StartupError               keeps a process from starting; travels in the log and in /readyz

A message is one sentence for the caller: never a path, a stack, or bytes that another server sent.
"""

from __future__ import annotations

from typing import ClassVar

from ai_engine.stage import Stage


class JobError(Exception):
    """Root of what ends a job. `stage` and `retryable` have a default per class and may be given per case."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "The job failed"
    stage: Stage = Stage.QUEUE
    retryable: bool = False

    def __init__(
        self, detail: str = "", *, stage: Stage | None = None, retryable: bool | None = None
    ) -> None:
        super().__init__(detail)
        if stage is not None:
            self.stage = stage
        if retryable is not None:
            self.retryable = retryable

    @property
    def detail(self) -> str:
        """One sentence for the caller."""
        return str(self) or self.title


class ImageUrlForbidden(JobError):
    """The picture's URL, or one that it redirects to, leads where this service may not go."""

    code = "image_url_forbidden"
    title = "The picture's address is not allowed"
    stage = Stage.DOWNLOAD


class DownloadError(JobError):
    """The picture's server gave no usable answer in time."""

    code = "image_download_failed"
    title = "The picture could not be downloaded"
    stage = Stage.DOWNLOAD
    retryable = True


class ImageTooLarge(JobError):
    """The picture has more bytes or more pixels than are allowed."""

    code = "image_too_large"
    title = "The picture is too large"
    stage = Stage.DOWNLOAD


class UnreadableImage(JobError):
    """The bytes are no picture of a supported format, or a damaged one."""

    code = "image_invalid"
    title = "The picture can't be read"
    stage = Stage.CUTOUT


class NoForeground(JobError):
    """Nothing is left of the picture once its background is taken away."""

    code = "no_foreground"
    title = "No object was found in the picture"
    stage = Stage.CUTOUT


class MaskUnusable(JobError):
    """The caller's mask does not have the picture's shape, or shows nothing."""

    code = "mask_invalid"
    title = "The mask can't be used"
    stage = Stage.CUTOUT


class MeshUrlForbidden(JobError):
    """The URL of a caller's mesh, or one that it redirects to, leads where this service may not go."""

    code = "mesh_url_forbidden"
    title = "The mesh's address is not allowed"
    stage = Stage.DOWNLOAD


class MeshDownloadFailed(JobError):
    """The server of a caller's mesh gave no usable answer in time."""

    code = "mesh_download_failed"
    title = "The mesh could not be downloaded"
    stage = Stage.DOWNLOAD
    retryable = True


class MeshUnreadable(JobError):
    """The bytes of a caller's mesh are none in STL, 3MF, OBJ, PLY or GLB, or a damaged one."""

    code = "mesh_invalid"
    title = "The mesh can't be read"
    stage = Stage.DOWNLOAD


class MeshTooLarge(MeshUnreadable):
    """The file of a caller's mesh has more bytes than are taken."""

    code = "mesh_too_large"
    title = "The mesh file is too large"


class TooManyFaces(MeshUnreadable):
    """A caller's mesh has more faces than are taken."""

    code = "mesh_too_many_faces"
    title = "The mesh has too many faces"


class MeshBomb(MeshUnreadable):
    """A caller's mesh unpacks to more than is taken, or needs more memory or time to be read."""

    code = "mesh_bomb"
    title = "The mesh file unpacks to too much"


class SamplerUnfit(JobError):
    """The sampler, or `speed`, that was asked for does not fit a distilled model."""

    code = "sampler_unfit"
    title = "The model can't be sampled that way"
    stage = Stage.DENOISE


class ViewsUnfit(JobError):
    """Several views were given, and the model takes one."""

    code = "views_unfit"
    title = "The model takes one view only"
    stage = Stage.DENOISE


class GpuOutOfMemory(JobError):
    """The device has no room even for the smallest step."""

    code = "gpu_out_of_memory"
    title = "The device ran out of memory"
    stage = Stage.DENOISE
    retryable = True


class GenerationTimeout(JobError):
    """The job took longer than its `timeout_s`."""

    code = "generation_timeout"
    title = "The job took too long"
    stage = Stage.DENOISE
    retryable = True


class EmptyMesh(JobError):
    """The generated field has no surface at the asked level."""

    code = "empty_mesh"
    title = "The generated shape is empty"
    stage = Stage.DECODE


class NotPrintable(JobError):
    """A printable mesh was required and could not be reached."""

    code = "not_printable"
    title = "The mesh can't be printed"
    stage = Stage.FINISH


class AdditionUnfit(JobError):
    """A base, a text, a ring, a magnet or a hollow that was asked for does not fit the object."""

    code = "addition_unfit"
    title = "What was to be added does not fit"
    stage = Stage.FINISH


class ResultTooLarge(JobError):
    """The mesh file is larger than was allowed."""

    code = "result_too_large"
    title = "The mesh file is too large"
    stage = Stage.FINISH


class SliceFailed(JobError):
    """The slicer refuses the finished mesh, or needs more time or memory than it may have."""

    code = "slice_failed"
    title = "The mesh could not be sliced"
    stage = Stage.FINISH


class JobCancelled(JobError):
    """The caller cancelled the job."""

    code = "cancelled"
    title = "The job was cancelled"


class WorkerLost(JobError):
    """Every worker that took the job died over it."""

    code = "worker_lost"
    title = "The worker died while it had this job, several times"


class InternalError(JobError):
    """Our own bug. The caller learns the job's id; the log has the rest."""

    code = "internal"
    title = "Something went wrong on our side"
    retryable = True


class RequestRefused(Exception):
    """Root of what answers a request with problem+json."""

    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "The request can't be served"
    status: ClassVar[int] = 500

    def __init__(self, detail: str = "", *, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s

    @property
    def detail(self) -> str:
        """One sentence for the caller."""
        return str(self) or self.title


class KeyWrong(RequestRefused):
    """The request brings no API key where one is needed, or one that is unknown."""

    code = "unauthorized"
    title = "A valid API key is needed"
    status = 401


class JobNotFound(RequestRefused):
    """No job, and no cut-out, has this id."""

    code = "not_found"
    title = "There is nothing of this id"
    status = 404


class BodyTooSlow(RequestRefused):
    """The request's body did not come in time."""

    code = "request_timeout"
    title = "The request body took too long"
    status = 408


class FileNotReady(RequestRefused):
    """The job exists, its file does not, or not yet."""

    code = "not_ready"
    title = "The job has no file"
    status = 409


class KeyReused(RequestRefused):
    """The idempotency key came before, with another body."""

    code = "idempotency_key_reused"
    title = "This idempotency key was used for another request"
    status = 409


class JobSucceeded(RequestRefused):
    """The job has its mesh: a retry would make it a second time."""

    code = "job_succeeded"
    title = "The job has succeeded"
    status = 409


class NoWebhook(RequestRefused):
    """The job's request named no webhook and no upload URL."""

    code = "no_webhook"
    title = "The job has no webhook"
    status = 409


class DeliveryUnderWay(RequestRefused):
    """An attempt to deliver is being made at this moment, or about to be."""

    code = "delivery_under_way"
    title = "The delivery is under way"
    status = 409


class HostUnknown(RequestRefused):
    """The request is for a host of another name than this service has."""

    code = "host_unknown"
    title = "This service is not known by that name"
    status = 403


class OperatorsOnly(RequestRefused):
    """The numbers of the whole service are for the keys of OPERATORS."""

    code = "operators_only"
    title = "This is for operators"
    status = 403


class CrossOrigin(RequestRefused):
    """A browser sent a form because a page of another origin made it do so."""

    code = "cross_origin"
    title = "Pages of other origins may not send forms"
    status = 403


class LinkInvalid(RequestRefused):
    """The link to a file was made by somebody else, or changed."""

    code = "link_invalid"
    title = "The link is not valid"
    status = 403


class LinkExpired(RequestRefused):
    """The link to a file held until a moment that is past."""

    code = "link_expired"
    title = "The link holds no longer"
    status = 410


class FileExpired(RequestRefused):
    """The file existed and was removed."""

    code = "expired"
    title = "The file is no longer kept"
    status = 410


class BodyTooLarge(RequestRefused):
    """The request's body is over the limit."""

    code = "body_too_large"
    title = "The request body is too large"
    status = 413


class BodyTypeUnknown(RequestRefused):
    """The request's body is neither JSON nor a form."""

    code = "unsupported_media_type"
    title = "The request body must be JSON or a form"
    status = 415


class InvalidField(RequestRefused):
    """One field has a value that can't be used; `field` names it."""

    code = "validation_failed"
    title = "The request is not valid"
    status = 422

    def __init__(self, field: str, detail: str, *, code: str = "invalid") -> None:
        super().__init__(detail)
        self.field = field
        self.field_code = code


class QueueFull(RequestRefused):
    """As many jobs wait as are allowed to."""

    code = "queue_full"
    title = "The queue is full"
    status = 429


class TooManyJobs(RequestRefused):
    """As many of the caller's jobs are open as one key may have."""

    code = "too_many_jobs"
    title = "Too many of your jobs are open"
    status = 429


class TooManyStreams(RequestRefused):
    """As many event streams of the caller are open as one key may hold."""

    code = "too_many_streams"
    title = "Too many of your event streams are open"
    status = 429


class TooManyBodies(RequestRefused):
    """The bodies of the caller's open requests have as many bytes as those of one key may have."""

    code = "too_many_bodies"
    title = "Too many bytes of your requests at once"
    status = 429


class RateExceeded(RequestRefused):
    """The caller has asked more often than is allowed."""

    code = "rate_limited"
    title = "Too many requests"
    status = 429


class DiskFull(RequestRefused):
    """There is less disk left than new work may need."""

    code = "disk_full"
    title = "The disk is full"
    status = 429


class NotReady(RequestRefused):
    """The service can't take requests at this moment."""

    code = "unavailable"
    title = "The service is not ready"
    status = 503


class StoreUnavailable(NotReady):
    """The store of the jobs' files can't be reached, or refuses; in a job this becomes an InternalError."""

    title = "The files of jobs can't be reached"


class DeviceFault(Exception):
    """The device is in a state that only a new process gets out of. Never shown to callers."""


class StartupError(Exception):
    """A process can't start as it is set up; the message says what to change. For the operator alone."""

    exit_status = 78
    """`EX_CONFIG` of sysexits.h: starting it again without a change fails again."""


class SlotTaken(StartupError):
    """Another worker still has this device and folder; it may leave."""

    exit_status = 75
    """`EX_TEMPFAIL` of sysexits.h: starting it again later may succeed."""
