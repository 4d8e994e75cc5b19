"""What compiling brings, and costs: a job with and without, in one run, and starts with an empty and a filled cache."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator

import torch

from benchmarks.measuring import Asked, Table, apart, in_turns, ratio
from benchmarks.pictures import held_out
from benchmarks.published import EMBEDDED
from hy3dgen.runtime.compiled import deviation
from hy3dgen.runtime.warm_up import compile_networks
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline

STEPS, RESOLUTION = 50, 128


def tables(asked: Asked) -> Iterator[Table]:
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            apart("benchmarks.compiling", str(asked.device), TORCHINDUCTOR_CACHE_DIR=folder) for _ in range(2)
        ]
    first, again = runs
    rows = tuple(
        (stage, f"{again[stage][0]:.3f}", f"{again[stage][1]:.3f}", ratio(*again[stage]))
        for stage in ("denoise", "decode")
    )
    yield Table(
        f"Compiling, embedded model, {STEPS} steps, octree {RESOLUTION}, {asked.device.type}",
        ("", f"eager, {asked.unit}", f"compiled, {asked.unit}", "ratio"),
        rows,
        f"Compiled ahead in {first['start_s']:.0f} s with an empty cache, {again['start_s']:.0f} s with a filled one "
        f"(wall, on a busy machine; {first['start_cpu_s']:.0f} and {again['start_cpu_s']:.0f} CPU s). "
        f"Latents differ by {again['off']:.1g}, relative.",
    )


def compare(asked: Asked) -> dict[str, object]:
    """In a process of its own: both ways of one job, and what compiling took."""
    plain, fast = (
        Hunyuan3DDiTFlowMatchingPipeline.from_single_file(EMBEDDED, asked.device)[0] for _ in range(2)
    )
    begun_s, begun_cpu_s = time.monotonic(), time.process_time()
    fast.model, is_compiled = compile_networks(fast.model)
    if not is_compiled:
        raise SystemExit("not everything compiled")
    told: dict[str, object] = {
        "start_s": time.monotonic() - begun_s,
        "start_cpu_s": time.process_time() - begun_cpu_s,
    }
    picture = held_out(1)[0]

    def denoised(pipeline: Hunyuan3DDiTFlowMatchingPipeline) -> torch.Tensor:
        return pipeline(picture, num_inference_steps=STEPS, generator=torch.Generator().manual_seed(0))

    told["denoise"] = in_turns(asked, lambda: denoised(plain), lambda: denoised(fast))
    latents = denoised(plain)
    told["off"] = deviation(denoised(fast), latents)
    with torch.no_grad():
        tokens = plain.vae(latents / plain.vae.scale_factor)
    told["decode"] = in_turns(
        asked,
        lambda: plain.vae.latents2mesh(tokens, octree_resolution=RESOLUTION),
        lambda: fast.vae.latents2mesh(tokens, octree_resolution=RESOLUTION),
    )
    return told


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(compare(Asked(torch.device(sys.argv[1])))))
