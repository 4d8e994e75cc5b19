"""Chaos: processes killed, frozen and restarted at random while jobs run, and a count of what that cost.

    python -m service.chaos --kills 200 [--seed 7] [--database sqlite|postgres]      (make chaos)

Then, without kills, an honest key's jobs beside a hostile key (`beside.py`).

One worker on SQLite and three on Postgres. Every tenth answer of the receiver is 503; the database is restarted, the
disk filled up. What must be zero is at the end of the table, and in the exit status.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from support.postgres_server import PostgresServer, running_postgres

from service.beside import NOTICED, run_beside
from service.house import House, Outside

OPEN_JOBS = 6
"""As many are submitted and not over at any time."""
LEASE_S = 6.0
REFUSED_SHARE = 0.1
DISK_BYTES = 100_000_000
ENDS_WITHIN_S = 300.0
MUST_BE_ZERO = (
    "jobs lost",
    "jobs without a final webhook or a visible dead delivery",
    "jobs told of under more than one webhook-id",
    "inferences begun again without a kill",
)
OVER = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Plan:
    """What is done to the service, and to how many workers on which database."""

    database: str
    workers: int
    kills: int
    seed: int
    longest_pause_s: float = 10.0
    """Between two events: long enough, sometimes, for a worker to start and work."""

    def events(self) -> list[str]:
        """Kinds of events in the order in which they happen."""
        dice = random.Random(self.seed)
        seldom = 1 + self.kills // 20
        api_kills = max(1, self.kills // 6)
        kinds = ["kill worker"] * (self.kills - api_kills) + ["kill api"] * api_kills
        kinds += ["freeze worker past its lease", "freeze worker for a moment", "fill the disk"] * seldom
        if self.database == "postgres":
            kinds += ["restart the database", "kill the database"] * seldom
        dice.shuffle(kinds)
        return kinds


@dataclass
class Chaos:
    """One run."""

    plan: Plan
    house: House
    outside: Outside
    postgres: PostgresServer | None
    can_fill: bool
    done: Counter[str] = field(default_factory=Counter)
    hurt: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When each process was killed, frozen or left by itself."""
    left: Counter[int] = field(default_factory=Counter)
    """Exit statuses of processes that nobody killed."""
    job_ids: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.plan.seed)
        devices = [f"cuda:{number}" for number in range(self.plan.workers)]
        self.workers = [f"worker-{device}" for device in devices]
        answers = random.Random(self.plan.seed + 1)
        self.outside.refuses = lambda: answers.random() < REFUSED_SHARE

    def run(self) -> dict[str, Any]:
        """The table of what happened."""
        began = time.monotonic()
        for name in ("api", *self.workers):
            self.house.start(name)
        self.house.wait_until_ready()
        submitting = threading.Thread(target=self._submit)
        submitting.start()
        for kind in self.plan.events():
            self._watch_for(self.dice.uniform(0.5, self.plan.longest_pause_s))
            self._do(kind)
        self.is_over.set()
        submitting.join()
        self._watch_for(ENDS_WITHIN_S, until=self._all_told)
        return self._table(time.monotonic() - began)

    def _do(self, kind: str) -> None:
        worker = self.dice.choice(self.workers)
        actions: dict[str, Callable[[], None]] = {
            "kill worker": lambda: self._kill(worker),
            "kill api": lambda: self._kill("api"),
            "freeze worker past its lease": lambda: self._freeze(worker, 2.0 * LEASE_S),
            "freeze worker for a moment": lambda: self._freeze(worker, 0.3 * LEASE_S),
            "fill the disk": self._fill_disk,
            "restart the database": lambda: self._restart_database(
                self.postgres.stop if self.postgres else None
            ),
            "kill the database": lambda: self._restart_database(
                self.postgres.kill if self.postgres else None
            ),
        }
        if kind == "fill the disk" and not self.can_fill:
            return
        self.done[kind] += 1
        actions[kind]()

    def _kill(self, name: str) -> None:
        self._look_after()
        self.hurt[name].append(time.time())
        self.house.kill(name)
        self.house.start(name)

    def _freeze(self, name: str, seconds: float) -> None:
        process = self.house.running[name]
        self.hurt[name].append(time.time())
        process.send_signal(signal.SIGSTOP)
        self._watch_for(seconds, but=name)
        process.send_signal(signal.SIGCONT)
        self.hurt[name].append(time.time())

    def _fill_disk(self) -> None:
        ballast = self.house.folder / "data" / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(1_000_000))
        self._watch_for(self.dice.uniform(1.0, 3.0))
        ballast.unlink()

    def _restart_database(self, end: Callable[[], None] | None) -> None:
        assert self.postgres is not None and end is not None  # noqa: PT018
        end()
        self._watch_for(self.dice.uniform(0.0, 2.0))
        self.postgres.start()

    def _watch_for(
        self, seconds: float, *, until: Callable[[], bool] = lambda: False, but: str | None = None
    ) -> None:
        """Plays the supervisor for a while."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at and not until():
            self._look_after(but)
            time.sleep(0.2)

    def _look_after(self, but: str | None = None) -> None:
        for name, process in list(self.house.running.items()):
            if name != but and process.poll() is not None:
                self.left[process.returncode] += 1
                self.hurt[name].append(time.time())
                self.house.start(name)

    def _submit(self) -> None:
        """Keeps some jobs open; a request that was not answered is sent again under its key."""
        while not self.is_over.is_set():
            if len(self.job_ids) - len(self._told()) < OPEN_JOBS:
                self._submit_one()
            time.sleep(0.1)

    def _submit_one(self) -> None:
        request = {
            "session_id": "chaos",
            "asset_id": "a",
            "image_url": self.outside.url("/a.png"),
            "webhook_url": self.outside.url("/hook"),
        }
        key = {"Idempotency-Key": uuid.uuid4().hex}
        while True:
            with suppress(OSError):
                answer = self.house.ask("POST", "/generate-3d", request, key)
                if answer.status in (200, 202):
                    self.job_ids.append(answer.json["job_id"])
                    return
                self.done[f"requests answered {answer.status}"] += 1
            time.sleep(0.3)

    def _told(self) -> set[str]:
        """The jobs whose webhook was accepted."""
        return {
            post.headers["webhook-id"].partition(":")[0]
            for post in list(self.outside.received)
            if not post.is_refused
        }

    def _all_told(self) -> bool:
        waiting = set(self.job_ids) - self._told()
        return all(self._is_dead(job_id) for job_id in waiting)

    def _is_dead(self, job_id: str) -> bool:
        """True when the job shows a delivery that was given up."""
        with suppress(OSError, KeyError, IndexError):
            return bool(self.house.job(job_id)["deliveries"][-1]["state"] == "dead")
        return False

    def _table(self, seconds: float) -> dict[str, Any]:
        jobs = {job_id: self.house.job(job_id) for job_id in self.job_ids}
        ids = defaultdict(set)
        times_accepted: Counter[str] = Counter()
        for post in self.outside.received:
            job_id = post.headers["webhook-id"].partition(":")[0]
            ids[job_id].add(post.headers["webhook-id"])
            times_accepted[job_id] += not post.is_refused
        codes = Counter(job["error"]["code"] for job in jobs.values() if job.get("error"))
        again, unprovoked = self._begun_again()
        return {
            "kills": self.done["kill worker"] + self.done["kill api"],
            **dict(sorted(self.done.items())),
            **{f"processes that left with status {status}": n for status, n in sorted(self.left.items())},
            "answers 503 of the receiver": sum(post.is_refused for post in self.outside.received),
            "jobs": len(jobs),
            "jobs succeeded": sum(job["status"] == "succeeded" for job in jobs.values()),
            **{f"jobs failed as {code}": count for code, count in sorted(codes.items())},
            "webhooks accepted twice": sum(times_accepted[job_id] > 1 for job_id in jobs),
            "inferences begun again after a kill": again - unprovoked,
            "seconds": round(seconds),
            "jobs lost": sum(job["status"] not in OVER for job in jobs.values()),
            "jobs without a final webhook or a visible dead delivery": sum(
                times_accepted[job_id] == 0 and not self._is_dead(job_id) for job_id in jobs
            ),
            "jobs told of under more than one webhook-id": sum(len(ids[job_id]) > 1 for job_id in jobs),
            "inferences begun again without a kill": unprovoked,
        }

    def _begun_again(self) -> tuple[int, int]:
        """How often a job came to the device again, and how often though its worker was not hurt meanwhile."""
        starts = sorted((at_s, name, job_id) for name in self.workers for at_s, job_id in self._starts(name))
        last: dict[str, tuple[float, str]] = {}
        again = unprovoked = 0
        for at_s, name, job_id in starts:
            if job_id in last:
                before_s, before = last[job_id]
                again += 1
                unprovoked += not any(before_s - 0.1 <= hurt_s <= at_s + 0.1 for hurt_s in self.hurt[before])
            last[job_id] = (at_s, name)
        return again, unprovoked

    def _starts(self, name: str) -> Iterator[tuple[float, str]]:
        for line in self.house.log(name):
            if line["message"] == "stage started" and line["stage"] == "denoise":
                yield datetime.fromisoformat(line["time"]).timestamp(), line["job_id"]


def run_plan(plan: Plan, logs: Path | None = None) -> dict[str, Any]:
    """The table of one run, everything it needs started and ended; log files are copied to `logs`."""
    with (
        tempfile.TemporaryDirectory(prefix="chaos-") as folder,
        _small_disk(Path(folder) / "data") as can_fill,
    ):
        outside = Outside()
        house = House(Path(folder), _settings())
        try:
            if plan.database == "sqlite":
                return Chaos(plan, house, outside, None, can_fill).run()
            with running_postgres() as postgres:
                house.settings["DATABASE_URL"] = postgres.new_database()
                try:
                    return Chaos(plan, house, outside, postgres, can_fill).run()
                finally:
                    house.close()
        finally:
            house.close()
            outside.close()
            for log in house.folder.glob("*.log") if logs else ():
                shutil.copy(log, Path(logs or "") / f"{plan.database}-{log.name}")


def _settings() -> dict[str, str]:
    return {
        "STAND_IN_STEP_S": "0.2",
        "WEBHOOK_DELAYS_S": "0,0.2,0.5,1,1,2,2,4",
        "LEASE_S": str(LEASE_S),
        "JOB_MAX_ATTEMPTS": "20",
        "MIN_FREE_DISK_BYTES": "5000000",
        "QUEUE_POLL_S": "0.2",
    }


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """A disk of its own at `folder`, where root may mount one; False where not."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    try:
        is_mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        is_mounted = False
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def shown(tables: dict[str, dict[str, Any]]) -> str:
    """The tables side by side, in Markdown."""
    rows = list(dict.fromkeys(row for table in tables.values() for row in table))
    bad = [row for row in (*MUST_BE_ZERO, *NOTICED) if row in rows]
    lines = [f"| | {' | '.join(tables)} |", f"|---|{'---:|' * len(tables)}"]
    for row in [*(row for row in rows if row not in bad), *bad]:
        name = f"**{row}**" if row in bad else row
        lines.append(f"| {name} | {' | '.join(str(table.get(row, 0)) for table in tables.values())} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs, prints the table; 1 when something that must be zero is not."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="in all, half on each database")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--database", choices=("sqlite", "postgres"), help="one alone")
    parser.add_argument("--beside", type=int, default=20, help="jobs beside a hostile key; 0: none")
    parser.add_argument("--logs", type=Path, help="folder where the log files are kept")
    options = parser.parse_args(arguments)
    if options.logs:
        options.logs.mkdir(parents=True, exist_ok=True)
    print(f"seed {options.seed}", flush=True)
    plans = [
        Plan("sqlite", 1, options.kills // 2, options.seed),
        Plan("postgres", 3, options.kills - options.kills // 2, options.seed),
    ]
    tables = {}
    for plan in plans:
        if options.database in (None, plan.database):
            plural = "s" if plan.workers > 1 else ""
            table = run_plan(plan, options.logs) if plan.kills else {}
            if options.beside:
                with running_postgres() if plan.database == "postgres" else nullcontext() as postgres:
                    database_url = postgres.new_database() if postgres else None
                    table |= run_beside(database_url, options.beside, options.logs)
            tables[f"{plan.database}, {plan.workers} worker{plural}"] = table
            print(shown(tables), flush=True)
    return int(any(table.get(row) for table in tables.values() for row in (*MUST_BE_ZERO, *NOTICED)))


if __name__ == "__main__":
    sys.exit(main())
