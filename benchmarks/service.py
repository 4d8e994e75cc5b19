"""`python -m benchmarks.service [--quick] [section ...]`: what the service itself costs, with a model of fixed time.

lane      how much of the time the device works while there are jobs, on SQLite and on Postgres
remover   the same share with a real matting model before the device (MATTING_MODEL, MATTING_HOME)
submit    what a submission costs, against an endpoint of the same app that does nothing
queue     submitting and asking with 0, 1,000 and 10,000 jobs waiting
memory    of API and worker over 1,000 jobs

Real processes on loopback, real databases (Postgres with fsync on). Shares and ratios are of numbers of one run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import Row, Table, machine
from tests.service.house import House, Outside, wait_for
from tests.support.postgres_server import PostgresServer, running_postgres

STORES = ("SQLite", "Postgres")
PLENTY = {"MAX_QUEUED_JOBS": "100000", "REQUESTS_PER_MINUTE": "0", "MIN_FREE_DISK_BYTES": "0"}
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    stores: tuple[str, ...] = STORES
    lane: tuple[tuple[float, int], ...] = ((10.0, 12), (2.0, 30))
    """Seconds on the device of a job, and how many jobs."""
    submissions: int = 400
    queues: tuple[int, ...] = (0, 1000, 10_000)
    asked_at_each: int = 200
    memory_jobs: int = 1000


QUICK = Sizes(
    lane=((2.0, 8), (1.0, 8)), submissions=60, queues=(0, 200, 1000), asked_at_each=40, memory_jobs=60
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=[], metavar="section")
    parser.add_argument("--quick", action="store_true", help="a minute or two in all: shows that it works")
    parser.add_argument("--jobs", type=int, help="how many the memory is watched over")
    parser.add_argument("--store", choices=STORES, help="that one alone")
    options = parser.parse_args()
    sizes = replace(QUICK if options.quick else Sizes(), stores=(options.store,) if options.store else STORES)
    if options.jobs:
        sizes = replace(sizes, memory_jobs=options.jobs)
    loads = " ".join(f"{load:.1f}" for load in os.getloadavg())
    print(f"{machine(torch.device('cpu'))}; load before it began: {loads}", flush=True)
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres(is_durable=True))
        for name in options.sections or SECTIONS:
            for table in SECTIONS[name](sizes, postgres):
                print(f"\n{table}", flush=True)


def tell(text: str) -> None:
    """What is going on, while it does."""
    print(f"  {datetime.now():%H:%M:%S} {text}", flush=True)


@contextmanager
def running(store: str, postgres: PostgresServer, *names: str, **settings: str) -> Iterator[House]:
    """A service on a new database of that kind; an API answers when the block begins."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), PLENTY | settings)
        if store == "Postgres":
            house.settings["DATABASE_URL"] = postgres.new_database()
        try:
            for name in names:
                house.start(name)
            wait_for(house.is_open, "the port is open")
            wait_for(lambda: house.ask("GET", "/jobs/x").status == 404, "the database is open")
            if "worker" in names:
                house.wait_until_ready()
            yield house
        finally:
            house.close()


# The device's share.


LANE_COLUMNS = (
    "store",
    "s on the device a job",
    "jobs",
    "s from the first mesh to the last",
    "device busy",
    "CPU s of the worker a job",
)


def lane(sizes: Sizes, postgres: PostgresServer) -> Iterator[Table]:
    rows = [_lane(store, *what, postgres) for what in sizes.lane for store in sizes.stores]
    yield Table(
        "The device under backlog",
        LANE_COLUMNS,
        tuple(rows),
        "One worker, JOBS_IN_FLIGHT 3, QUEUE_POLL_S 0.5 as by default, a stand-in model that sleeps; every job is "
        "downloaded, cut out, finished (2,200 faces) and delivered besides. The first job is left out: it fills "
        "the line. Goal: 97 %.",
    )


def with_remover(sizes: Sizes, postgres: PostgresServer) -> Iterator[Table]:
    """The same with a real matting model, whose cut-outs of the next jobs are made while the device works."""
    matting = {
        name: os.environ[name]
        for name in ("MATTING_MODEL", "MATTING_HOME", "MATTING_THREADS")
        if name in os.environ
    }
    work_s, num_jobs = sizes.lane[0]
    yield Table(
        f"The device under backlog, backgrounds removed by {matting.get('MATTING_MODEL', 'tiny')}",
        LANE_COLUMNS,
        (_lane(sizes.stores[0], work_s, num_jobs, postgres, {"MATTING_MODEL": "tiny"} | matting),),
        "As above, with MATTING_MODEL, MATTING_HOME and MATTING_THREADS of the environment, remove_background always; "
        f"load average {os.getloadavg()[0]:.1f} before. Goal: 97 %.",
    )


def _lane(
    store: str,
    work_s: float,
    num_jobs: int,
    postgres: PostgresServer,
    matting: Mapping[str, str] | None = None,
) -> Row:
    settings = {"STAND_IN_STEP_S": str(work_s / 20), "QUEUE_POLL_S": "0.5", **(matting or {})}
    outside = Outside()
    try:
        with running(store, postgres, "api", **settings) as house:
            ids = [
                house.submit(
                    image_url=outside.url("/a.png"),
                    webhook_url=outside.url("/hook"),
                    num_inference_steps=20,
                    remove_background="always" if matting else "auto",
                )
                for _ in range(num_jobs)
            ]
            tell(f"{store}: {num_jobs} jobs of {work_s:g} s wait")
            house.start("worker")
            house.wait_until_ready()
            begun_s = _cpu_s(house, "worker")
            _await_posts(outside, num_jobs, store)
            cpu_s = (_cpu_s(house, "worker") - begun_s) / num_jobs
            device_s = {job_id: _device_s(house.job(job_id)) for job_id in ids}
            ended = sorted((_shape_ended_s(house, job_id), job_id) for job_id in ids)
    finally:
        outside.close()
    span_s = ended[-1][0] - ended[0][0]
    busy_s = sum(device_s[job_id] for _, job_id in ended[1:])
    return (
        store,
        f"{work_s:g}",
        str(num_jobs),
        f"{span_s:.2f}",
        f"{100 * busy_s / span_s:.1f} %",
        f"{cpu_s:.2f}",
    )


def _await_posts(outside: Outside, count: int, what: str) -> None:
    told_at = time.monotonic()
    while len(outside.received) < count:
        time.sleep(0.05)
        if time.monotonic() - told_at > 20:
            told_at = time.monotonic()
            tell(f"{what}: {len(outside.received)} of {count} delivered")


def _device_s(job: dict[str, Any]) -> float:
    assert job["status"] == "succeeded", job
    return float(job["timings_s"]["denoise"] + job["timings_s"]["decode"])


def _shape_ended_s(house: House, job_id: str) -> float:
    (ended,) = [line for line in house.events("stage finished", job_id) if line["stage"] == "denoise"]
    return datetime.fromisoformat(ended["time"]).timestamp()


# What a submission costs.


def submit(sizes: Sizes, postgres: PostgresServer) -> Iterator[Table]:
    rows = []
    for store in sizes.stores:
        with running(store, postgres, "api") as house:
            empty = _cost(house, "GET", "/livez", None, sizes.submissions)
            filled = _cost(house, "POST", "/generate-3d", _request(), sizes.submissions)
            again = _cost(house, "GET", "/livez", None, sizes.submissions)
            idle_ms = (empty.cpu_ms + again.cpu_ms) / 2
            tell(f"{store}: {sizes.submissions} submissions by one caller and by 16")
            rows += [
                _cost_row(store, "GET /livez", empty, idle_ms, idle_ms),
                _cost_row(store, "POST /generate-3d", filled, filled.cpu_ms, idle_ms),
            ]
    yield Table(
        "What a submission costs",
        (
            "store",
            "request",
            "CPU ms of the API",
            "1 caller, p50 ms",
            "16 callers, p50 / p99 ms",
            "CPU, times empty",
        ),
        tuple(rows),
        "GET /livez does nothing; it is asked before and after, its CPU is the mean of both. Connections are kept.",
    )


@dataclass(frozen=True)
class Cost:
    cpu_ms: float
    alone_ms: Sequence[float]
    crowd_ms: Sequence[float]


def _cost(house: House, method: str, path: str, body: bytes | None, count: int) -> Cost:
    _asked(house, method, path, body, count // 10)
    before_s = _cpu_s(house, "api")
    alone = _asked(house, method, path, body, count)
    cpu_ms = 1000 * (_cpu_s(house, "api") - before_s) / count
    return Cost(cpu_ms, alone, _by_crowd(house, method, path, body, count, num_callers=16))


def _cost_row(store: str, name: str, one: Cost, cpu_ms: float, idle_ms: float) -> Row:
    return (
        store,
        name,
        f"{cpu_ms:.2f}",
        f"{_percentile(one.alone_ms, 50):.1f}",
        f"{_percentile(one.crowd_ms, 50):.0f} / {_percentile(one.crowd_ms, 99):.0f}",
        f"{cpu_ms / idle_ms:.1f}",
    )


def _request(**fields: Any) -> bytes:
    job = {"session_id": "s1", "asset_id": "a1", "image_url": "https://example.com/a.png"}
    return json.dumps(job | fields).encode()


def _asked(
    house: House, method: str, path: str | Callable[[], str], body: bytes | None, count: int
) -> list[float]:
    """The milliseconds of each of `count` requests, one after the other on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", house.port, timeout=120)
    taken = []
    for _ in range(count):
        begun_s = time.perf_counter()
        connection.request(
            method, path if isinstance(path, str) else path(), body, {"Content-Type": "application/json"}
        )
        answer = connection.getresponse()
        said = answer.read()
        taken.append(1000 * (time.perf_counter() - begun_s))
        assert answer.status in (200, 202), said
    connection.close()
    return taken


def _by_crowd(
    house: House, method: str, path: str, body: bytes | None, count: int, *, num_callers: int
) -> list[float]:
    taken: list[float] = []

    def call() -> None:
        taken.extend(_asked(house, method, path, body, count // num_callers))

    callers = [threading.Thread(target=call) for _ in range(num_callers)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return taken


# A long queue.


def queue(sizes: Sizes, postgres: PostgresServer) -> Iterator[Table]:
    rows = [row for store in sizes.stores for row in _queue(store, sizes, postgres)]
    yield Table(
        "A long queue",
        (
            "store",
            "jobs waiting",
            "submit, p50 / p99 ms",
            "status, p50 / p99 ms",
            "list of 50, p50 ms",
            "/readyz, p50 ms",
        ),
        tuple(rows),
        "One caller, no worker; the status is asked of jobs all over the queue. Goal: no growth.",
    )


def _queue(store: str, sizes: Sizes, postgres: PostgresServer) -> Iterator[Row]:
    with running(store, postgres, "api") as house:
        ids = [house.submit(image_url="https://example.com/a.png")]
        _asked(house, "POST", "/generate-3d", _request(), 20)
        num_waiting = 21
        for goal in sizes.queues:
            missing = max(0, goal - num_waiting)
            for _ in range(0, missing, 500):
                count = min(500, goal - num_waiting)
                _by_crowd(house, "POST", "/generate-3d", _request(), count // 4 * 4, num_callers=4)
                ids.append(house.submit(image_url="https://example.com/a.png"))
                num_waiting += count // 4 * 4 + 1
                tell(f"{store}: {num_waiting} wait")
            turn = iter(ids * (1 + sizes.asked_at_each // len(ids)))
            statuses = _asked(
                house, "GET", lambda turn=turn: f"/jobs/{next(turn)}", None, sizes.asked_at_each
            )
            submits = _asked(house, "POST", "/generate-3d", _request(), sizes.asked_at_each)
            listed = _asked(house, "GET", "/jobs?limit=50", None, 20)
            house_states = _states(house)
            yield (
                store,
                f"{num_waiting:,}",
                *(f"{_percentile(ms, 50):.1f} / {_percentile(ms, 99):.1f}" for ms in (submits, statuses)),
                f"{_percentile(listed, 50):.1f}",
                f"{_percentile(house_states, 50):.1f}",
            )
            num_waiting += sizes.asked_at_each


def _states(house: House) -> list[float]:
    taken = []
    for _ in range(20):
        begun_s = time.perf_counter()
        house.ask("GET", "/readyz")
        taken.append(1000 * (time.perf_counter() - begun_s))
    return taken


# Memory over many jobs.


def memory(sizes: Sizes, postgres: PostgresServer) -> Iterator[Table]:
    rows = [row for store in sizes.stores for row in _memory(store, sizes, postgres)]
    yield Table(
        "Memory over many jobs",
        (
            "store",
            "process",
            "jobs",
            "MB at the start",
            "MB after a tenth",
            "MB at the end",
            "kB a job, second half",
        ),
        tuple(rows),
        "Resident set. A webhook is delivered, and the status asked, for every job. The slope is a least-squares line "
        "through a look after every twentieth job of the second half.",
    )


def _memory(store: str, sizes: Sizes, postgres: PostgresServer) -> Iterator[Row]:
    outside = Outside()
    looks: dict[str, list[tuple[int, float]]] = {"api": [], "worker": []}
    try:
        with running(store, postgres, "api", "worker") as house:
            for number in range(sizes.memory_jobs + 1):
                if number % 20 == 0:
                    _await_posts(outside, number, store)
                    outside.received[:] = [None] * number  # type: ignore[list-item] # counted, not kept
                    for name, seen in looks.items():
                        seen.append((number, _resident_mb(house, name)))
                if number % 100 == 0:
                    tell(f"{store}: {number} jobs, " + _now_mb(looks))
                if number < sizes.memory_jobs:
                    job_id = house.submit(image_url=outside.url("/a.png"), webhook_url=outside.url("/hook"))
                    house.job(job_id)
    finally:
        outside.close()
    for name, seen in looks.items():
        yield _memory_row(store, name, sizes.memory_jobs, seen)


def _memory_row(store: str, name: str, num_jobs: int, seen: list[tuple[int, float]]) -> Row:
    second_half = seen[len(seen) // 2 :]
    slope, _ = statistics.linear_regression(*zip(*second_half, strict=True))
    after_tenth = next(size for number, size in seen if number >= num_jobs / 10)
    shown = [f"{size:.1f}" for size in (seen[0][1], after_tenth, seen[-1][1])]
    return store, name, f"{num_jobs:,}", *shown, f"{1000 * slope:.2f}"


def _now_mb(looks: dict[str, list[tuple[int, float]]]) -> str:
    return ", ".join(f"{name} {seen[-1][1]:.1f} MB" for name, seen in looks.items())


def _resident_mb(house: House, name: str) -> float:
    lines = Path(f"/proc/{house.running[name].pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024 / 1e6


def _cpu_s(house: House, name: str) -> float:
    """Processor seconds of the process so far."""
    fields = Path(f"/proc/{house.running[name].pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


SECTIONS = {"lane": lane, "remover": with_remover, "submit": submit, "queue": queue, "memory": memory}

if __name__ == "__main__":
    main()
