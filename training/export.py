"""Stage 5: the trained networks as one published-layout file. `python -m training.export`.

Writes models/tiny/tiny.safetensors (float16, its config in the header) and, beside it, the encoder: nobody needs
it to make meshes, but the reconstruction number of the evaluation does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from hy3dgen.families.hunyuan3d_2 import published_state
from hy3dgen.families.variants import BORDER_RATIO
from training.data import IMAGE_PX, load
from training.evaluate import ENCODER, MODEL
from training.networks import CONDITIONER, NUM_LATENTS, VAE, GridEncoder
from training.train_denoiser import PATH as DENOISER_PATH
from training.train_denoiser import LatentTargets, averaged_stages
from training.train_sampler import PATHS as SAMPLER_PATHS
from training.train_vae import load_vae

STAGES = {"denoiser": DENOISER_PATH, **SAMPLER_PATHS}
DEFAULT_STAGES = ("denoiser", "branches")


def header_config(scale_factor: float) -> dict[str, object]:
    """What no tensor shape tells, under the names the loader knows."""
    return {
        "num_latents": NUM_LATENTS,
        "scale_factor": scale_factor,
        "image_encoder_heads": CONDITIONER.num_heads,
        "image_encoder_px": IMAGE_PX,
        "image_px": 512,
        "border_ratio": BORDER_RATIO,
        "schedule": "flow",
        "consistency_timesteps": None,
        "default_steps": 10,
        "vae_heads": VAE.num_heads,
        "model_id": "ai-engine-tiny",
    }


def write_model(networks: dict[str, nn.Module], scale_factor: float, path: Path) -> None:
    """The single file, every tensor float16."""
    state = published_state(networks["dit"], networks["vae"], networks["conditioner"])
    tensors = {name: tensor.half().contiguous() for name, tensor in state.items()}
    save_file(tensors, path, metadata={"format": "pt", "config": json.dumps(header_config(scale_factor))})


def write_encoder(encoder: GridEncoder, path: Path) -> None:
    """The encoder alone, float16."""
    save_file({name: tensor.half().contiguous() for name, tensor in encoder.state_dict().items()}, path)


def main() -> None:
    """Writes both files from the last finished stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", nargs="+", choices=sorted(STAGES), default=DEFAULT_STAGES)
    parser.add_argument("--model", type=Path, default=MODEL)
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder, _ = load_vae()
    scale_factor = LatentTargets.make(load(("grid",))).scale_factor
    networks = averaged_stages([STAGES[stage] for stage in options.stages])
    write_model(networks, scale_factor, options.model)
    write_encoder(encoder, ENCODER)
    size_mb = options.model.stat().st_size / 1e6
    print(f"{options.model}: {size_mb:.2f} MB, scale factor {scale_factor:.4f}, the mean of {options.stages}")


if __name__ == "__main__":
    main()
