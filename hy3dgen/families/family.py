"""One published family, in one form for all: how it is recognised, loaded, framed, timed and decoded.

A family is recognised by tensor names and JSON numbers, never by the class names that its files mention.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from hy3dgen.errors import CheckpointError, SamplerUnfit
from hy3dgen.families.card import Card
from hy3dgen.families.variants import Settings
from hy3dgen.families.velocity import Clock
from hy3dgen.field.geometry import Frame
from hy3dgen.networks.image_encoder import Conditioner
from hy3dgen.networks.skip_dit import SkipDiT
from hy3dgen.networks.stream_dit import DiT
from hy3dgen.networks.vecset_decoder import ShapeVAE, VAEConfig
from hy3dgen.sampling import ADAMS_CALLS, Sampler, adams_times, count_calls
from hy3dgen.weights.assign import Naming, assign_weights, check_shapes, refuse_names, wanted_shapes
from hy3dgen.weights.published_files import PublishedFiles
from hy3dgen.weights.tensor_file import CountedFile, OnLoaded, Shapes

_COUNTS = ("_heads", "_px", "num_latents", "_top_k")
_FACTORS = ("scale_factor", "shift")


@dataclass(frozen=True)
class Defaults:
    """What a family was published to be sampled with. Guidance is off at `guidance_off` and below."""

    num_steps: int
    guidance_scale: float
    guidance_off: float
    octree_resolution: int = 384


@dataclass(frozen=True)
class LoadedFamily:
    """The networks of one checkpoint, in eval mode, and what only its family knows.

    `prepare` makes the family's pixels of an RGBA cut-out, `prepare_views` those of named views and their indices,
    where it takes several. `times(n)` are the sampler's times, 0 noise .. 1 shape, of n published steps, without those
    that change nothing. `settings` is what no tensor shape shows, where the pipeline's published face shows it.
    """

    card: Card
    conditioner: Conditioner
    dit: DiT | SkipDiT
    vae: ShapeVAE
    clock: Clock
    prepare: Callable[[Image.Image], Tensor]
    times: Callable[[int], Tensor]
    num_latents: int
    defaults: Defaults
    prepare_views: Callable[[Mapping[str, Image.Image]], tuple[Tensor, tuple[int, ...]]] | None = None
    settings: Settings | None = None

    @property
    def frame(self) -> Frame:
        """Where its shapes lie, and the field's value at their surface."""
        return self.vae.frame

    @property
    def networks(self) -> tuple[nn.Module, nn.Module, nn.Module]:
        """The picture encoder, the denoiser and the decoder, in the order of a job."""
        return (self.conditioner, self.dit, self.vae)

    @property
    def is_distilled(self) -> bool:
        """True when it was trained for a few times of its own, between which no flow can be followed."""
        return self.settings is not None and self.settings.schedule == "consistency"

    def steps_of(self, sampler: Sampler) -> int:
        """The steps of `sampler` unless asked otherwise: as published, or ADAMS_CALLS, and never more calls than that.

        Raises:
            SamplerUnfit: "adams" for a distilled model.
        """
        if sampler == "euler":
            return self.defaults.num_steps
        if self.is_distilled:
            raise SamplerUnfit(
                f"{self.card.model_id} is distilled: it was trained for its own few times, and sampler 'adams' asks "
                "at others"
            )
        return min(ADAMS_CALLS, count_calls(self.times(self.defaults.num_steps)))

    def grid(self, sampler: Sampler, num_steps: int | None = None) -> Tensor:
        """The times that `sampler` goes through, 0 noise .. 1 shape; `steps_of` it unless given.

        Raises:
            SamplerUnfit: "adams" for a distilled model.
            ValueError: a number of steps that the times do not have.
        """
        own = self.steps_of(sampler)
        steps = own if num_steps is None else num_steps
        return self.times(steps) if sampler == "euler" else adams_times(steps)


@dataclass(frozen=True)
class Built:
    """A family's networks on the meta device, names and shapes without weights, and where their weights lie.

    `namings` are those of the denoiser, the decoder and the picture encoder.
    """

    model: LoadedFamily
    namings: tuple[Naming, Naming, Naming]

    @property
    def networks(self) -> tuple[tuple[nn.Module, Naming], ...]:
        """Each network with its naming."""
        model = self.model
        return tuple(zip((model.dit, model.vae, model.conditioner), self.namings, strict=True))

    def published_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every published name that the networks are made of, with its shape."""
        wanted: dict[str, tuple[int, ...]] = {}
        for network, naming in self.networks:
            wanted |= wanted_shapes(network, naming)
        return wanted


@dataclass(frozen=True)
class Family:
    """One family: it is recognised by most of its `marks`, `build` makes its networks from shapes and settings.

    Tensors under the `ignored` prefixes are left unread.
    """

    name: str
    marks: tuple[str, ...]
    build: Callable[[PublishedFiles, Mapping[str, Any]], Built]
    ignored: tuple[str, ...]

    def recognises(self, shapes: Shapes) -> bool:
        """True when most of the marks are there, so that a file without one of them is refused by its name."""
        return 2 * sum(mark in shapes for mark in self.marks) > len(self.marks)

    def load(
        self,
        files: PublishedFiles,
        dtype: torch.dtype,
        overrides: Mapping[str, Any] | None = None,
        on_loaded: OnLoaded | None = None,
    ) -> LoadedFamily:
        """The networks with their weights as numbers of `dtype`: strict, mapped, one tensor at a time.

        `on_loaded` hears which share of the weights, 0 to 1, has been read.

        Raises:
            CheckpointError: another model, a tensor that no network takes, one that is missing, one whose shape
                disagrees, or a setting that no network can have.
        """
        built = self.build(files, overrides or {})
        _check_heads(built.model.vae.config)
        wanted = built.published_shapes()
        # All of them before the first is read: a file of many GB is refused at once.
        refuse_names(files.path, set(files.shapes) - set(wanted), self.ignored)
        check_shapes(files.path, files.shapes, wanted)
        file = files if on_loaded is None else CountedFile(files, on_loaded, self.ignored)
        for network, naming in built.networks:
            assign_weights(files.path, file, network, naming, dtype)
            network.eval().requires_grad_(False)
        return built.model


def known_overrides(family: str, overrides: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The values of `known`, with `overrides` in their place.

    Raises:
        CheckpointError: an override has another name, or a count, size or factor is none, wherever it stood.
    """
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise CheckpointError(f"overrides of {family}: unknown {unknown}; known are {sorted(known)}")
    settings = {**known, **overrides}
    for name, value in settings.items():
        if name.endswith(_COUNTS) and value is not None and not (type(value) is int and value > 0):
            raise CheckpointError(f"{family}: {name} must be a whole number above 0, got {value!r}")
        if name in _FACTORS and not (type(value) in (int, float) and 0 < value < math.inf):
            raise CheckpointError(f"{family}: {name} must be a number above 0, got {value!r}")
    return settings


def _check_heads(vae: VAEConfig) -> None:
    """Raises CheckpointError where attention can't split its width by the heads that a JSON file or override names."""
    for heads, width in ((vae.num_heads, vae.width), (vae.geo_heads, vae.geo_width)):
        if width % heads:
            raise CheckpointError(f"the VAE's {heads} attention heads do not divide its width of {width}")
