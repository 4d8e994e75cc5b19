from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ai_engine.errors import InternalError
from ai_engine.images.background import MattingModelUnusable
from ai_engine.pipeline.removers import open_removers

EMBEDDED = Path(__file__).parents[4] / "models" / "tiny" / "matting.onnx"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder for published models, beside which the embedded one lies, as in models/."""
    (tmp_path / "tiny").mkdir()
    shutil.copy(EMBEDDED, tmp_path / "tiny" / "matting.onnx")
    (tmp_path / "matting").mkdir()
    return tmp_path / "matting"


def test_the_models_whose_files_are_there_can_be_chosen(home: Path) -> None:
    (home / "u2net.onnx").write_bytes(b"weights")

    removers = open_removers("none", home)

    assert list(removers.installed) == ["tiny", "u2net"]
    assert removers.choose(None) is None
    chosen = removers.choose("tiny")
    assert chosen is not None
    assert chosen.model_name == "tiny"


def test_the_default_is_loaded_at_once_and_is_the_one_that_is_chosen_by_its_name(home: Path) -> None:
    removers = open_removers("tiny", home)
    assert removers.choose(None) is removers.choose("tiny") is not None

    with pytest.raises(MattingModelUnusable):
        open_removers("u2net", home)


def test_a_model_that_is_not_there_ends_the_job_with_its_name(home: Path) -> None:
    with pytest.raises(InternalError, match="isnet-general-use"):
        open_removers("none", home).choose("isnet-general-use")
