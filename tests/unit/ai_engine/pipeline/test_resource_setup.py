from __future__ import annotations

from pathlib import Path

import pytest

from ai_engine.errors import InternalError, StartupError
from ai_engine.pipeline.fake_model import FakeModel
from ai_engine.pipeline.resource_setup import open_resources
from ai_engine.settings import Settings


def settings(folder: Path, **fields: object) -> Settings:
    return Settings.model_validate({"data_dir": folder, "model_variant": "stand-in", **fields})


def ignored(_: float) -> None: ...


def test_the_limits_of_the_settings_reach_the_stages(tmp_path: Path) -> None:
    wished = settings(tmp_path, image_max_bytes=12_345, image_max_pixels=678, download_attempts=5)

    opened = open_resources(wished, ignored)

    assert isinstance(opened.model, FakeModel)
    assert opened.download_limits.max_bytes == 12_345
    assert (opened.max_image_pixels, opened.download_attempts) == (678, 5)
    file = opened.store.put_bytes("0" * 32, "picture", b"bytes")
    assert opened.store.path(file).is_relative_to(tmp_path / "jobs")


def test_a_remover_that_is_not_installed_keeps_it_from_starting(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"isnet-general-use\.onnx"):
        open_resources(settings(tmp_path, matting_model="isnet-general-use", matting_home=tmp_path), ignored)


def test_a_folder_that_can_not_be_written_keeps_it_from_starting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StartupError, match="DATA_DIR"):
        open_resources(settings(tmp_path / "file"), ignored)


def test_several_models_are_loaded_under_their_names_and_the_first_is_the_default(tmp_path: Path) -> None:
    own = Settings(
        data_dir=tmp_path,
        device="cpu",
        matting_model="none",
        models="ball=stand-in,tiny=models/tiny/tiny.safetensors",
    )
    shares: list[float] = []
    resources = open_resources(own, shares.append)

    assert list(resources.models) == ["ball", "tiny"]
    assert resources.model is resources.models["ball"] is resources.model_named(None)
    assert resources.model_named("tiny").facts.model_id.startswith("ai-engine-tiny")
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    with pytest.raises(InternalError, match="no shape model huge"):
        resources.model_named("huge")


def test_the_card_of_a_loaded_model_says_how_it_is_asked(tmp_path: Path) -> None:
    own = Settings(data_dir=tmp_path, device="cpu", matting_model="none")
    facts = open_resources(own, lambda share: None).model.facts
    assert (facts.guidance_scale, facts.bounds, facts.views) == (2.0, 1.01, ("front",))
    assert facts.licences[0].name == "Apache-2.0"
    assert not facts.territory_excluded
