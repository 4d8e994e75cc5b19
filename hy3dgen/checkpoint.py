"""A weights file -> strictly loaded networks. Knows file layouts and names, nothing of sampling.

The file is opened lazily, the networks are built on the meta device, and every tensor is read once and assigned:
the peak of memory is about the size of the weights. Nothing is forgiven: each published name is used, none is
missing, every shape fits. Layout and rules: spec a.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from hy3dgen.conditioner import Conditioner
from hy3dgen.config import VARIANTS, ModelConfig, Settings, variant_settings
from hy3dgen.dit import DiT
from hy3dgen.errors import CheckpointError
from hy3dgen.published_names import published_name
from hy3dgen.read_config import conditioner_config, dit_config, vae_config
from hy3dgen.residence import Weights
from hy3dgen.shape_vae import ShapeVAE

PARTS = ("model", "vae", "conditioner")
# The VAE's encoder side is not needed to make meshes; published files come with and without it.
OPTIONAL_PREFIXES = ("vae.encoder.", "vae.pre_kl.")
MARKS_OF_2_1 = ("model.x_embedder.weight", "model.t_embedder.mlp.2.weight")
MAX_NAMES_SHOWN = 5

Shapes = Mapping[str, tuple[int, ...]]
OnLoaded = Callable[[float], None]
"""Hears which share of the weights, 0 to 1, has been read."""


class TensorFile(Protocol):
    """An opened weights file."""

    shapes: Shapes
    header: Mapping[str, str]

    def read(self, name: str) -> Tensor:
        """The tensor called `name`."""


@dataclass(frozen=True)
class Networks:
    """The three networks of a checkpoint, on one device, in eval mode, and what they are."""

    config: ModelConfig
    dit: DiT
    vae: ShapeVAE
    conditioner: Conditioner


def load_networks(
    path: str | Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    use_safetensors: bool = True,
    variant: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    on_loaded: OnLoaded | None = None,
) -> Networks:
    """The networks of a single-file checkpoint. `on_loaded` hears of each tensor.

    What tensor shapes do not tell comes from, in this order: the published values for this size, the file's own
    `config` header, the variant named in the path, `variant`, `overrides`.

    Raises:
        CheckpointError: no such file, damaged, of another model, incomplete, or tensors that do not fit.
    """
    path = Path(path)
    with open_weights(path, device, use_safetensors=use_safetensors) as file:
        _check_layout(path, file.shapes)
        settings = read_settings(path, file, variant, dict(overrides or {}))
        config = ModelConfig(
            dit=dit_config(file.shapes),
            vae=vae_config(file.shapes, settings.vae_heads),
            conditioner=conditioner_config(file.shapes, settings),
            settings=settings,
        )
        networks = build_networks(config)
        _refuse_unused(path, file.shapes, networks)
        told = file if on_loaded is None else _Told(file, on_loaded)
        for part, network in _parts(networks):
            assign_weights(path, told, part, network, dtype)
    return networks


def load_vae(
    path: str | Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    scale_factor: float,
    num_heads: int | None = None,
) -> ShapeVAE:
    """The ShapeVAE of a separate VAE file (no prefixes), normal or turbo geometry decoder.

    Raises:
        CheckpointError: as `load_networks`.
    """
    path = Path(path)
    with open_weights(path, device, use_safetensors=True) as bare:
        file = _Prefixed(bare, "vae.")
        if "vae.post_kl.weight" not in file.shapes:
            raise CheckpointError(f"{path.name} is no separate ShapeVAE file: it has no post_kl.weight")
        with torch.device("meta"):
            vae = ShapeVAE(vae_config(file.shapes, num_heads), scale_factor)
        _refuse_names(path, set(file.shapes) - set(_wanted_shapes("vae", vae)))
        assign_weights(path, file, "vae", vae, dtype)
    return vae.eval().requires_grad_(False)


def weights_of(path: str | Path, dtype: torch.dtype) -> Weights:
    """How large a single file's networks are in numbers of `dtype`, read off its header.

    Raises:
        CheckpointError: missing, damaged, or of another layout.
    """
    path = Path(path)
    with open_weights(path, torch.device("cpu"), use_safetensors=True) as file:
        _check_layout(path, file.shapes)
        bytes_of = dict.fromkeys(PARTS, 0)
        for name, shape in file.shapes.items():
            if not name.startswith(OPTIONAL_PREFIXES):
                bytes_of[name.split(".", 1)[0]] += math.prod(shape) * dtype.itemsize
    return Weights(bytes_of["conditioner"], dit=bytes_of["model"], vae=bytes_of["vae"])


def build_networks(config: ModelConfig) -> Networks:
    """The networks of `config` on the meta device: names and shapes without weights."""
    with torch.device("meta"):
        dit, vae = DiT(config.dit), ShapeVAE(config.vae, config.settings.scale_factor)
        conditioner = Conditioner(config.conditioner)
    for network in (dit, vae, conditioner):
        network.eval().requires_grad_(False)
    return Networks(config, dit, vae, conditioner)


def published_shapes(networks: Networks) -> dict[str, tuple[int, ...]]:
    """Every published name that `networks` are made of, with its shape."""
    wanted: dict[str, tuple[int, ...]] = {}
    for part, network in _parts(networks):
        wanted |= _wanted_shapes(part, network)
    return wanted


def published_state(dit: nn.Module, vae: nn.Module, conditioner: nn.Module) -> dict[str, Tensor]:
    """The weights under their published names, as a single file holds them."""
    state: dict[str, list[Tensor]] = {}
    for part, network in zip(PARTS, (dit, vae, conditioner), strict=True):
        for name, tensor in network.state_dict().items():
            state.setdefault(published_name(part, name).name, []).append(tensor.detach())
    return {name: torch.cat(halves) if len(halves) > 1 else halves[0] for name, halves in state.items()}


def read_settings(path: Path, file: TensorFile, variant: str | None, overrides: dict[str, Any]) -> Settings:
    """What no shape tells, from all sources; the later source wins.

    Raises:
        CheckpointError: unknown names or values, or a variant that contradicts the tensors.
    """
    is_mini = "model.single_blocks.16.linear1.weight" not in file.shapes
    settings = VARIANTS["v2-mini" if is_mini else "v2-0"].updated({"model_id": path.stem}, origin="shapes")
    named = variant or variant_in_path(path)
    if named is not None:
        settings = variant_settings(named)
        _check_variant(named, settings, file.shapes, is_mini)
    if "config" in file.header and variant is None:
        settings = settings.updated(
            _header_config(path, file.header["config"]), origin=f"header of {path.name}"
        )
    return settings.updated(overrides, origin="overrides")


def variant_in_path(path: Path) -> str | None:
    """The published variant that a file or folder on `path` is named after, if any; the longest name wins."""
    for text in (path.stem.lower(), path.parent.name.lower()):
        found = [name for name in VARIANTS if re.search(rf"hunyuan3d-dit-{name}(?![a-z0-9-])", text)]
        if found:
            return max(found, key=len)
    return None


@contextmanager
def open_weights(path: Path, device: torch.device, *, use_safetensors: bool) -> Iterator[TensorFile]:
    """The file, opened lazily; tensors are read straight to `device`.

    Raises:
        CheckpointError: missing, damaged, or not of the asked kind.
    """
    if not path.is_file():
        raise CheckpointError(
            f"no weights at {path}: fetch or mount them there, or point MODEL_PATH elsewhere"
        )
    if not use_safetensors:
        yield _read_pickle(path, device)
        return
    try:
        with safe_open(path, framework="pt", device=str(device)) as handle:
            yield _SafeTensors(handle)
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is damaged or no safetensors file: {error}") from error


def assign_weights(path: Path, file: TensorFile, part: str, network: nn.Module, dtype: torch.dtype) -> None:
    """Gives `network` its weights, strictly, each read once.

    Raises:
        CheckpointError: names missing, or shapes that disagree, both named.
    """
    wanted = _wanted_shapes(part, network)
    missing = sorted(set(wanted) - set(file.shapes))
    if missing:
        raise CheckpointError(f"{path.name} lacks {_sample(missing)}")
    wrong = [
        f"{name} is {list(file.shapes[name])}, wanted {list(shape)}"
        for name, shape in wanted.items()
        if tuple(file.shapes[name]) != shape
    ]
    if wrong:
        raise CheckpointError(f"{path.name} does not fit: {_sample(wrong)}")
    network.load_state_dict(_weights(file, part, network, dtype), strict=True, assign=True)
    network.requires_grad_(False)


@dataclass
class _SafeTensors:
    handle: Any

    def __post_init__(self) -> None:
        names = self.handle.keys()
        self.shapes: Shapes = {name: tuple(self.handle.get_slice(name).get_shape()) for name in names}
        self.header: Mapping[str, str] = self.handle.metadata() or {}

    def read(self, name: str) -> Tensor:
        tensor: Tensor = self.handle.get_tensor(name)
        return tensor


@dataclass
class _Loaded:
    """A table of tensors already in memory, as a pickled file gives it."""

    tensors: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        self.shapes: Shapes = {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}
        self.header: Mapping[str, str] = {}

    def read(self, name: str) -> Tensor:
        return self.tensors[name]


@dataclass
class _Prefixed:
    """A file seen as if every name began with `prefix`."""

    file: TensorFile
    prefix: str

    def __post_init__(self) -> None:
        self.shapes: Shapes = {self.prefix + name: shape for name, shape in self.file.shapes.items()}
        self.header = self.file.header

    def read(self, name: str) -> Tensor:
        return self.file.read(name.removeprefix(self.prefix))


@dataclass
class _Told:
    """A file that tells how much of it was read, all networks together."""

    file: TensorFile
    on_loaded: OnLoaded

    def __post_init__(self) -> None:
        self.shapes, self.header = self.file.shapes, self.file.header
        self._unread = {
            name: math.prod(shape)
            for name, shape in self.shapes.items()
            if not name.startswith(OPTIONAL_PREFIXES)
        }
        self._num_wanted, self._num_read = sum(self._unread.values()), 0

    def read(self, name: str) -> Tensor:
        tensor = self.file.read(name)
        self._num_read += self._unread.pop(name, 0)  # What holds two tensors of ours is read twice.
        self.on_loaded(self._num_read / self._num_wanted)
        return tensor


def _read_pickle(path: Path, device: torch.device) -> TensorFile:
    try:
        parts = torch.load(path, map_location=device, weights_only=True, mmap=True)
    except Exception as error:  # torch.load has no error type of its own
        raise CheckpointError(
            f"{path.name} can't be read as a pickled checkpoint: {type(error).__name__}"
        ) from error
    if not isinstance(parts, dict) or not all(isinstance(parts.get(part), dict) for part in PARTS):
        raise CheckpointError(f"{path.name} is no three-part checkpoint (model, vae, conditioner)")
    return _Loaded({f"{part}.{name}": tensor for part in PARTS for name, tensor in parts[part].items()})


def _check_layout(path: Path, shapes: Shapes) -> None:
    if all(mark in shapes for mark in MARKS_OF_2_1):
        raise CheckpointError(f"{path.name} is a Hunyuan3D 2.1 checkpoint; this program runs the 2.0 family")
    if "post_kl.weight" in shapes:
        raise CheckpointError(
            f"{path.name} is a separate ShapeVAE file: give it as vae_path beside a full checkpoint"
        )
    marks = {
        "model.": "model.latent_in.weight",
        "vae.": "vae.post_kl.weight",
        "conditioner.": "conditioner.main_image_encoder.model.embeddings.cls_token",
    }
    absent = [part for part, mark in marks.items() if mark not in shapes]
    if absent:
        raise CheckpointError(
            f"{path.name} is no Hunyuan3D 2.0 single file: nothing under {', '.join(absent)}"
        )


def _check_variant(name: str, settings: Settings, shapes: Shapes, is_mini: bool) -> None:
    is_distilled = name.endswith(("-fast", "-turbo"))
    has_guidance = "model.guidance_in.in_layer.weight" in shapes
    if is_distilled != has_guidance:
        found = "has" if has_guidance else "lacks"
        raise CheckpointError(f"variant {name} contradicts the file, which {found} guidance tensors")
    if ("mini" in name) != is_mini:
        raise CheckpointError(f"variant {name} contradicts the file's number of single blocks")


def _header_config(path: Path, text: str) -> dict[str, Any]:
    try:
        config = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"the config header of {path.name} is not JSON") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"the config header of {path.name} is not a JSON object")
    return config


def _parts(networks: Networks) -> Iterable[tuple[str, nn.Module]]:
    return zip(PARTS, (networks.dit, networks.vae, networks.conditioner), strict=True)


def _wanted_shapes(part: str, network: nn.Module) -> dict[str, tuple[int, ...]]:
    wanted: dict[str, tuple[int, ...]] = {}
    for name, tensor in network.state_dict().items():
        place = published_name(part, name)
        rows = 1 if place.half is None else 2
        wanted[place.name] = (rows * tensor.shape[0], *tensor.shape[1:])
    return wanted


def _weights(file: TensorFile, part: str, network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    weights = {}
    for name in network.state_dict():
        place = published_name(part, name)
        tensor = file.read(place.name)
        if place.half is not None:
            tensor = tensor.chunk(2)[place.half]
        weights[name] = tensor.to(dtype).contiguous()
    return weights


def _refuse_unused(path: Path, shapes: Shapes, networks: Networks) -> None:
    _refuse_names(path, set(shapes) - set(published_shapes(networks)))


def _refuse_names(path: Path, unused: Iterable[str]) -> None:
    unknown = sorted(name for name in unused if not name.startswith(OPTIONAL_PREFIXES))
    if unknown:
        raise CheckpointError(f"{path.name} has tensors that no network takes: {_sample(unknown)}")


def _sample(items: list[str]) -> str:
    more = f" and {len(items) - MAX_NAMES_SHOWN} more" if len(items) > MAX_NAMES_SHOWN else ""
    return "; ".join(items[:MAX_NAMES_SHOWN]) + more
