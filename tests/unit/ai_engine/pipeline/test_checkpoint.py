"""A checkpoint before it is loaded: the licence's territory, and what is said of a file that is not there."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from ai_engine.errors import StartupError
from ai_engine.pipeline.checkpoint import (
    check_checkpoint,
    check_present,
    licence_words,
    territory_refusal,
    warn_of_territory,
)
from ai_engine.pipeline.shape_model import ShapeModel
from ai_engine.published_weights import EU as EU_OF_FILES
from ai_engine.published_weights import HUNYUAN_2_1_LICENCE, HUNYUAN_LICENCE
from ai_engine.settings import Settings
from hy3dgen import models
from hy3dgen.families.card import EU, Card
from hy3dgen.families.hunyuan3d_21 import CARD as HUNYUAN
from hy3dgen.families.triposg import CARD as TRIPOSG

USERS_FILE = "hunyuan3d-dit-v2_fp16.safetensors"


@pytest.mark.parametrize("territory", ["DE", "FR", "EU", "GB", "KR"])
def test_a_licence_that_leaves_the_territory_out_is_a_refusal_that_names_it(territory: str) -> None:
    refusal = territory_refusal(HUNYUAN, territory) or ""
    assert f"TERRITORY={territory}" in refusal
    assert HUNYUAN.licences[0].name in refusal
    assert "triposg" in refusal


@pytest.mark.parametrize(
    ("card", "territory"), [(HUNYUAN, "US"), (HUNYUAN, None), (TRIPOSG, "DE"), (TRIPOSG, "EU")]
)
def test_other_licences_and_territories_are_none(card: Card, territory: str | None) -> None:
    assert territory_refusal(card, territory) is None


def test_a_model_that_is_left_out_is_refused_before_its_weights_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(models, "card_of", lambda path, variant: HUNYUAN)
    with pytest.raises(StartupError, match="TERRITORY=DE"):
        ShapeModel.load(Settings(device="cpu", territory="de"))


def test_the_embedded_model_may_be_used_everywhere() -> None:
    assert check_checkpoint(Settings(territory="EU")).territory_excluded == ()


@pytest.mark.parametrize(("code", "usual"), [("de", "DE"), ("UK", "GB"), ("eu", "EU")])
def test_codes_are_taken_as_they_are_written(code: str, usual: str) -> None:
    assert Settings(territory=code).territory == usual


def test_a_territory_that_is_no_code_is_refused() -> None:
    with pytest.raises(ValueError, match="two letters"):
        Settings(territory="Germany")


def test_without_a_territory_the_licence_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_territory(HUNYUAN, None)
        warn_of_territory(HUNYUAN, "US")
        warn_of_territory(TRIPOSG, None)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "leaves out the EU, the UK and South Korea; set TERRITORY" in line


def test_the_licences_of_files_and_of_cards_leave_the_same_countries_out() -> None:
    assert set(EU) == EU_OF_FILES
    assert (
        set(HUNYUAN.territory_excluded)
        == HUNYUAN_LICENCE.territory_excluded
        == HUNYUAN_2_1_LICENCE.territory_excluded
    )


def test_words_of_a_licence_name_what_it_leaves_out() -> None:
    assert replace(HUNYUAN, territory_excluded=("KR",)).excluded_words == "South Korea"
    assert replace(HUNYUAN, territory_excluded=("CH", "KR")).excluded_words == "CH and South Korea"
    assert "leaves TERRITORY=US in" in licence_words(HUNYUAN, "US")
    assert "set TERRITORY" in licence_words(HUNYUAN, None)
    assert licence_words(TRIPOSG, None) == "licence: MIT"


def test_a_missing_file_is_answered_with_what_is_there_and_the_setting_to_write(tmp_path: Path) -> None:
    published = tmp_path / "TripoSG"
    (published / "transformer").mkdir(parents=True)
    (published / "model_index.json").write_text("{}")
    (published / "transformer" / "diffusion_pytorch_model.safetensors").touch()
    (tmp_path / USERS_FILE).touch()
    (tmp_path / "README.md").touch()
    with pytest.raises(StartupError) as refused:
        check_present(Path("models/hunyuan3d-dit-v2-0/model.fp16.safetensors"), tmp_path)
    assert "models/hunyuan3d-dit-v2-0/model.fp16.safetensors: there is no such file" in str(refused.value)
    named = [f"MODEL_PATH={(tmp_path / one).as_posix()}" for one in ("TripoSG", USERS_FILE)]
    assert str(refused.value).endswith(" or ".join(named))


def test_where_nothing_lies_the_command_that_brings_it_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="fetch-weights"):
        check_present(Path("models/none.safetensors"), tmp_path)


def test_what_comes_with_the_repository_is_found_and_its_parts_are_not() -> None:
    with pytest.raises(StartupError, match=r"MODEL_PATH=models/tiny/tiny\.safetensors$"):
        check_present(Path("models/none.safetensors"))
