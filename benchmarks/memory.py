"""The most memory while loading and while working, with everything on the device or only what is needed.

On a CPU: what loading adds to a process, and how much of all weights is there at once. On a GPU: peaks of a whole job
within budgets that the allocator enforces.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import torch
from torch import nn

from benchmarks.measuring import NOT_MEASURED, Asked, Row, Table, apart, peak_bytes
from benchmarks.pictures import ellipse
from benchmarks.published import random_pipeline, write_random_file
from hy3dgen.checkpoint import weights_of
from hy3dgen.residence import Residence
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline

RESIDENCES: tuple[Residence, ...] = ("full", "low", "minimal")
BUDGETS_GB = (6, 8, 12, 16)
SMALL_VARIANTS = ("v2-mini", "v2-0")
FIT_STEPS, FIT_RESOLUTION = 2, 128


def tables(asked: Asked) -> Iterator[Table]:
    variant = asked.variant or "v2-mini"
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / f"hunyuan3d-dit-{variant}.safetensors"
        size = write_random_file(path, variant)
        rows = [
            _loading_row(path, size, dtype, residence)
            for dtype, residence in product(("float16", "float32"), ("full", "low"))
        ]
    yield Table(
        f"Loading {variant}: a file of {size / 1e9:.2f} GB, CPU",
        (
            "numbers",
            "memory",
            "weights, GB",
            "growth of the process, GB",
            "of it anonymous, GB",
            "there at once, GB",
        ),
        tuple(rows),
        "Every page is touched. What is not anonymous lies in the file's own pages, which all processes share and the "
        "system may drop. There at once: the most that is on the device (here main memory) while networks take turns.",
    )
    yield _budgets(asked)


def _loading_row(path: Path, size: int, dtype: str, residence: str) -> Row:
    told = apart("benchmarks.memory", "load", str(path), dtype, residence)
    weights = weights_of(path, getattr(torch, dtype)).total
    return (
        dtype,
        residence,
        *(f"{number / 1e9:.2f}" for number in (weights, told["growth"], told["anonymous"], told["at_once"])),
    )


def load(path: str, dtype: str, residence: Residence) -> dict[str, int]:
    """In a process of its own: loads, and brings each network once."""
    before = peak_bytes(torch.device("cpu"))
    pipeline, vae = Hunyuan3DDiTFlowMatchingPipeline.from_single_file(
        path, dtype=getattr(torch, dtype), residence=residence
    )
    networks = (pipeline.conditioner, pipeline.dit, vae)
    at_once = 0
    for network in networks:
        pipeline.bring(network)
        sum(float(one.view(torch.uint8).flatten()[::4096].sum()) for one in network.parameters())
        at_once = max(at_once, sum(_present_bytes(one) for one in networks))
    return {
        "growth": peak_bytes(torch.device("cpu")) - before,
        "anonymous": _anonymous_bytes(),
        "at_once": at_once,
    }


def _present_bytes(network: nn.Module) -> int:
    return sum(one.numel() * one.element_size() for one in network.parameters() if not one.is_meta)


def _anonymous_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def _budgets(asked: Asked) -> Table:
    rows: list[Row] = []
    for variant, residence in product(SMALL_VARIANTS, RESIDENCES):
        if asked.is_gpu:
            rows.append(
                (variant, residence, *(_fits(asked, variant, residence, budget) for budget in BUDGETS_GB))
            )
        else:
            rows.append((variant, residence, *[NOT_MEASURED] * len(BUDGETS_GB)))
    return Table(
        "A job within a card's memory: peak in GB, seconds",
        ("", "memory", *(f"{budget} GB" for budget in BUDGETS_GB)),
        tuple(rows),
        "With a GPU: `python -m benchmarks memory --device cuda`.",
    )


def _fits(asked: Asked, variant: str, residence: str, budget_gb: int) -> str:
    try:
        told = apart("benchmarks.memory", "fit", str(asked.device), variant, residence, str(budget_gb))
    except SystemExit as error:
        return "does not fit" if "OutOfMemory" in str(error) else "failed"
    return f"{told['peak'] / 1e9:.2f}, {told['seconds']:.1f} s"


def fit(device: str, variant: str, residence: Residence, budget_gb: str) -> dict[str, float]:
    """In a process of its own, within the budget: the peak and the seconds of a short job."""
    asked = Asked(torch.device(device))
    total = torch.cuda.get_device_properties(asked.device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1e9 * float(budget_gb) / total), asked.device)
    home = asked.device if residence == "full" else torch.device("cpu")
    pipeline = random_pipeline(variant, home, asked.dtype)
    pipeline.device = asked.device
    pipeline.reside(residence)
    begun = asked.now()
    with torch.no_grad():
        latents = pipeline(ellipse(), num_inference_steps=FIT_STEPS)
        tokens = pipeline.vae(latents / pipeline.vae.scale_factor)
        pipeline.vae.query_geometry(torch.zeros(1, 8000, 3, device=asked.device), tokens)
    return {"peak": float(peak_bytes(asked.device)), "seconds": asked.now() - begun}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.no_grad():
        print(json.dumps({"load": load, "fit": fit}[sys.argv[1]](*sys.argv[2:])))
