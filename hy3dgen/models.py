"""One door to every published shape model: files -> family -> loaded model.

model = open_model("models/TripoSG", device="cuda", dtype=torch.float16)
tokens = model.tokens(model.sample(cut_out))
mesh, report = model.decode(tokens, resolution=384)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from hy3dgen.errors import CheckpointError
from hy3dgen.families import hunyuan3d_2, hunyuan3d_21, step1x_3d, triposg
from hy3dgen.families.card import Card
from hy3dgen.families.family import Family, LoadedFamily
from hy3dgen.shape_model import ShapeModel
from hy3dgen.weights.offload import Residence, Weights
from hy3dgen.weights.published_files import PublishedFiles, open_published
from hy3dgen.weights.tensor_file import OnLoaded

FAMILIES: tuple[Family, ...] = (hunyuan3d_2.FAMILY, hunyuan3d_21.FAMILY, triposg.FAMILY, step1x_3d.FAMILY)


def open_model(
    path: str | Path,
    *,
    device: str | torch.device,
    dtype: torch.dtype,
    overrides: Mapping[str, Any] | None = None,
    variant: str | None = None,
    vae_path: str | Path | None = None,
    residence: Residence = "full",
    on_loaded: OnLoaded | None = None,
) -> ShapeModel:
    """The model of the file or folder at `path`, in a published layout, on `device`.

    `overrides` sets what neither tensors nor JSON files say (num_latents, ...); `variant` names the published model
    where one family has several and the path does not say which. `vae_path` takes the ShapeVAE from a separate
    Hunyuan3D-2 file. `residence` says how much of the weights is on `device` at a time: all, one network, one layer.
    `on_loaded` hears which share of the weights, 0 to 1, has been read.

    Raises:
        CheckpointError: nothing there, damaged, of no known family, incomplete, or tensors that do not fit.
    """
    device, path = torch.device(device), Path(path)
    home = device if residence == "full" else torch.device("cpu")
    with open_published(path, home) as files:
        loaded = family_of(files).load(files, dtype, _with_variant(overrides, variant), on_loaded)
    if vae_path is not None:
        vae = hunyuan3d_2.load_vae(vae_path, device=home, dtype=dtype, scale_factor=loaded.vae.scale_factor)
        loaded = replace(loaded, vae=vae)
    return ShapeModel(loaded, device, dtype).resident(residence)


def weights_of(path: str | Path, dtype: torch.dtype, variant: str | None = None) -> Weights:
    """How large a model's networks are in numbers of `dtype`, read off names and shapes alone.

    Raises:
        CheckpointError: as `open_model`, but for tensors that are missing.
    """
    model = _build_unloaded(path, variant)
    sizes = (sum(one.numel() for one in network.parameters()) for network in model.networks)
    conditioner, dit, vae = (dtype.itemsize * size for size in sizes)
    return Weights(conditioner=conditioner, dit=dit, vae=vae)


def card_of(path: str | Path, variant: str | None = None) -> Card:
    """What a model's card says, read off names and shapes alone.

    Raises:
        CheckpointError: as `open_model`, but for tensors that are missing.
    """
    return _build_unloaded(path, variant).card


def _build_unloaded(path: str | Path, variant: str | None) -> LoadedFamily:
    """The model on the meta device: names and shapes without weights."""
    with open_published(Path(path), torch.device("cpu")) as files:
        return family_of(files).build(files, _with_variant(None, variant)).model


def family_of(files: PublishedFiles) -> Family:
    """The family whose tensors the files hold.

    Raises:
        CheckpointError: of no known one; the message names what was found.
    """
    found = next((family for family in FAMILIES if family.recognises(files.shapes)), None)
    if found is not None:
        return found
    if "post_kl.weight" in files.shapes:
        raise CheckpointError(
            f"{files.path.name} is a separate ShapeVAE file: give it as vae_path beside a full checkpoint"
        )
    known, names = ", ".join(family.name for family in FAMILIES), sorted(files.shapes)[:3]
    raise CheckpointError(
        f"{files.path.name} is of no known family ({known}); it begins with {', '.join(names) or 'no tensor'}"
    )


def _with_variant(overrides: Mapping[str, Any] | None, variant: str | None) -> dict[str, Any]:
    return dict(overrides or {}) | ({} if variant is None else {"variant": variant})
