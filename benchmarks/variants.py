"""What it costs to finish a mesh of 700,000 faces again: another format, another height, a base with a text, hollow.

The mesh is that of `benchmarks.finish`. Each variant runs in a process of its own, one thread: clean, add, write and
read back, report, write the format. A second table asks a service for the same of a job's mesh and reads its metric of
device seconds before and after.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from ai_engine.mesh.mesh import Mesh
from ai_engine.mesh_files.mesh_file import through_stl, write_mesh
from ai_engine.printing.prepare import finish
from ai_engine.wishes.additions import Attach, Base, Hollow
from ai_engine.wishes.print_options import PrintOptions
from benchmarks.finish import make_mesh
from benchmarks.measuring import Asked, Row, Table, forget_peak, peak_bytes
from tests.service.house import House, Outside

CELLS = 352
HEIGHT_MM = 100
VARIANTS: dict[str, dict[str, Any]] = {
    "format 3mf": {"format": "3mf"},
    "height 100 mm": {"height_mm": HEIGHT_MM},
    "100,000 faces": {"height_mm": HEIGHT_MM, "target_faces": 100_000},
    "base with a text": {
        "height_mm": HEIGHT_MM,
        "base": {"shape": "oval", "height_mm": 12, "text": "Apollo 11"},
    },
    "ring": {"height_mm": HEIGHT_MM, "attach": {"kind": "keyring"}},
    "hollow": {"height_mm": HEIGHT_MM, "hollow": {"wall_mm": 2}},
    "hollow, base with a text, ring": {
        "height_mm": HEIGHT_MM,
        "hollow": {"wall_mm": 2},
        "base": {"shape": "oval", "height_mm": 12, "text": "Apollo 11"},
        "attach": {"kind": "keyring"},
    },
}
"""Fields of a request, by what they ask for."""
STAND_IN = {"MODEL_VARIANT": "stand-in", "STAND_IN_STEP_S": "0.05", "STAND_IN_FACES": "700000"}
DEVICE_SECONDS = re.compile(r"^ai_engine_model_device_seconds_total\S* (\S+)$", re.MULTILINE)


def tables(asked: Asked) -> Iterator[Table]:
    """In one process each, and through a service."""
    with tempfile.TemporaryDirectory() as name:
        path, load = Path(name) / "mesh.npz", os.getloadavg()[0]
        make_mesh(asked.resolution or CELLS, path)
        rows = tuple(_row(variant, path, asked.rounds or 3) for variant in VARIANTS)
        with np.load(path) as arrays:
            num_faces = len(arrays["faces"])
    yield Table(
        f"Variants of a mesh of {num_faces:,} faces, in a process of their own",
        ("", "CPU s", "wall s", "peak MB above the mesh", "came out"),
        rows,
        f"Load at first and at last: {load:.1f}, {os.getloadavg()[0]:.1f}.",
    )
    with tempfile.TemporaryDirectory() as name:
        yield _through_service(Path(name))


def _row(variant: str, path: Path, rounds: int) -> Row:
    command = [sys.executable, "-m", "benchmarks.variants", variant, str(path)]
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    runs = [
        json.loads(
            subprocess.run(command, capture_output=True, check=True, env=os.environ | one_thread).stdout
        )
        for _ in range(rounds)
    ]
    cpu_s, wall_s, peak_mb = (median(run[key] for run in runs) for key in ("cpu_s", "wall_s", "peak_mb"))
    closed = "closed" if all(run["closed"] for run in runs) else "NOT closed"
    return (
        variant,
        f"{cpu_s:.1f}",
        f"{wall_s:.1f}",
        f"{peak_mb:.0f}",
        f"{runs[0]['faces']:,} faces, {closed}",
    )


def run_variant(variant: str, path: Path) -> None:
    """In a process of its own: makes it, prints seconds and memory."""
    device = torch.device("cpu")
    with np.load(path) as arrays:
        mesh = Mesh(arrays["vertices"], arrays["faces"])
    file_format, wishes = _wishes(VARIANTS[variant])
    forget_peak(device)
    before, begun_s, wall_s = peak_bytes(device), time.process_time(), time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        stl = Path(name) / "a.stl"
        finished, found = finish(mesh, wishes, see=lambda one: through_stl(one, stl))
        if file_format != "stl":
            write_mesh(finished, Path(name) / "a", file_format)
    print(
        json.dumps(
            {
                "cpu_s": time.process_time() - begun_s,
                "wall_s": time.monotonic() - wall_s,
                "peak_mb": (peak_bytes(device) - before) / 2**20,
                "faces": found.num_faces,
                "closed": found.is_watertight,
            }
        )
    )


def _wishes(fields: dict[str, Any]) -> tuple[Any, PrintOptions]:
    """The format and the options that a request with these fields has."""
    kinds = {"base": Base, "attach": Attach, "hollow": Hollow}
    options = {
        name: kinds[name](**value) if name in kinds else value
        for name, value in fields.items()
        if name != "format"
    }
    return fields.get("format", "stl"), PrintOptions(**options)


def _through_service(folder: Path) -> Table:
    """Wall seconds from each request to its end, and the metric of device seconds after it."""
    house, outside = House(folder, STAND_IN), Outside()
    try:
        house.start("serve")
        house.wait_until_ready()
        first = house.submit(image_url=outside.url("/a.png"), num_inference_steps=10)
        num_faces = house.wait_until(first, "succeeded")["artifact"]["faces"]
        device_s = _device_seconds(house)
        rows = []
        for variant, fields in VARIANTS.items():
            begun_s = time.monotonic()
            job_id = house.ask("POST", f"/jobs/{first}/variants", fields).json["job_id"]
            house.wait_until(job_id, "succeeded")
            rows.append((variant, f"{time.monotonic() - begun_s:.1f}", _device_seconds(house)))
    finally:
        house.close()
        outside.close()
    return Table(
        f"Variants of a job with {num_faces:,} faces, through a service",
        ("", "wall s from request to end", "device seconds in all after it"),
        tuple(rows),
        f"`ai_engine_model_device_seconds_total` after the job itself: {device_s}.",
    )


def _device_seconds(house: House) -> str:
    (found,) = DEVICE_SECONDS.findall(house.ask("GET", "/metrics").body.decode())
    return f"{float(found):.3f}"


if __name__ == "__main__":
    run_variant(sys.argv[1], Path(sys.argv[2]))
