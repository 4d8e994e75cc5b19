"""The first hour on a card, step by step: `python -m benchmarks.card threads|bytes|kernels|calls|shortage`.

Each step measures what decides one question of docs/gpu.md, beside what was reckoned before. `benchmarks.gpu` runs them
in their order and puts them in one table. They run on a CPU too, with `--variant tiny`, to show that they run.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile

from ai_engine.job import JobOptions
from ai_engine.pipeline.shape_model import ShapeModel
from ai_engine.settings import Settings
from ai_engine.stage import Stage
from benchmarks.job import KnownBody
from benchmarks.measuring import Asked, Row, Table, machine, timed, write_json
from benchmarks.pictures import ellipse
from benchmarks.predictions import DECIDING, HEADER, card_column
from benchmarks.published import EMBEDDED, write_random_file
from hy3dgen.field.decode_options import DecodeOptions
from hy3dgen.field.field_query import cells_that_fit
from hy3dgen.field.marching_cubes import extract_surface
from hy3dgen.field.octree import decode_field
from hy3dgen.models import open_model, weights_of
from hy3dgen.runtime.compiled import deviation
from hy3dgen.runtime.out_of_memory import free_memory
from hy3dgen.runtime.warm_up import fit_to_card, sample_shapes
from hy3dgen.weights.offload import Residence
from tests.support.fields import BOX, LEVEL, field_of

JOBS, STEPS = 12, 4
CALLS = (2048, 8000, 32_000, 128_000)
BUDGETS_GB = (6, 8, 10, 12)
RESIDENCES: tuple[Residence, ...] = ("full", "low", "minimal")
MEGABYTE = 2**20


def threads(asked: Asked, path: Path) -> Iterator[Row]:
    """Step 2: twelve jobs on the device's thread; graphs are recorded while warming up, and never again."""
    settings = _settings(asked, path, compile="1" if asked.is_gpu else "0")
    recorded: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: recorded.append(record.getMessage())  # type: ignore[method-assign]
    graphs = logging.getLogger("torch._inductor.cudagraph_trees")
    graphs.addHandler(handler)
    graphs.setLevel(logging.DEBUG)
    model = ShapeModel.load(settings).make_ready(settings)
    before = _recordings(recorded)
    seconds, reserved = [], []
    for seed in range(JOBS):
        seconds.append(timed(asked, lambda seed=seed: _job(model, seed))[0])
        reserved.append(torch.cuda.memory_reserved(asked.device) / MEGABYTE if asked.is_gpu else 0.0)
    yield (
        "2 H1",
        "graphs recorded in warm-up, in jobs",
        "some, 0",
        f"{before}, {_recordings(recorded) - before}",
    )
    yield "2 H1", "reserved after jobs 2 and 12, MB", "equal", f"{reserved[1]:.0f}, {reserved[-1]:.0f}"
    yield (
        "2 H1",
        "first job, median of the others, s",
        "equal",
        f"{seconds[0]:.2f}, {np.median(seconds[1:]):.2f}",
    )


def _recordings(lines: list[str]) -> int:
    return sum("Recording" in line for line in lines)


def bytes_held(asked: Asked, path: Path) -> Iterator[Row]:
    """Step 3: what the weights take on the card."""
    model = open_model(path, device=asked.device, dtype=asked.dtype)
    kept = {
        one.untyped_storage().data_ptr(): one.untyped_storage().nbytes()
        for network in model.family.networks
        for one in network.parameters()
    }
    allocated = torch.cuda.memory_allocated(asked.device) if asked.is_gpu else sum(kept.values())
    total = weights_of(path, asked.dtype).total
    yield "3 H2", "allocated after loading, GB", f"{total / 1e9:.2f}", f"{allocated / 1e9:.2f}"


def kernels(asked: Asked, path: Path) -> Iterator[Row]:
    """Step 4: kernels of a call of the denoiser, kernels chosen, seconds of a step."""
    model = open_model(path, device=asked.device, dtype=asked.dtype)
    if asked.is_gpu:
        model = fit_to_card(model)
    shapes, dit = sample_shapes(model), model.family.dit
    latents = model.noise(torch.Generator().manual_seed(0))
    rows = dit.modulations(torch.full((1,), 0.5, device=asked.device))
    column = card_column(machine(asked.device))
    for side, count, copies in (("seen", shapes.num_context, 1), ("blank", 1, shapes.num_context)):
        context = dit.context_in(
            torch.randn(1, count, dit.config.context_width).to(asked.device, asked.dtype)
        )
        with torch.no_grad():
            dit.velocity(latents, context, rows, copies)
            seconds, _ = timed(asked, lambda c=context, n=copies: dit.velocity(latents, c, rows, n))
            count_of = _num_kernels(asked, lambda c=context, n=copies: dit.velocity(latents, c, rows, n))
        yield (
            "4",
            f"kernels, ms of a call, {side}",
            DECIDING["kernels"][side],
            f"{count_of}, {1e3 * seconds:.1f}",
        )
    found = f"{model.execution.attention}, {getattr(dit, 'merge_by', None)}"
    yield "4", "attention with and without a picture", "cudnn on Hopper and later, else flash", found
    yield "4", "a step, ms", f"{DECIDING['step_ms'][column]}", "the two calls above"


def _num_kernels(asked: Asked, call: Callable[[], object]) -> int:
    activities = [ProfilerActivity.CUDA] if asked.is_gpu else [ProfilerActivity.CPU]
    with profile(activities=activities) as profiled:
        call()
        if asked.is_gpu:
            torch.cuda.synchronize(asked.device)
    return sum(event.count for event in profiled.key_averages())


def calls(asked: Asked, path: Path) -> Iterator[Row]:
    """Step 6: a decode of a known body, points a second by the size of a call, and whether sizes round alike."""
    model = open_model(path, device=asked.device, dtype=asked.dtype)
    body = field_of("solid").to(asked.device)
    column = card_column(machine(asked.device))
    for resolution in (asked.resolution,) if asked.resolution else (256, 512):

        def decode(resolution: int = resolution) -> int:
            field = decode_field(
                body, BOX, resolution, iso=LEVEL, device=asked.device, options=DecodeOptions()
            )
            extract_surface(field, cells_that_fit(asked.device))
            return field.report.num_calls

        decode()
        seconds, num_calls = timed(asked, decode)
        reckoned = DECIDING["glue_ms"].get(resolution, "-")
        what = f"glue of a decode at {resolution}, ms ({num_calls} calls)"
        yield "6 M12", what, str(reckoned), f"{1e3 * seconds:.0f}"
    tokens = torch.randn(1, model.family.num_latents, model.family.vae.config.width)
    field = model.family.vae.field(tokens.to(asked.device, asked.dtype))
    points = torch.rand(max(CALLS), 3, device=asked.device) * 2 - 1
    with torch.no_grad():
        logits = {}
        for size in CALLS:
            field(points[:size])
            seconds, logits[size] = timed(asked, lambda size=size: field(points[:size]))
            yield "6", f"million points a second, {size} a call", "-", f"{size / seconds / 1e6:.2f}"
    off = deviation(logits[8000][:2048], logits[2048])
    yield "6 L1", "2048 and 8000 points a call: largest difference", "0 or rounding", f"{off:.1e}"
    yield "6", "decode at 256 with the network, s", f"{DECIDING['decode_s'][column]}", "see the job's table"


def shortage(asked: Asked, path: Path) -> Iterator[Row]:
    """Step 7: which budgets end as gpu_out_of_memory; on a CPU one job without a budget."""
    if not asked.is_gpu:
        yield "7 H3", "a job without a budget", "fits", _outcome(_settings(asked, path, compile="0"))
        return
    whole = torch.cuda.get_device_properties(asked.device).total_memory
    for budget, residence, compiled in product(BUDGETS_GB, RESIDENCES, ("0", "1")):
        if compiled == "1" and residence != "full":
            continue
        torch.cuda.set_per_process_memory_fraction(budget * 1e9 / whole, asked.device)
        settings = _settings(asked, path, compile=compiled, memory=residence)
        name = f"{budget} GB, memory {residence}, COMPILE={compiled}"
        yield "7 H3", name, DECIDING["fits"].get((budget, residence), "fits"), _outcome(settings)
        free_memory()


def _outcome(settings: Settings) -> str:
    try:
        shape = _job(ShapeModel.load(settings).make_ready(settings), seed=0)
    except Exception as error:  # what ends a start or a job is what is asked
        return f"{getattr(error, 'code', type(error).__name__)}"
    return f"fits{'; ' if shape.degraded else ''}{', '.join(shape.degraded)}"


def _job(model: ShapeModel, seed: int) -> Any:
    options = JobOptions(seed=seed, num_inference_steps=STEPS, octree_resolution=64)
    with KnownBody(model.model.family.vae, model.device):
        return model.generate(_picture(), options, _ignore)


def _picture() -> NDArray[np.uint8]:
    return np.asarray(ellipse())


def _ignore(stage: Stage, done: int, total: int) -> None:
    pass


def _settings(asked: Asked, path: Path, **changes: Any) -> Settings:
    place = {
        "model_path": path,
        "device": asked.device.type,
        "data_dir": Path(tempfile.gettempdir()) / "card",
    }
    return Settings().model_copy(update=place | changes)


STEPS_IN_ORDER = {
    "threads": threads,
    "bytes": bytes_held,
    "kernels": kernels,
    "calls": calls,
    "shortage": shortage,
}


def table_of(step: str, asked: Asked, path: Path) -> Table:
    return Table(f"First hour: {step}", HEADER, tuple(STEPS_IN_ORDER[step](asked, path)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.card", description=__doc__)
    parser.add_argument("step", choices=STEPS_IN_ORDER)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--variant", default="v2-0", help="a published name, or tiny")
    parser.add_argument("--resolution", type=int, help="of step calls alone")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    asked = Asked(torch.device(options.device), options.variant, resolution=options.resolution)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = EMBEDDED
        if options.variant != "tiny":
            path = Path(folder) / f"hunyuan3d-dit-{options.variant}.safetensors"
            write_random_file(path, options.variant)
        table = table_of(options.step, asked, path)
    print(table)
    if options.json:
        section = {"name": options.step, "tables": [asdict(table)]}
        write_json(options.json, {"machine": machine(asked.device), "sections": [section]})


if __name__ == "__main__":
    main()
