"""The process that works: loads the model, takes jobs from the job engine, and keeps its lease.

A worker that dies loses nothing: its successor in the same slot takes its jobs over at once, and any other worker
does when its lease has run out. The asking side of the job engine is `job_engine.py`.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS, DBOSConfig, WorkflowHandle
from filelock import FileLock, Timeout

from ai_engine.artifacts import LocalStore
from ai_engine.background import MattingModelUnusable, open_remover
from ai_engine.books import Books, open_books
from ai_engine.bucket import check_bucket, open_store
from ai_engine.departure import Departure
from ai_engine.download import DownloadLimits
from ai_engine.errors import StartupError
from ai_engine.figures import WorkerFigures
from ai_engine.guarded_http import GuardedClient
from ai_engine.housekeeper import Housekeeper
from ai_engine.job_engine import (
    APPLICATION,
    APPLICATION_VERSION,
    GENERATE,
    PIPELINE_QUEUE,
    WEBHOOK_QUEUE,
    is_delivery,
    prepare_database,
    register_queues,
)
from ai_engine.job_record import job_of, result_of, status_of
from ai_engine.lease import Leases, WorkerState, new_executor_id, slot_name
from ai_engine.pipeline import Model, Workshop
from ai_engine.policies import download_policy
from ai_engine.settings import Settings
from ai_engine.stand_in_model import StandInModel
from ai_engine.telemetry import event
from ai_engine.watchdog import Watchdog
from ai_engine.workflows import enqueue_result, register_workflows

BEATS_PER_LEASE = 5
ENDED_LATELY_S = 24 * 3600.0
ENDED_JUST_NOW_S = 300.0
"""How far back the first and the later looks for jobs go that ended with nobody there to tell."""
LEAVE_WITHIN_S = 60
"""Longer than a worker that is told to stop waits for its jobs."""
LOST_LEASE_STATUS = 70
"""Exit status of a worker that was declared dead while it lived."""

logger = logging.getLogger(__name__)


def run_worker(settings: Settings, stop: threading.Event) -> None:
    """Works until `stop` is set, then lets what is in flight finish.

    Raises:
        StartupError: the model can't be loaded, or another worker has this slot.
    """
    slot = slot_name(settings.device)
    with _slot_lock(settings):
        prepare_database(settings)
        leases, executor_id = Leases(settings.jobs_database_url), new_executor_id(slot)
        leases.take(executor_id, slot)
        books = open_books(settings)
        keeper = _LeaseKeeper(leases, executor_id, settings, books)
        keeper.start()
        try:
            workshop = open_workshop(settings)
        except StartupError:
            keeper.stop()
            leases.describe(executor_id, WorkerState.FAILED)
            leases.give_up(executor_id)
            raise
        departure = Departure(leases, executor_id)
        watchdog = _watchdog(settings, workshop.model, departure)
        _launch(settings, executor_id, workshop, watchdog, books)
        keeper.workshop = workshop
        leases.bury_earlier(executor_id, slot)
        keeper.may_take_over.set()
        model = workshop.model
        leases.describe(
            executor_id,
            WorkerState.READY,
            model_id=model.model_id,
            licence=model.licence,
            has_gpu=model.has_gpu,
        )
        event(logger, "worker ready", executor=executor_id, model=model.model_id, pid=os.getpid())
        housekeeper = Housekeeper(settings, workshop.store, leases, executor_id, DBOS.delete_workflows)
        housekeeper.start()
        stop.wait()
        housekeeper.stop()
        _drain(leases, executor_id, keeper, departure, settings.drain_s)
        books.tracer.close()


def open_workshop(settings: Settings) -> Workshop:
    """What the stages work with, models loaded.

    Raises:
        StartupError: a model, a device or the store of files can't be used.
    """
    LocalStore(settings.data_dir / "jobs").check()
    check_bucket(settings)
    try:
        remover = open_remover(settings.matting_model, settings.matting_home)
        if remover is not None:
            remover.load()
    except MattingModelUnusable as error:
        raise StartupError(str(error)) from error
    return Workshop(
        store=open_store(settings, is_worker=True),
        http=GuardedClient(
            download_policy(settings),
            connect_timeout_s=settings.download_connect_timeout_s,
            min_bytes_per_s=settings.download_min_bytes_per_s,
        ),
        remover=remover,
        model=_load_model(settings),
        download_limits=DownloadLimits(settings.image_max_bytes, settings.download_timeout_s),
        max_image_pixels=settings.image_max_pixels,
        download_attempts=settings.download_attempts,
    )


def _load_model(settings: Settings) -> Model:
    if settings.is_stand_in:
        return StandInModel(
            step_s=settings.stand_in_step_s,
            num_faces=settings.stand_in_faces,
            trouble=settings.stand_in_trouble,
        )
    # Seconds of imports that a worker with the stand-in does without.
    from ai_engine.shape_model import ShapeModel

    model = ShapeModel.load(settings)
    model.make_ready(settings)
    return model


def _watchdog(settings: Settings, model: Model, departure: Departure) -> Watchdog:
    silence_s = settings.device_silence_s if model.has_gpu else None
    watchdog = Watchdog(departure, grace_s=settings.stage_grace_s, silence_s=silence_s)
    watchdog.start()
    return watchdog


def _launch(
    settings: Settings, executor_id: str, workshop: Workshop, watchdog: Watchdog, books: Books
) -> None:
    """Starts to take jobs."""
    config = DBOSConfig(
        name=APPLICATION,
        system_database_url=settings.jobs_database_url,
        application_version=APPLICATION_VERSION,
        executor_id=executor_id,
        log_level="WARNING",
        run_migrations=False,
        scheduler_polling_interval_sec=3600.0,
    )
    DBOS(config=config)
    _log_like_the_rest()
    DBOS.listen_queues([PIPELINE_QUEUE, WEBHOOK_QUEUE])
    register_workflows(settings, workshop, watchdog, books)
    DBOS.launch()
    register_queues(DBOS.register_queue, settings)


def _log_like_the_rest() -> None:
    """DBOS brings a handler of its own; its lines go the way of all others."""
    dbos_logger = logging.getLogger("dbos")
    dbos_logger.handlers.clear()
    dbos_logger.propagate = True


class _LeaseKeeper(threading.Thread):
    """Renews this worker's lease, takes the jobs of dead workers over, and tells of jobs that ended out of sight."""

    def __init__(self, leases: Leases, executor_id: str, settings: Settings, books: Books) -> None:
        super().__init__(name="lease-keeper", daemon=True)
        self._leases = leases
        self._executor_id = executor_id
        self._settings = settings
        self._books = books
        self.workshop: Workshop | None = None
        """What this worker works with, once its models are loaded."""
        self._told: set[str] = set()
        self._look_back_s = ENDED_LATELY_S
        self._is_over = threading.Event()
        self.may_take_over = threading.Event()
        """Set once this worker can take jobs."""

    def run(self) -> None:
        while not self._is_over.wait(self._settings.lease_s / BEATS_PER_LEASE):
            try:
                self._beat()
            except Exception:
                # The database may be away for a while; a lease that runs out meanwhile is noticed afterwards.
                logger.exception("the lease could not be renewed")

    def stop(self) -> None:
        """Ends the thread."""
        self._is_over.set()
        self.join(timeout=5)

    def _beat(self) -> None:
        if not self._leases.renew(self._executor_id):
            logger.critical("this worker was declared dead; leaving")
            os._exit(LOST_LEASE_STATUS)
        self._leases.bury_stale(self._executor_id, self._settings.lease_s)
        if self.may_take_over.is_set():
            # Again and again for the recently dead: it touches only what they still own, and heals a failed try.
            self._note_taken_over(DBOS._recover_pending_workflows(self._leases.dead()))
            self._tell_of_ended()
        if self.workshop is not None:
            self._books.tally.worker(_figures_of(self._executor_id, self.workshop))

    def _note_taken_over(self, entries: Sequence[WorkflowHandle[Any]]) -> None:
        ids = [entry.workflow_id for entry in entries if not is_delivery(entry.workflow_id)]
        for job_id in ids:
            event(logger, "job taken over", job_id=job_id, executor=self._executor_id)
        self._books.tally.taken_over(len(ids))

    def _tell_of_ended(self) -> None:
        """Queues the webhooks of jobs that were cancelled, or gave up by the engine: nobody was there to do it."""
        since = datetime.fromtimestamp(time.time() - self._look_back_s, UTC).isoformat()
        rows = DBOS.list_workflows(
            name=GENERATE,
            status=["CANCELLED", "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
            completed_after=since,
            load_output=False,
        )
        for row in rows:
            result = result_of(row)
            if row.workflow_id not in self._told and result is not None and row.completed_at is not None:
                job, ended_at_s = job_of(row), row.completed_at / 1000
                self._books.close_job(job, status_of(row, result), result, ended_at_s)
                enqueue_result(job, result, ended_at_s)
        self._told = {row.workflow_id for row in rows}
        self._look_back_s = ENDED_JUST_NOW_S


def _figures_of(executor_id: str, workshop: Workshop) -> WorkerFigures:
    busy_s, busy_share = workshop.device_clock.read()
    return WorkerFigures(executor_id, busy_s, busy_share, workshop.model.peak_memory_bytes)


def _drain(
    leases: Leases, executor_id: str, keeper: _LeaseKeeper, departure: Departure, drain_s: float
) -> None:
    """Takes nothing new, and comes back when the jobs in flight are done; when time is over, leaves them behind."""
    event(logger, "worker draining", executor=executor_id)
    leases.describe(executor_id, WorkerState.DRAINING)

    def leave() -> None:
        keeper.stop()
        leases.give_up(executor_id)
        event(logger, "worker stopped", executor=executor_id)

    def leave_behind() -> None:
        # While DBOS still stands: a stage that saw it torn down would take that for its own failure.
        try:
            departure.hand_back()
            leave()
        finally:
            os._exit(0)

    timer = threading.Timer(drain_s, leave_behind)
    timer.daemon = True
    timer.start()
    DBOS.destroy(workflow_completion_timeout_sec=int(drain_s) + LEAVE_WITHIN_S)
    timer.cancel()
    leave()


@contextmanager
def _slot_lock(settings: Settings) -> Iterator[None]:
    """Held while a worker lives: who has the lock knows that its predecessor is dead.

    Raises:
        StartupError: another worker has this slot.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    # With the host's name: several machines may share the folder, and each has a first card.
    slot = re.sub(r"[^A-Za-z0-9.-]", "-", slot_name(settings.device))
    lock = FileLock(settings.data_dir / f"worker-{slot}.lock")
    try:
        lock.acquire(timeout=settings.lease_s)
    except Timeout as error:
        raise StartupError(f"another worker runs on device {settings.device} with this DATA_DIR") from error
    try:
        yield
    finally:
        lock.release()
