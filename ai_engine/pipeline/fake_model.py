"""A sphere in place of the shape model: same interface, no weights, no torch.

For trying the service, for its tests, and for measuring everything but the model.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ai_engine.errors import DeviceFault
from ai_engine.facts import VIEWS, ModelFacts, PartLicence
from ai_engine.job import JobOptions, Progress
from ai_engine.mesh.mesh import Mesh
from ai_engine.pipeline.resources import Cutouts, Shape
from ai_engine.stage import Stage

RADIUS = 0.8
"""In model units."""
NUM_FACES = 2208
TROUBLE_SEED = 13
"""Of the jobs on which trouble comes, where it is asked for."""
Trouble = Literal["none", "hang", "fault"]


@dataclass(frozen=True)
class FakeModel:
    """Answers every picture with the same sphere, after a fixed time per step."""

    step_s: float = 0.0
    num_faces: int = NUM_FACES
    """About as many faces the sphere has: 50 bytes each as STL."""
    trouble: Trouble = "none"
    """What happens on a job of seed 13: it hangs for ever, or its device breaks."""
    model_id: str = "stand-in"
    licence: str = "Apache-2.0"
    has_gpu: bool = False
    takes_views: bool = True
    peak_memory_bytes: int | None = None
    default_steps: int = 5

    @property
    def facts(self) -> ModelFacts:
        """The card of the sphere."""
        licence = PartLicence("weights", self.licence, "", "")
        return ModelFacts(
            self.model_id,
            "A sphere, to try the service",
            (licence,),
            num_inference_steps=self.default_steps,
            views=VIEWS,
        )

    def complete(self, options: JobOptions) -> JobOptions:
        """`options` with this model's number of steps; a sphere has no other wishes."""
        steps = options.num_inference_steps or self.default_steps
        return replace(options, num_inference_steps=steps, network_calls=steps)

    def generate(self, rgba: Cutouts, options: JobOptions, progress: Progress) -> Shape:
        """A closed sphere in model units, Y up.

        Raises:
            DeviceFault: where that is asked for.
        """
        if options.seed == TROUBLE_SEED:
            self._get_into_trouble()
        steps = self.complete(options).num_inference_steps or 1
        for done in range(1, steps + 1):
            time.sleep(self.step_s)
            progress(Stage.DENOISE, done, steps)
        progress(Stage.DECODE, 1, 1)
        num_rings = rings_for(self.num_faces)
        return Shape(sphere(RADIUS, num_rings=num_rings, num_spokes=2 * num_rings))

    def _get_into_trouble(self) -> None:
        if self.trouble == "hang":
            threading.Event().wait()
        if self.trouble == "fault":
            raise DeviceFault("the stand-in's device breaks on this seed")


def rings_for(num_faces: int) -> int:
    """The number of rings of the sphere that has nearest to `num_faces` faces and twice as many spokes as rings."""
    # r rings and 2r spokes make 4r(r - 1) faces.
    return max(3, round((1 + math.sqrt(1 + num_faces)) / 2))


def sphere(radius: float, *, num_rings: int = 24, num_spokes: int = 48) -> Mesh:
    """A closed sphere round the origin, its two poles on the Y axis, faces outwards."""
    polar = np.pi * np.arange(1, num_rings) / num_rings
    around = 2 * np.pi * np.arange(num_spokes) / num_spokes
    ring_radius, height = np.sin(polar)[:, None], np.cos(polar)[:, None]
    points = np.stack(
        [
            ring_radius * np.sin(around),
            np.broadcast_to(height, (num_rings - 1, num_spokes)),
            ring_radius * np.cos(around),
        ],
        axis=-1,
    ).reshape(-1, 3)
    poles = np.array([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
    vertices = radius * np.concatenate([poles, points])
    return Mesh(vertices.astype(np.float32), _sphere_faces(num_rings - 1, num_spokes))


def _sphere_faces(num_circles: int, num_spokes: int) -> NDArray[np.int32]:
    """Faces over vertex 0 (top), vertex 1 (bottom) and `num_circles` circles from top to bottom."""
    grid = 2 + np.arange(num_circles * num_spokes).reshape(num_circles, num_spokes)
    after = np.roll(grid, -1, axis=1)
    top = np.stack([np.zeros(num_spokes, int), grid[0], after[0]], axis=-1)
    bottom = np.stack([np.ones(num_spokes, int), after[-1], grid[-1]], axis=-1)
    left = np.stack([grid[:-1], grid[1:], after[1:]], axis=-1).reshape(-1, 3)
    right = np.stack([grid[:-1], after[1:], after[:-1]], axis=-1).reshape(-1, 3)
    return np.concatenate([top, left, right, bottom]).astype(np.int32)
