"""Background removal never delays the device: with a backlog the next job is cut out while the device works."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from service.house import ROOT, House
from service.test_cut_outs import data_url

PUBLISHED = Path(os.environ.get("MATTING_HOME", "")) / "isnet-general-use.onnx"
NUM_JOBS, DEVICE_S = 5, 10


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        "tiny",
        pytest.param(
            "isnet-general-use",
            marks=pytest.mark.skipif(
                not PUBLISHED.is_file(), reason="MATTING_HOME holds no ISNet: NOT TESTED"
            ),
        ),
    ],
)
def test_the_next_job_is_cut_out_before_the_device_is_free(model: str, tmp_path: Path) -> None:
    settings = {"MATTING_MODEL": model, "MATTING_THREADS": "1", "STAND_IN_STEP_S": str(DEVICE_S / 20)}
    if model != "tiny":
        settings["MATTING_HOME"] = str(PUBLISHED.parent)
    house = House(tmp_path, settings)
    try:
        house.start("serve")
        house.wait_until_ready()
        picture = data_url((ROOT / "examples" / "pictures" / "mug.png").read_bytes())
        ids = [
            house.submit(image_url=picture, remove_background="always", num_inference_steps=20)
            for _ in range(NUM_JOBS)
        ]
        for job_id in ids:
            house.wait_until(job_id, "succeeded")
        ends = sorted((ended(house, job_id, "denoise"), ended(house, job_id, "cutout")) for job_id in ids)
    finally:
        house.close()
    assert all(cut < device for (device, _), (_, cut) in pairwise(ends))


def ended(house: House, job_id: str, stage: str) -> str:
    """When a stage of the job ended, as its log line says; ISO 8601, so that order is that of time."""
    (line,) = [line for line in house.events("stage finished", job_id, "serve") if line["stage"] == stage]
    return str(line["time"])
