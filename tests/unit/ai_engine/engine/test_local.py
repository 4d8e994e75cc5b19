from __future__ import annotations

import gc
from pathlib import Path

import pytest

from ai_engine.api.request_schema import JobRequest
from ai_engine.engine.generated import GenerationFailed, Pictures
from ai_engine.engine.local import LocalEngine
from ai_engine.errors import StartupError
from ai_engine.settings import Settings

PICTURE = Path(__file__).parents[4] / "examples" / "pictures" / "vase.png"
"""On opaque ground: with `remove_background="never"` all of it is the object."""


def request(**fields: object) -> JobRequest:
    return JobRequest.model_validate(
        {"session_id": "s", "asset_id": "vase", "seed": 1, "remove_background": "never"} | fields
    )


def engine(**fields: object) -> LocalEngine:
    wished = {"model_variant": "stand-in", "matting_model": "none"} | fields
    return LocalEngine(Settings.model_validate(wished))


def nothing(stage: str, done: int, total: int) -> None: ...


def test_nothing_is_loaded_or_written_before_the_first_picture(tmp_path: Path) -> None:
    one = engine(data_dir=tmp_path / "data")
    shares: list[float] = []
    assert one.open(shares.append) is one.open()
    one.close()
    assert not (tmp_path / "data").exists()
    assert not one.settings.data_dir.exists()


def test_the_files_of_a_job_stay_as_long_as_its_mesh_is_held() -> None:
    one = engine()
    picture = Pictures(PICTURE.read_bytes())
    made = one.generate(request(octree_resolution=32), picture, nothing)
    (folder,) = (one.settings.data_dir / "jobs").iterdir()
    assert made.bytes_as("ply")
    del made
    gc.collect()
    assert not folder.exists()
    with pytest.raises(GenerationFailed):
        one.generate(request(), Pictures(b"no picture"), nothing)
    assert list((one.settings.data_dir / "jobs").iterdir()) == []
    one.close()


def test_a_job_that_takes_too_long_ends_with_its_code() -> None:
    one = engine(stand_in_step_s=0.6)
    with pytest.raises(GenerationFailed) as caught:
        one.generate(request(timeout_s=1, num_inference_steps=5), Pictures(PICTURE.read_bytes()), nothing)
    assert caught.value.failure.code == "generation_timeout"
    one.close()


def test_the_limit_of_a_services_jobs_is_not_that_of_ones_own() -> None:
    one = engine(stand_in_step_s=0.6, job_timeout_s=1)
    made = one.generate(
        request(num_inference_steps=3, octree_resolution=32), Pictures(PICTURE.read_bytes()), nothing
    )
    assert made.timings_s["denoise"] > 1
    one.close()


def test_a_model_that_can_not_be_loaded_is_an_error_of_the_start(tmp_path: Path) -> None:
    one = LocalEngine(Settings(model_path=tmp_path / "absent.safetensors"))
    with pytest.raises(StartupError, match=r"absent\.safetensors"):
        one.generate(request(), Pictures(PICTURE.read_bytes()), nothing)
    one.close()
