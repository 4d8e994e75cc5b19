"""What a key notices of a hostile one beside it: seconds from submission to webhook, alone and then beside it.

One job after the other, on a service with the limits that it comes with; part of `make chaos`.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ai_engine.web.api_keys import new_key, setting_entry
from service.house import House, Outside, wait_for

STEPS = {"STAND_IN_STEP_S": "0.2"}
NUM_STEPS = 10
"""2 s on the device a job, as the hostile key's have."""
LEAD_JOBS = 20
"""Of the hostile key, waiting when the first job beside it comes."""
NOTICED = (
    "jobs lost of the honest key",
    "requests of the honest key answered other than 200 or 202",
    "p95 over twice that alone",
)
"""Rows that must be zero."""
MOST_TIMES = 2.0
"""The seconds beside may be so many times those alone, at the 95th percentile."""


@dataclass
class Honest:
    """The key that is measured."""

    house: House
    outside: Outside
    answers: Counter[int] = field(default_factory=Counter)
    lost: int = 0

    def job_s(self) -> float:
        """Seconds from the submission of one job to its webhook; its status is asked meanwhile."""
        fields = {
            "session_id": "s",
            "asset_id": "a",
            "image_url": self.outside.url("/a.png"),
            "webhook_url": self.outside.url("/honest"),
            "num_inference_steps": NUM_STEPS,
        }
        begun_s = time.monotonic()
        answer = self.house.ask("POST", "/generate-3d", fields)
        self.answers[answer.status] += 1
        if answer.status != 202:
            return float("inf")
        job_id = answer.json["job_id"]
        try:
            wait_for(lambda: self._is_delivered(job_id), "its webhook came")
        except AssertionError:
            self.lost += 1
        seconds = time.monotonic() - begun_s
        self.answers[self.house.ask("GET", f"/jobs/{job_id}").status] += 1
        self.answers[self.house.ask("GET", "/jobs").status] += 1
        return seconds

    def _is_delivered(self, job_id: str) -> bool:
        return any(
            post.headers["webhook-id"].startswith(job_id) and b"succeeded" in post.body
            for post in list(self.outside.posts("/honest"))
        )


def run_beside(database_url: str | None, num_jobs: int, logs: Path | None = None) -> dict[str, Any]:
    """The table of one run: `num_jobs` alone, as many beside the hostile key."""
    honest_key, hostile_key = new_key(), new_key()
    keys = f"{setting_entry('honest', honest_key)},{setting_entry('hostile', hostile_key)}"
    settings = STEPS | {"API_KEYS": keys} | ({"DATABASE_URL": database_url} if database_url else {})
    with tempfile.TemporaryDirectory(prefix="beside-") as folder:
        outside, house = Outside(), House(Path(folder), settings, key=honest_key)
        try:
            for name in ("api", "worker"):
                house.start(name)
            house.wait_until_ready()
            honest = Honest(house, outside)
            honest.job_s()  # The first fills what is kept in memory.
            alone = [honest.job_s() for _ in range(num_jobs)]
            with hostile_beside(house, hostile_key) as answers:
                beside = [honest.job_s() for _ in range(num_jobs)]
            return _table(honest, alone, beside, answers)
        finally:
            house.close()
            outside.close()
            for log in house.folder.glob("*.log") if logs else ():
                (logs or Path()).joinpath(f"beside-{log.name}").write_bytes(log.read_bytes())


@contextmanager
def hostile_beside(house: House, key: str) -> Iterator[Counter[str]]:
    """The hostile key at work; what it was answered is there when the block is over."""
    answers: Counter[str] = Counter()
    command = [sys.executable, "-m", "service.hostile", str(house.port), key]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            asking = House(house.folder, port=house.port, key=key)
            wait_for(
                lambda: len(asking.ask("GET", "/jobs?limit=200").json["jobs"]) >= LEAD_JOBS, "it is busy"
            )
            yield answers
        finally:
            printed, _ = process.communicate("", timeout=120)
            answers.update(json.loads(printed))


def _table(honest: Honest, alone: list[float], beside: list[float], hostile: Counter[str]) -> dict[str, Any]:
    times = _p95(beside) / _p95(alone)
    num_refused = sum(number for status, number in honest.answers.items() if status not in (200, 202))
    return {
        "jobs alone, and as many beside": len(alone),
        "s to the webhook alone, p50 / p95": f"{_p50(alone):.1f} / {_p95(alone):.1f}",
        "s to the webhook beside a hostile key, p50 / p95": f"{_p50(beside):.1f} / {_p95(beside):.1f}",
        "beside by alone, p95": f"{times:.2f}",
        "the hostile key's requests answered": ", ".join(f"{n} x {s}" for s, n in sorted(hostile.items())),
    } | dict(zip(NOTICED, (honest.lost, num_refused, int(times > MOST_TIMES)), strict=True))


def _p50(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]


def _p95(seconds: list[float]) -> float:
    return sorted(seconds)[math.ceil(0.95 * len(seconds)) - 1]
