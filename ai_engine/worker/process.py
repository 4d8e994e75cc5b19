"""The worker process: start, drain, stop. Loads the model, takes jobs from the queue, and renews its lease.

A worker that dies loses nothing: its successor in the same slot takes its jobs over at once, and any other worker
does when its lease has run out. The client's side is `job_queue/queue.py`.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dbos import DBOS, DBOSConfig
from filelock import FileLock, Timeout

from ai_engine.errors import SlotTaken, StartupError
from ai_engine.job_queue.abilities.slicers import Slicers
from ai_engine.job_queue.database import Database
from ai_engine.job_queue.dbos_setup import (
    APPLICATION,
    APPLICATION_VERSION,
    DELIVERY_QUEUES,
    ON_DEMAND_QUEUES,
    open_database,
    register_queues,
    served_queues,
)
from ai_engine.job_queue.worker_leases import Leases, WorkerState, new_executor_id, slot_name
from ai_engine.job_queue.workflow_table import WorkflowTable
from ai_engine.logs import event
from ai_engine.monitoring.recorder import Recorder, open_recorder
from ai_engine.pipeline.resource_setup import open_resources
from ai_engine.pipeline.resources import Model, Resources
from ai_engine.published_weights import with_remover
from ai_engine.settings import Settings
from ai_engine.slicing.slicer import Slicer
from ai_engine.storage.data_folder import DataFolder
from ai_engine.worker.failover import Failover
from ai_engine.worker.handover import Handover
from ai_engine.worker.heartbeat import Heartbeat
from ai_engine.worker.retention import Housekeeper
from ai_engine.worker.running_jobs import RunningJobs
from ai_engine.worker.watchdog import Watchdog
from ai_engine.worker.workflows import JobWorkflows, open_workflows, register_workflows

LEAVE_WITHIN_S = 60
"""Longer than a worker waits for its jobs after SIGTERM."""

logger = logging.getLogger(__name__)


def run_worker(settings: Settings, stop: threading.Event) -> None:
    """Works until `stop` is set, then lets what is in flight finish.

    Raises:
        StartupError: the model can't be loaded, or another worker has this slot.
    """
    with _slot_lock(settings):
        _slot_file(settings, "ready").unlink(missing_ok=True)  # Of a predecessor that was killed.
        with closing(open_database(settings)) as database:
            worker = _Worker.register(settings, database)
            resources = worker.load()
            handover = worker.launch(resources)
            failover = worker.open_failover()
            worker.take_jobs_until(stop, resources)
            worker.drain(handover, failover)


@dataclass(frozen=True)
class _Worker:
    """This process as the others see it: a lease in the registry, renewed from the start to the end."""

    settings: Settings
    database: Database
    slot: str
    executor_id: str
    leases: Leases
    recorder: Recorder
    running_jobs: RunningJobs
    heartbeat: Heartbeat

    @classmethod
    def register(cls, settings: Settings, database: Database) -> _Worker:
        """A worker with a lease of its own, renewed from now on."""
        slot = slot_name(settings.device, settings.data_dir)
        leases, executor_id = Leases(database), new_executor_id(slot)
        leases.take(executor_id, slot)
        leases.announce_models(executor_id, {place.name: None for place in settings.served_models})
        Slicers(database, leases).announce(executor_id, Slicer.of(settings).offer())
        recorder, running_jobs = open_recorder(settings, database), RunningJobs()
        folder = DataFolder(settings.data_places)
        heartbeat = Heartbeat(leases, executor_id, settings.lease_s, recorder.job_metrics, folder)
        heartbeat.start()
        return cls(settings, database, slot, executor_id, leases, recorder, running_jobs, heartbeat)

    def load(self) -> Resources:
        """What the stages work with. Without it the lease is given up.

        Raises:
            StartupError: a model, a device or the store of files can't be used.
        """
        try:
            return open_resources(see_own_card(self.settings), self.heartbeat.note_loaded)
        except StartupError:
            self.heartbeat.stop()
            self.leases.describe(self.executor_id, WorkerState.FAILED)
            self.leases.give_up(self.executor_id)
            raise

    def launch(self, resources: Resources) -> Handover:
        """Starts to take jobs."""
        engine = _open_engine(self.settings, self.executor_id)
        handover = Handover(self.leases, self.executor_id, engine)
        watchdog = _watchdog(self.settings, resources.model, handover)
        workflows = open_workflows(
            self.settings, self.database, resources, watchdog, self.recorder, self.running_jobs
        )
        _launch(self.settings, workflows)
        self.heartbeat.note_ready(resources)
        return handover

    def open_failover(self) -> Failover:
        """Takes over from dead workers from now on; the predecessors in this slot are among them."""
        self.leases.bury_earlier(self.executor_id, self.slot)
        rows = WorkflowTable(self.database)
        failover = Failover(
            self.leases, self.executor_id, self.settings, rows, self.recorder, self.running_jobs
        )
        failover.start()
        return failover

    def take_jobs_until(self, stop: threading.Event, resources: Resources) -> None:
        """Says that this worker is ready, and waits; the job engine's threads do the work."""
        self._announce(resources)
        ready_mark = _slot_file(self.settings, "ready")
        ready_mark.touch()
        housekeeper = Housekeeper(
            self.settings,
            self.database,
            resources.store,
            self.leases,
            self.executor_id,
            DBOS.delete_workflows,
        )
        housekeeper.start()
        stop.wait()
        ready_mark.unlink(missing_ok=True)
        housekeeper.stop()

    def _announce(self, resources: Resources) -> None:
        model = resources.model
        self.leases.announce_matting(self.executor_id, resources.removers.installed)
        remover = self.settings.matting_model
        cards = {name: with_remover(one.facts, remover) for name, one in resources.models.items()}
        self.leases.announce_models(self.executor_id, cards)
        self.leases.describe(
            self.executor_id,
            WorkerState.READY,
            model_id=model.model_id,
            licence=model.licence,
            has_gpu=model.has_gpu,
        )
        event(logger, "worker ready", executor=self.executor_id, model=model.model_id, pid=os.getpid())

    def drain(self, handover: Handover, failover: Failover) -> None:
        """Takes no more jobs; returns when those in flight are done, or requeues them after DRAIN_S and exits."""
        failover.stop()
        _drain(self.leases, self.executor_id, self.heartbeat, handover, self.settings.drain_s)
        self.recorder.tracer.close()


def see_own_card(settings: Settings) -> Settings:
    """The settings of a process to which its own GPU is the only one, and so the first: `cuda:0`.

    Nothing that asks for "the" card can open a context on another worker's. To be called before CUDA starts, which
    reads CUDA_VISIBLE_DEVICES once; where that is set already, the device's number counts in its list.
    """
    kind, _, number = settings.device.partition(":")
    if kind != "cuda" or not number:
        return settings
    listed = [card for card in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if card]
    if listed and int(number) >= len(listed):
        return settings
    os.environ["CUDA_VISIBLE_DEVICES"] = listed[int(number)] if listed else number
    return settings.model_copy(update={"device": "cuda:0"})


def _watchdog(settings: Settings, model: Model, handover: Handover) -> Watchdog:
    silence_s = settings.device_silence_s if model.has_gpu else None
    watchdog = Watchdog(handover, grace_s=settings.stage_grace_s, silence_s=silence_s)
    watchdog.start()
    return watchdog


def _open_engine(settings: Settings, executor_id: str) -> DBOS:
    """The job engine of this process, not yet at work."""
    config = DBOSConfig(
        name=APPLICATION,
        system_database_url=settings.jobs_database_url,
        application_version=APPLICATION_VERSION,
        executor_id=executor_id,
        log_level="WARNING",
        run_migrations=False,
        scheduler_polling_interval_sec=3600.0,
    )
    engine = DBOS(config=config)
    _log_like_the_rest()
    return engine


def _launch(settings: Settings, workflows: JobWorkflows) -> None:
    """Starts to take jobs."""
    DBOS.listen_queues([*served_queues(settings), *ON_DEMAND_QUEUES, *DELIVERY_QUEUES])
    register_workflows(workflows)
    DBOS.launch()
    register_queues(DBOS.register_queue, settings)


def _log_like_the_rest() -> None:
    """DBOS brings a handler of its own; its lines go the way of all others."""
    dbos_logger = logging.getLogger("dbos")
    dbos_logger.handlers.clear()
    dbos_logger.propagate = True


def _drain(
    leases: Leases, executor_id: str, heartbeat: Heartbeat, handover: Handover, drain_s: float
) -> None:
    """Returns when the jobs in flight are done; after `drain_s` requeues them and ends the process."""
    event(logger, "worker draining", executor=executor_id)
    leases.describe(executor_id, WorkerState.DRAINING)

    def leave() -> None:
        heartbeat.stop()
        leases.give_up(executor_id)
        event(logger, "worker stopped", executor=executor_id)

    def leave_behind() -> None:
        # While DBOS still stands: a stage that saw it torn down would take that for its own failure.
        try:
            handover.hand_back()
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
    """The lock of a slot, held while its worker lives: a worker that gets it knows that its predecessor is dead.

    Raises:
        SlotTaken: another worker has this slot.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(_slot_file(settings, "lock"))
    try:
        lock.acquire(timeout=settings.lease_s)
    except Timeout as error:
        raise SlotTaken(f"another worker runs on device {settings.device} with this DATA_DIR") from error
    try:
        yield
    finally:
        lock.release()


def _slot_file(settings: Settings, kind: Literal["lock", "ready"]) -> Path:
    """Of this worker alone: `lock` is held while it lives, `ready` is there while it takes jobs, for probes."""
    # With the host's name: several machines may share the folder, and each has a first card.
    slot = re.sub(r"[^A-Za-z0-9.-]", "-", slot_name(settings.device, settings.data_dir))
    return settings.data_dir / f"worker-{slot}.{kind}"
