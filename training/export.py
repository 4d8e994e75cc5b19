"""The trained networks as one published-layout file: `python -m training.export [--stages further]`.

Writes models/tiny/tiny.safetensors (float16, its config in the header) and, after the first five stages, the encoder
beside it: nobody needs it to make meshes, but the reconstruction number of the evaluation does. `further` keeps the
encoder, and so the scale factor, of the file that it began at.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from hy3dgen.families.hunyuan3d_2 import published_state
from hy3dgen.families.variants import BORDER_RATIO, EMBEDDED_MODELS
from training.data import IMAGE_PX, load
from training.evaluate import ENCODER, MODEL
from training.networks import CONDITIONER, NUM_LATENTS, VAE, GridEncoder
from training.pace import averaged_weights
from training.train_denoiser import PATH as DENOISER_PATH
from training.train_denoiser import LatentTargets, averaged_stages
from training.train_further import PATH as FURTHER_PATH
from training.train_further import shipped_networks
from training.train_sampler import PATHS as SAMPLER_PATHS
from training.train_vae import load_vae

STAGES = {"denoiser": DENOISER_PATH, **SAMPLER_PATHS}
DEFAULT_STAGES = ("denoiser", "branches")
FURTHER = "further"
KEPT_SHARE = 0.3
"""Of the file that further training began at: its mean with the result is better on every set than either."""
GUIDANCE_SCALE = 2.0
"""What the model is asked with unless a caller wishes otherwise: measured best, see its card."""


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
        "default_guidance": GUIDANCE_SCALE,
        "model_id": EMBEDDED_MODELS[-1],
    }


def write_model(networks: dict[str, nn.Module], scale_factor: float, path: Path) -> None:
    """The single file, every tensor float16."""
    state = published_state(networks["dit"], networks["vae"], networks["conditioner"])
    tensors = {name: tensor.half().contiguous() for name, tensor in state.items()}
    save_file(tensors, path, metadata={"format": "pt", "config": json.dumps(header_config(scale_factor))})


def write_encoder(encoder: GridEncoder, path: Path) -> None:
    """The encoder alone, float16."""
    save_file({name: tensor.half().contiguous() for name, tensor in encoder.state_dict().items()}, path)


def write_stages(stages: Sequence[str], model: Path) -> None:
    """The mean of several finished stages, and the encoder."""
    encoder, _ = load_vae()
    scale_factor = LatentTargets.make(load(("grid",))).scale_factor
    write_model(averaged_stages([STAGES[stage] for stage in stages]), scale_factor, model)
    write_encoder(encoder, ENCODER)


def write_further(model: Path, kept_share: float) -> None:
    """The weighted mean of the shipped file, `kept_share` of it, and what further training made of it."""
    networks, scale_factor = shipped_networks()
    for name, weights in averaged_weights(FURTHER_PATH).items():
        kept = networks[name].state_dict()
        networks[name].load_state_dict(
            {key: value.lerp(kept[key], kept_share) for key, value in weights.items()}
        )
    write_model(networks, scale_factor, model)


def main() -> None:
    """Writes the file from the last finished stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stages", nargs="+", choices=[*sorted(STAGES), FURTHER], default=DEFAULT_STAGES)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--kept-share", type=float, default=KEPT_SHARE, help="of the shipped file's weights")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if FURTHER in options.stages:
        write_further(options.model, options.kept_share)
    else:
        write_stages(options.stages, options.model)
    print(f"{options.model}: {options.model.stat().st_size / 1e6:.2f} MB, from {options.stages}")


if __name__ == "__main__":
    main()
