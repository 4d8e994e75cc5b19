"""Loading a checkpoint costs about the file's size in memory, once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch
from parity.parity_case import DATA
from safetensors.torch import load_file, save_file

from hy3dgen.families.hunyuan3d_2 import published_state
from hy3dgen.models import open_model
from hy3dgen.networks.stream_dit import DiT, DiTConfig

LOAD = """
import resource, sys, json
import torch
from pathlib import Path
from hy3dgen.models import open_model
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
model = open_model(sys.argv[1], device=torch.device("cpu"), dtype=torch.float32,
                         overrides=json.loads(sys.argv[2]))
total = sum(p.sum().item() for p in model.family.dit.parameters())  # touches every page
print(peak() - before)
"""


def large_checkpoint(path: Path, overrides: dict[str, object]) -> int:
    """Writes the parity checkpoint with a denoiser of about 200 MB; its size in bytes."""
    small = open_model(
        DATA / "checkpoint.safetensors", device=torch.device("cpu"), dtype=torch.float32, overrides=overrides
    )
    dit = DiT(DiTConfig(768, 16, 48, 2, 4, 12, 4.0, True, False))
    save_file(published_state(dit, small.family.vae, small.family.conditioner), path)
    return path.stat().st_size


def test_the_peak_of_memory_is_about_the_size_of_the_file(tmp_path: Path) -> None:
    overrides = json.loads((DATA / "overrides.json").read_text())["checkpoint"]
    path = tmp_path / "large.safetensors"
    size = large_checkpoint(path, overrides)
    assert size > 150_000_000
    assert len(load_file(path)) > 100
    run = subprocess.run(
        [sys.executable, "-c", LOAD, str(path), json.dumps(overrides)],
        check=True,
        capture_output=True,
        text=True,
        cwd=DATA.parents[2],
    )
    assert int(run.stdout) < 1.25 * size
