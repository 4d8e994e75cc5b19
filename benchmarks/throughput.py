"""Jobs an hour with the whole service running, against the sum of its device stages.

Real processes on loopback: pictures come as data URIs, meshes go to a receiver. While one job is finished and
delivered the next is on the device; what is left of 100 % is the device waiting.
"""

from __future__ import annotations

import base64
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Asked, Row, Table
from tests.service.house import House, Outside, cut_out_png

STAND_IN = {"MODEL_VARIANT": "stand-in", "STAND_IN_STEP_S": "0.4", "STAND_IN_FACES": "100000"}
EMBEDDED = {"MODEL_VARIANT": "", "MODEL_PATH": "models/tiny/tiny.safetensors"}


def tables(asked: Asked) -> Iterator[Table]:
    embedded = EMBEDDED | {"DEVICE": str(asked.device)}
    # On a GPU at a size where a job takes longest there, not before and after.
    resolution = asked.resolution or (256 if asked.is_gpu else 64)
    rows = (
        _row("stand-in, 2 s on the device, 2,208 faces", STAND_IN | {"STAND_IN_FACES": "2208"}, num_jobs=20),
        _row("stand-in, 2 s on the device, 100,000 faces", STAND_IN, num_jobs=15),
        _row(f"embedded model, octree {resolution}", embedded, num_jobs=15, octree_resolution=resolution),
    )
    yield Table(
        "The whole service against its device stages",
        (
            "",
            "jobs",
            "jobs an hour",
            "s from the first submission to the last delivery",
            "s of denoising and decoding",
            "share",
        ),
        rows,
        f"Wall seconds, the jobs' own timings; the embedded model on {asked.device.type}.",
    )


def _row(name: str, settings: dict[str, str], *, num_jobs: int, **options: object) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        outside, house = Outside(), House(Path(folder), settings)
        try:
            house.start("serve")
            house.wait_until_ready()
            _finished(house, outside, 1, options)
            wall_s, jobs = _finished(house, outside, num_jobs, options)
        finally:
            house.close()
            outside.close()
    device_s = sum(job["timings_s"]["denoise"] + job["timings_s"]["decode"] for job in jobs)
    return (
        name,
        str(num_jobs),
        f"{3600 * num_jobs / wall_s:.0f}",
        f"{wall_s:.2f}",
        f"{device_s:.2f}",
        f"{100 * device_s / wall_s:.0f} %",
    )


def _finished(
    house: House, outside: Outside, count: int, options: dict[str, object]
) -> tuple[float, list[dict]]:
    """Seconds from the first of that many submissions to the last delivery, and the jobs."""
    picture = "data:image/png;base64," + base64.b64encode(cut_out_png(256)).decode()
    before, begun_s = len(outside.received), time.monotonic()
    ids = [
        house.submit(
            asset_id=f"a{number}", image_url=picture, webhook_url=outside.url("/hook"), seed=number, **options
        )
        for number in range(count)
    ]
    while len(outside.received) < before + count:  # the receiver is told: nobody asks the service meanwhile
        time.sleep(0.02)
    wall_s = time.monotonic() - begun_s
    jobs = [house.wait_until_over(job_id) for job_id in ids]
    assert all(job["status"] == "succeeded" for job in jobs), jobs
    return wall_s, jobs
