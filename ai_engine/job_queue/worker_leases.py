"""Worker registry with leases: one row per worker incarnation in the job database, on the database's clock.

A worker renews its row; another worker that finds a row stale marks it dead, and whoever is marked dead has to
leave. Knows nothing of jobs.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ai_engine.facts import ModelFacts
from ai_engine.job_queue.database import Database

_METADATA = sa.MetaData()
_LEASE = sa.Table(
    "ai_engine_lease",
    _METADATA,
    sa.Column("executor_id", sa.Text, primary_key=True),
    sa.Column("slot", sa.Text, nullable=False),
    sa.Column("beat_s", sa.Float, nullable=False),
    sa.Column("is_alive", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("model_id", sa.Text),
    sa.Column("licence", sa.Text),
    sa.Column("has_gpu", sa.Boolean, nullable=False),
)
_LOADING = sa.Table(
    "ai_engine_loading",
    _METADATA,
    sa.Column("executor_id", sa.Text, primary_key=True),
    sa.Column("loaded", sa.Float, nullable=False),
)
"""The workers that read their weights, and how far they are."""
_MATTING = sa.Table(
    "ai_engine_matting",
    _METADATA,
    sa.Column("executor_id", sa.Text, primary_key=True),
    sa.Column("models", sa.Text, nullable=False),
    sa.Column("announced_s", sa.Float, nullable=False),
)
"""The matting models that each worker announced, by name, a blank between two."""
_SERVED = sa.Table(
    "ai_engine_served_model",
    _METADATA,
    sa.Column("executor_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("facts", sa.Text),
    sa.Column("announced_s", sa.Float, nullable=False),
)
"""The shape models that each worker serves, in its order; `facts`, the card, as JSON once it is loaded."""
SHOWN_S = 600.0
"""How long a worker stays in the registry after its last heartbeat."""
FORGOTTEN_S = 24 * 3600.0
"""How long the row of a dead worker is kept; a worker without a row counts as dead."""


class WorkerState(StrEnum):
    """How far a worker is."""

    LOADING = "loading"
    """The weights are being read."""
    READY = "ready"
    """It takes jobs."""
    FAILED = "failed"
    """It could not start; its log says why."""
    DRAINING = "draining"
    """It finishes what it has and takes nothing new."""


@dataclass(frozen=True)
class WorkerLease:
    """What is known of one worker."""

    executor_id: str
    slot: str
    age_s: float
    """Since its last sign of life."""
    is_alive: bool
    state: WorkerState
    model_id: str | None
    licence: str | None
    has_gpu: bool
    loaded: float = 0.0
    """The share of its weights that is there, 0 to 1, while it loads them."""


@dataclass(frozen=True)
class ServedModel:
    """A shape model of one worker."""

    executor_id: str
    name: str
    """As requests name it."""
    facts: ModelFacts | None
    """Its card; None while the worker loads it."""
    device: str
    """Of the worker."""
    state: WorkerState
    """Of the worker."""
    is_alive: bool


def new_executor_id(slot: str) -> str:
    """The id of one incarnation of the worker in `slot`: never used twice."""
    return f"{slot}#{secrets.token_hex(6)}"


def slot_name(device: str, data_dir: Path) -> str:
    """One machine, one device and one folder of files: where at most one worker may be."""
    folder = hashlib.sha256(str(data_dir.resolve()).encode()).hexdigest()[:6]
    return f"{socket.gethostname()}:{device}@{folder}"


def _read_served(row: sa.Row[Any]) -> ServedModel:
    facts = None if row.facts is None else ModelFacts.from_dict(json.loads(row.facts))
    device = row.slot.partition(":")[2].rpartition("@")[0]
    return ServedModel(row.executor_id, row.name, facts, device, WorkerState(row.state), row.is_alive)


class Leases:
    """The table of leases."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._now_s = database.now_s
        database.make_tables(_METADATA)

    def take(self, executor_id: str, slot: str) -> None:
        """Enters a new worker, loading, and strikes out those that died long ago."""
        long_dead = sa.delete(_LEASE).where(
            sa.not_(_LEASE.c.is_alive), _LEASE.c.beat_s < self._now_s - FORGOTTEN_S
        )
        row = sa.insert(_LEASE).values(
            executor_id=executor_id,
            slot=slot,
            beat_s=self._now_s,
            is_alive=True,
            state=WorkerState.LOADING,
            has_gpu=False,
        )
        with self._database.write() as connection:
            connection.execute(long_dead)
            connection.execute(row)

    def renew(self, executor_id: str) -> bool:
        """Notes a sign of life; False when this worker was declared dead and must leave."""
        row = sa.update(_LEASE).where(_LEASE.c.executor_id == executor_id, _LEASE.c.is_alive)
        with self._database.write() as connection:
            return connection.execute(row.values(beat_s=self._now_s)).rowcount == 1

    def describe(
        self,
        executor_id: str,
        state: WorkerState,
        *,
        model_id: str | None = None,
        licence: str | None = None,
        has_gpu: bool = False,
    ) -> None:
        """Notes how far this worker is, and with which model."""
        values: dict[str, object] = {"state": state}
        if model_id is not None:
            values |= {"model_id": model_id, "licence": licence, "has_gpu": has_gpu}
        with self._database.write() as connection:
            connection.execute(sa.update(_LEASE).where(_LEASE.c.executor_id == executor_id).values(values))
            connection.execute(sa.delete(_LOADING).where(_LOADING.c.executor_id == executor_id))

    def note_loaded(self, executor_id: str, share: float) -> None:
        """Notes which share of its weights, 0 to 1, this worker has read."""
        with self._database.write() as connection:
            connection.execute(sa.delete(_LOADING).where(_LOADING.c.executor_id == executor_id))
            connection.execute(sa.insert(_LOADING).values(executor_id=executor_id, loaded=share))

    def announce_matting(self, executor_id: str, models: Collection[str]) -> None:
        """Notes which matting models this worker has."""
        is_old = _MATTING.c.announced_s < self._now_s - FORGOTTEN_S
        is_dead = _MATTING.c.executor_id.not_in(sa.select(_LEASE.c.executor_id).where(_LEASE.c.is_alive))
        row = sa.insert(_MATTING).values(
            executor_id=executor_id, models=" ".join(models), announced_s=self._now_s
        )
        with self._database.write() as connection:
            connection.execute(sa.delete(_MATTING).where(is_old, is_dead))
            connection.execute(row)

    def announce_models(self, executor_id: str, models: Mapping[str, ModelFacts | None]) -> None:
        """Notes which shape models this worker serves, its default first, with their cards where they are known."""
        is_old = _SERVED.c.announced_s < self._now_s - FORGOTTEN_S
        is_dead = _SERVED.c.executor_id.not_in(sa.select(_LEASE.c.executor_id).where(_LEASE.c.is_alive))
        with self._database.write() as connection:
            connection.execute(sa.delete(_SERVED).where(sa.and_(is_old, is_dead)))
            connection.execute(sa.delete(_SERVED).where(_SERVED.c.executor_id == executor_id))
            for position, (name, facts) in enumerate(models.items()):
                row = {"executor_id": executor_id, "name": name, "position": position}
                card = None if facts is None else json.dumps(asdict(facts))
                connection.execute(sa.insert(_SERVED).values(**row, facts=card, announced_s=self._now_s))

    def served_models(self) -> Sequence[ServedModel]:
        """The shape models of all living workers, one entry for each worker; while none lives, of the last ones.

        The oldest worker's come first, in its order.
        """
        with self._database.read() as connection:
            found = [_read_served(row) for row in connection.execute(self._served_query)]
        return [one for one in found if one.is_alive] or found

    @cached_property
    def _served_query(self) -> sa.Select[Any]:
        # Built once: every submission asks.
        is_known = sa.or_(_LEASE.c.is_alive, _LEASE.c.beat_s > self._now_s - SHOWN_S)
        return (
            sa.select(_SERVED, _LEASE.c.slot, _LEASE.c.state, _LEASE.c.is_alive)
            .join(_LEASE, _LEASE.c.executor_id == _SERVED.c.executor_id)
            .where(is_known, _LEASE.c.state != WorkerState.FAILED)
            .order_by(_SERVED.c.announced_s, _SERVED.c.executor_id, _SERVED.c.position)
        )

    def matting_models(self) -> Collection[str] | None:
        """The matting models that every living worker has; while none lives, those of the last one.

        None when no worker has ever said.
        """
        is_alive = sa.func.coalesce(_LEASE.c.is_alive, sa.false())
        query = (
            sa.select(_MATTING.c.models, is_alive)
            .outerjoin(_LEASE, _LEASE.c.executor_id == _MATTING.c.executor_id)
            .order_by(is_alive.desc(), _MATTING.c.announced_s.desc())
        )
        with self._database.read() as connection:
            rows = [(row[0].split(), row[1]) for row in connection.execute(query)]
        if not rows:
            return None
        common = rows[0][0]
        return [name for name in common if all(name in models for models, lives in rows if lives)]

    def give_up(self, executor_id: str) -> None:
        """Ends this worker's lease, so that its jobs are taken over at once."""
        self._mark_dead(_LEASE.c.executor_id == executor_id)

    def bury_earlier(self, executor_id: str, slot: str) -> None:
        """Marks every other worker of `slot` dead. For the one that holds the slot's lock."""
        self._mark_dead(_LEASE.c.slot == slot, _LEASE.c.executor_id != executor_id)

    def bury_stale(self, executor_id: str, lease_s: float) -> None:
        """Marks the workers dead that gave no sign of life for `lease_s`; never the one that asks."""
        self._mark_dead(_LEASE.c.beat_s < self._now_s - lease_s, _LEASE.c.executor_id != executor_id)

    def dead(self, executor_ids: Collection[str]) -> list[str]:
        """Those of the workers that are alive no more, however long."""
        query = sa.select(_LEASE.c.executor_id).where(
            _LEASE.c.is_alive, _LEASE.c.executor_id.in_(executor_ids)
        )
        with self._database.read() as connection:
            living = set(connection.execute(query).scalars())
        return [one for one in executor_ids if one not in living]

    def workers(self) -> Sequence[WorkerLease]:
        """All workers that are alive or died in the last ten minutes, the latest sign of life first."""
        age_s = (self._now_s - _LEASE.c.beat_s).label("age_s")
        loaded = sa.func.coalesce(_LOADING.c.loaded, 0.0).label("loaded")
        joined = _LEASE.outerjoin(_LOADING, _LOADING.c.executor_id == _LEASE.c.executor_id)
        query = (
            sa.select(_LEASE, loaded, age_s)
            .select_from(joined)
            .where(age_s < SHOWN_S)
            .order_by(_LEASE.c.beat_s.desc())
        )
        with self._database.read() as connection:
            return [
                WorkerLease(
                    executor_id=row.executor_id,
                    slot=row.slot,
                    age_s=row.age_s,
                    is_alive=row.is_alive,
                    state=WorkerState(row.state),
                    model_id=row.model_id,
                    licence=row.licence,
                    has_gpu=row.has_gpu,
                    loaded=row.loaded,
                )
                for row in connection.execute(query)
            ]

    def _mark_dead(self, *which: sa.ColumnElement[bool]) -> None:
        with self._database.write() as connection:
            rows = sa.update(_LEASE).where(_LEASE.c.is_alive, *which)
            connection.execute(rows.values(is_alive=False))
