"""Shared resources of the stages, and the interfaces they ask of a model and of the job engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ai_engine.caller_meshes.limits import MeshLimits
from ai_engine.errors import InternalError
from ai_engine.facts import DecodeFacts, ModelFacts
from ai_engine.images.formats import DownloadLimits
from ai_engine.job import JobOptions, Progress
from ai_engine.mesh.mesh import Mesh
from ai_engine.outbound.client import GuardedClient
from ai_engine.pipeline.lanes import BusyClock, Claim, Lanes
from ai_engine.pipeline.removers import Removers
from ai_engine.slicing.slicer import Slicer
from ai_engine.stage import Stage
from ai_engine.stage_result import StageResult
from ai_engine.storage.store import ArtifactStore


@dataclass(frozen=True, eq=False)
class Shape:
    """What the shape model made of a picture."""

    mesh: Mesh
    decode: DecodeFacts | None = None
    """None where no field was searched."""
    degraded: tuple[str, ...] = ()
    """What was lowered because the device's memory ran short."""


Rgba = NDArray[np.uint8]
"""A cut-out [height, width, 4]."""
Cutouts = Rgba | Mapping[str, Rgba]
"""Of one picture, or of several views by their names."""


class Model(Protocol):
    """The shape model, or what stands in for it."""

    @property
    def model_id(self) -> str:
        """The name of the checkpoint's model."""

    @property
    def licence(self) -> str:
        """Of the weights, and so of the meshes."""

    @property
    def facts(self) -> ModelFacts:
        """Its card."""

    @property
    def has_gpu(self) -> bool:
        """True when it computes on a GPU."""

    @property
    def takes_views(self) -> bool:
        """True when it takes several named views of an object."""

    @property
    def peak_memory_bytes(self) -> int | None:
        """The most of the device's own memory in use so far; None where it has none."""

    def complete(self, options: JobOptions) -> JobOptions:
        """`options` with the model's own values where they are None.

        Raises:
            SamplerUnfit: the sampler does not fit the model.
        """

    def generate(self, rgba: Cutouts, options: JobOptions, progress: Progress) -> Shape:
        """The shape of the object in `rgba`, of one picture or of several views."""


class Run(Protocol):
    """One execution of a job, as the job engine offers it."""

    @property
    def claim(self) -> Claim:
        """Whose job it is, for its turns in the lanes."""

    def step(self, stage: Stage, work: Callable[[], StageResult]) -> StageResult:
        """What `work` gives back; from memory when it was finished in an earlier execution.

        `stage`: the first of those that it does.
        """

    def progress(self, stage: Stage, done: int, total: int) -> None:
        """Reports how far the stage is. Raises to stop the job there."""

    def waits(self) -> None:
        """Reports that the stage waits for its turn. Raises to stop the job there."""

    def aside(self) -> AbstractContextManager[None]:
        """While the block runs the job takes none of the worker's JOBS_IN_FLIGHT places."""


@dataclass(frozen=True)
class Resources:
    """What the stages work with; made once per worker."""

    store: ArtifactStore
    http: GuardedClient
    removers: Removers
    model: Model
    """What jobs get that name none."""
    download_limits: DownloadLimits
    max_image_pixels: int
    mesh_limits: MeshLimits = field(default_factory=MeshLimits)
    download_attempts: int = 3
    lanes: Lanes = field(default_factory=Lanes)
    device_clock: BusyClock = field(default_factory=BusyClock)
    """Runs while a job has the device."""
    slicer: Slicer = field(default_factory=Slicer)
    models: Mapping[str, Model] = field(default_factory=dict)
    """All shape models of this worker, by their names in requests; `model` is the first of them."""

    def model_named(self, name: str | None) -> Model:
        """The shape model of that name; the worker's first for None.

        Raises:
            InternalError: this worker has no such model, though it took a job of it.
        """
        if name is None:
            return self.model
        if name not in self.models:
            raise InternalError(f"The worker has no shape model {name}.", stage=Stage.DENOISE)
        return self.models[name]
