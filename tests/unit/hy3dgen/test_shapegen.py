"""The names that callers import are there, and nothing else."""

from __future__ import annotations

import inspect

from hy3dgen import errors, shapegen
from hy3dgen.shapegen import Hunyuan3DDiTFlowMatchingPipeline, ShapeVAE


def test_every_name_is_exported_and_found() -> None:
    public = {name for name in vars(shapegen) if not name.startswith("_") and name != "annotations"}
    assert public == set(shapegen.__all__)


def test_every_error_is_exported() -> None:
    tree = {name for name, one in vars(errors).items() if inspect.isclass(one) and issubclass(one, Exception)}
    assert tree <= set(shapegen.__all__)


def test_the_published_call_takes_the_names_of_the_users_snippet() -> None:
    load = inspect.signature(Hunyuan3DDiTFlowMatchingPipeline.from_single_file).parameters
    call = inspect.signature(Hunyuan3DDiTFlowMatchingPipeline.__call__).parameters
    decode = inspect.signature(ShapeVAE.latents2mesh).parameters
    assert {"ckpt_path", "device", "use_safetensors"} <= set(load)
    assert {"image", "num_inference_steps"} <= set(call)
    assert {"latents", "bounds", "octree_resolution", "mc_level", "num_chunks"} <= set(decode)
