"""From nothing to a warm job: imports, the open port, reading a checkpoint, the first job against later ones."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch

from benchmarks.measuring import Asked, Row, Table, apart
from benchmarks.pictures import ellipse
from benchmarks.published import write_random_file

MODULES = (
    "ai_engine.api.app",
    "ai_engine.worker.process",
    "torch",
    "hy3dgen.pipeline",
    "ai_engine.printing.prepare",
    "ai_engine.images.background",
)
ROUNDS = 3
BLOCK = 2**24
JOBS = 4


def tables(asked: Asked) -> Iterator[Table]:
    yield _imports()
    yield _port()
    yield _reading(asked)
    yield _first_jobs(asked)


def _imports() -> Table:
    empty = _import_s("sys")
    rows = tuple((name, f"{_import_s(name) - empty:.2f}") for name in MODULES)
    return Table(
        "Imports",
        ("module", "CPU s"),
        rows,
        f"Above a bare interpreter ({empty:.2f} s); medians of {ROUNDS}, warm files.",
    )


def _import_s(module: str) -> float:
    program = f"import {module}, time; print(time.process_time())"
    runs = [
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
        for _ in range(ROUNDS)
    ]
    return median(float(run.stdout.split()[-1]) for run in runs)


def _port() -> Table:
    runs = [_open_port() for _ in range(ROUNDS)]
    wall, cpu = (median(run[place] for run in runs) for place in (0, 1))
    return Table(
        "The HTTP port",
        ("", "wall s", "CPU s of the process until then"),
        (("`main.py api` until the port takes a connection", f"{wall:.2f}", f"{cpu:.2f}"),),
        f"Medians of {ROUNDS}, warm files. On an idle core wall and processor seconds are about the same.",
    )


def _open_port() -> tuple[float, float]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        settings = {"PORT": str(port), "DATA_DIR": folder, "MODEL_VARIANT": "stand-in"}
        begun_s = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "main.py", "api"], env=os.environ | settings, stderr=subprocess.DEVNULL
        )
        while not _is_open(port):
            time.sleep(0.005)
        wall = time.monotonic() - begun_s
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rsplit(") ", 1)[1].split()[11:13]
        process.terminate()
        process.wait()
    return wall, sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _reading(asked: Asked) -> Table:
    variant = asked.variant or "v2-mini"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / f"hunyuan3d-dit-{variant}.safetensors"
        size = write_random_file(path, variant)
        dtypes = ("float16",) if asked.is_gpu else ("float16", "float32")
        runs = {
            dtype: [
                apart("benchmarks.start", "load", str(path), str(asked.device), dtype) for _ in range(ROUNDS)
            ]
            for dtype in dtypes
        }
    rows: list[Row] = []
    for dtype, told in runs.items():
        plain, ours = (median(run[key] for run in told) for key in ("read_s", "load_s"))
        rates = (f"{size / plain / 1e9:.2f}", f"{size / ours / 1e9:.2f}", f"{100 * plain / ours:.0f} %")
        rows.append((dtype, f"{plain:.2f}", f"{ours:.2f}", *rates))
    unit = "wall s" if asked.is_gpu else "CPU s"
    return Table(
        f"Reading {variant}, {size / 1e9:.2f} GB in the page cache, to networks on {asked.device.type}",
        (
            "numbers",
            f"plain read, {unit}",
            f"to ready, {unit}",
            "plain, GB/s",
            "to ready, GB/s",
            "of the plain rate",
        ),
        tuple(rows),
        f"Medians of {ROUNDS} processes. Plain: `read` in blocks of 16 MB into one buffer. To ready: opened, checked, "
        "networks built, weights assigned, a byte of every page read. The file itself is float16.",
    )


def load(path: str, device: str, dtype: str) -> dict[str, float]:
    """In a process of its own: a plain read, then the pipeline's load."""
    from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline

    asked = Asked(torch.device(device))
    buffer = bytearray(BLOCK)
    begun = asked.now()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    read_s = asked.now() - begun
    begun = asked.now()
    pipeline, vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(path, device, getattr(torch, dtype))
    for network in (pipeline.conditioner, pipeline.dit, vae):
        for one in network.parameters():
            one.view(torch.uint8).flatten()[::4096].sum()
    return {"read_s": read_s, "load_s": asked.now() - begun}


def _first_jobs(asked: Asked) -> Table:
    rows: list[Row] = []
    for ready in ("no", "yes"):
        told = [apart("benchmarks.start", "jobs", str(asked.device), ready) for _ in range(ROUNDS)]
        made, first, later = (median(run[key] for run in told) for key in ("ready_s", "first_s", "later_s"))
        rows.append((ready, f"{made:.2f}", f"{first:.2f}", f"{later:.2f}", f"{first / later:.2f}x"))
    return Table(
        f"The first job, embedded model, octree 128, {asked.device.type}",
        (
            "warmed up",
            f"warm-up, {asked.unit}",
            f"first job, {asked.unit}",
            "later, median",
            "first by later",
        ),
        tuple(rows),
        f"Picture to finished STL, every stage but the network's; medians of {ROUNDS} processes.",
    )


def jobs(device: str, ready: str) -> dict[str, float]:
    """In a process of its own: a job and later ones, warmed up before or not."""
    from ai_engine.settings import Settings
    from benchmarks.cpu import Line

    asked = Asked(torch.device(device))
    line = Line(Settings(device=device))
    begun = asked.now()
    if ready == "yes":
        line.make_ready()
    ready_s = asked.now() - begun
    seconds = []
    for _ in range(JOBS):
        begun = asked.now()
        line.run(ellipse(), resolution=128)
        seconds.append(asked.now() - begun)
    return {"ready_s": ready_s, "first_s": seconds[0], "later_s": median(seconds[1:])}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({"load": load, "jobs": jobs}[sys.argv[1]](*sys.argv[2:])))
