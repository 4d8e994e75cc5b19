"""What all measurements share: the clock, taking turns, peaks of memory, tables, and what machine this is.

On a CPU seconds are of the processor, of one thread, so that a busy machine counts little; on a GPU they are of the
wall, between two synchronisations.
"""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

Row = tuple[str, ...]
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Asked:
    """What the command line asks of every section; None leaves a section its own."""

    device: torch.device
    variant: str | None = None
    steps: int | None = None
    resolution: int | None = None
    rounds: int | None = None

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def dtype(self) -> torch.dtype:
        """What today's users compute in."""
        return torch.float16 if self.is_gpu else torch.float32

    @property
    def unit(self) -> str:
        return "s" if self.is_gpu else "CPU s"

    def now(self) -> float:
        """Seconds, after all the device's work so far."""
        if not self.is_gpu:
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()


@dataclass(frozen=True)
class Table:
    """One table of results and what there is to say about it."""

    title: str
    header: Row
    rows: tuple[Row, ...]
    notes: str = ""

    def __str__(self) -> str:
        lines = [f"### {self.title}", "", _line(self.header), "|---" * len(self.header) + "|"]
        lines += [_line(row) for row in self.rows]
        return "\n".join([*lines, *(["", self.notes] if self.notes else []), ""])


Section = Callable[[Asked], Iterator[Table]]


def in_turns(asked: Asked, *tasks: Callable[[], object], rounds: int = 3, warm_ups: int = 1) -> list[float]:
    """The median seconds of each task; all are run once a round, after rounds that do not count."""
    seconds: list[list[float]] = [[] for _ in tasks]
    for number in range(warm_ups + rounds):
        for task, taken in zip(tasks, seconds, strict=True):
            begun = asked.now()
            task()
            if number >= warm_ups:
                taken.append(asked.now() - begun)
    return [statistics.median(taken) for taken in seconds]


def timed(asked: Asked, task: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one call, and what it gave."""
    begun = asked.now()
    result = task()
    return asked.now() - begun, result


def ratio(base: float, other: float) -> str:
    return f"{base / other:.2f}x" if base / other < 10 else f"{base / other:.1f}x"


def apart(module: str, *arguments: str, **settings: str) -> dict[str, Any]:
    """What `python -m module arguments` prints last, as JSON: for what needs a process that did nothing before."""
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | one_thread | settings,
    )
    if done.returncode != 0:
        raise SystemExit(f"{module} {' '.join(arguments)} failed:\n{done.stderr[-4000:]}")
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def peak_bytes(device: torch.device) -> int:
    """The most memory so far: of the device's allocator, or of this process. Not getrusage: its peak outlives exec."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def forget_peak(device: torch.device) -> None:
    """Lets `peak_bytes` count from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        Path("/proc/self/clear_refs").write_text("5")


def write_json(path: Path, told: object) -> None:
    """Whole or not at all: whoever is stopped while writing leaves what was there before."""
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(told, indent=1))
    beside.replace(path)


def machine(device: torch.device) -> str:
    """Processor or card, versions, date."""
    packages = ("torch", "scikit-image", "trimesh")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    where = f"{os.cpu_count()} cores of {_processor()}"
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        where = f"{card.name}, {card.total_memory / 2**30:.0f} GiB; {where}"
    return f"{where}; Python {platform.python_version()}, {versions}; {datetime.now(UTC):%Y-%m-%d}"


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def _line(row: Sequence[str]) -> str:
    return f"| {' | '.join(row)} |"
