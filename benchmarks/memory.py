"""The most memory while loading and while working, with everything on the device or only what is needed.

On a CPU: what loading adds to a process, and how much of all weights is there at once. On a GPU: peaks of a whole job
within budgets that the allocator enforces.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import torch
from torch import nn

from benchmarks.job import KnownBody
from benchmarks.measuring import NOT_MEASURED, Asked, Row, Table, apart, forget_peak, peak_bytes, timed
from benchmarks.pictures import ellipse
from benchmarks.published import random_pipeline, write_random_file
from hy3dgen.models import weights_of
from hy3dgen.runtime.out_of_memory import OnLowered, free_memory
from hy3dgen.shapegen import GpuOutOfMemory, Hunyuan3DDiTFlowMatchingPipeline
from hy3dgen.weights.offload import Residence

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
        pipeline.model.execution.load(network)
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
        told = _fitted(asked, variant, residence) if asked.is_gpu else [NOT_MEASURED] * len(BUDGETS_GB)
        rows.append((variant, residence, *told))
    return Table(
        "A job within a card's memory: peak in GB, seconds",
        ("", "memory", *(f"{budget} GB" for budget in BUDGETS_GB)),
        tuple(rows),
        f"{FIT_STEPS} steps, octree {FIT_RESOLUTION}, with first calls. Budgets are enforced by PyTorch's allocator, "
        "which does not count the card's own context. With a GPU: `python -m benchmarks memory --device cuda`.",
    )


def _fitted(asked: Asked, variant: str, residence: str) -> list[str]:
    try:
        told = apart("benchmarks.memory", "fit", str(asked.device), variant, residence)
    except SystemExit as error:
        print(error, file=sys.stderr)
        return ["failed"] * len(BUDGETS_GB)
    return [told[str(budget)] for budget in BUDGETS_GB]


def fit(device: str, variant: str, residence: Residence) -> dict[str, str]:
    """In a process of its own, a short job within each budget, the largest first: the peak and its seconds."""
    asked = Asked(torch.device(device))
    home = asked.device if residence == "full" else torch.device("cpu")
    model = random_pipeline(variant, home, asked.dtype).model
    pipeline = Hunyuan3DDiTFlowMatchingPipeline(replace(model, device=asked.device).resident(residence))
    with KnownBody(pipeline.vae, pipeline.device):
        return {str(budget): _within(asked, pipeline, budget) for budget in reversed(BUDGETS_GB)}


def _within(asked: Asked, pipeline: Hunyuan3DDiTFlowMatchingPipeline, budget_gb: int) -> str:
    free_memory()
    forget_peak(asked.device)
    total = torch.cuda.get_device_properties(asked.device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1e9 * budget_gb / total), asked.device)
    lowered: list[str] = []
    try:
        seconds, _ = timed(asked, lambda: _short_job(pipeline, lowered.append))
    except (torch.OutOfMemoryError, GpuOutOfMemory):
        return "does not fit"
    return ", ".join([f"{peak_bytes(asked.device) / 1e9:.2f}", f"{seconds:.1f} s", *lowered])


def _short_job(pipeline: Hunyuan3DDiTFlowMatchingPipeline, on_lowered: OnLowered) -> None:
    latents = pipeline(ellipse(), num_inference_steps=FIT_STEPS, on_lowered=on_lowered)
    tokens = pipeline.vae(latents / pipeline.vae.scale_factor)
    pipeline.vae.latents2mesh(tokens, octree_resolution=FIT_RESOLUTION, on_lowered=on_lowered)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with torch.no_grad():
        print(json.dumps({"load": load, "fit": fit}[sys.argv[1]](*sys.argv[2:])))
