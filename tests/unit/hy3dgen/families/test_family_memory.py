"""Opening a model costs about the memory of the weights that stay, converted or not."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from parity.parity_case import DATA
from safetensors.torch import save_file
from support.published_layouts import copied

from hy3dgen.families.published_names import rename
from hy3dgen.families.triposg import DENOISER
from hy3dgen.networks.skip_dit import SkipDiT, SkipDiTConfig
from hy3dgen.weights.assign import published_tensors

OPEN = """
import sys
import torch
from pathlib import Path
from hy3dgen.models import open_model
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
open_model(sys.argv[2], device="cpu", dtype=torch.float32)  # what a first call brings in is not counted
before = peak()
model = open_model(sys.argv[1], device="cpu", dtype=getattr(torch, sys.argv[3]))
dit = model.family.dit
total = sum(one.sum().item() for one in dit.parameters())  # touches every page
print(peak() - before, sum(one.nbytes for one in dit.parameters()))
"""


@pytest.fixture(scope="module")
def large_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parity folder with a denoiser of about 200 MB in float32."""
    path = copied(DATA / "triposg", tmp_path_factory.mktemp("large") / "model")
    config = SkipDiTConfig(
        width=768,
        latent_channels=16,
        context_width=48,
        num_blocks=5,
        num_heads=6,
        mlp_hidden=3072,
        norm_eps=1e-5,
    )
    tensors = published_tensors(SkipDiT(config), partial(rename, "", DENOISER))
    file = path / "transformer" / "diffusion_pytorch_model.safetensors"
    save_file({name: one.contiguous() for name, one in tensors.items()}, file)
    assert file.stat().st_size > 190_000_000
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from Linux")
@pytest.mark.parametrize(
    ("dtype", "share"),
    # Unconverted, the file's own pages serve, and beside them lie the matrices that are several tensors in the file.
    [("float32", 1.4), ("bfloat16", 1.4)],
)
def test_the_peak_of_memory_is_about_what_stays(large_folder: Path, dtype: str, share: float) -> None:
    run = subprocess.run(
        [sys.executable, "-c", OPEN, str(large_folder), str(DATA / "triposg"), dtype],
        check=True,
        capture_output=True,
        text=True,
        cwd=DATA.parents[2],
    )
    peak, stays = map(int, run.stdout.split())
    assert peak < share * stays
