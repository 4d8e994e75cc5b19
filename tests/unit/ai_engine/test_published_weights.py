from __future__ import annotations

import argparse
import re
from pathlib import PurePosixPath

import pytest

from ai_engine.facts import ModelFacts, PartLicence
from ai_engine.published_weights import (
    APACHE,
    FOLDERS,
    LICENCE_TEXTS,
    MATTING_MODELS,
    MIT,
    PROJECT,
    SHAPE_MODELS,
    UNKNOWN_LICENCE,
    HubOrigin,
    Weights,
    add_choices,
    find_licence,
    licence_texts,
    with_remover,
)

FILES = [*SHAPE_MODELS.values(), *MATTING_MODELS.values()]


@pytest.mark.parametrize("weights", FILES, ids=lambda one: one.name)
def test_each_file_has_a_licence_an_origin_and_a_place_inside_the_folder(weights: Weights) -> None:
    place = PurePosixPath(weights.path)

    assert not place.is_absolute()
    assert ".." not in place.parts
    assert weights.licence.name
    assert weights.licence.url.startswith("https://")


@pytest.mark.parametrize("weights", FILES, ids=lambda one: one.name)
def test_a_hash_that_is_pinned_is_a_sha256(weights: Weights) -> None:
    assert weights.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", weights.sha256)
    assert weights.size_bytes is None or weights.size_bytes > 0


def test_what_comes_from_the_hub_is_pinned_to_a_revision_and_brings_its_licence_texts() -> None:
    for weights in FILES:
        if not isinstance(weights.origin, HubOrigin):
            assert licence_texts(weights) == ()
            continue
        texts = licence_texts(weights)
        assert [PurePosixPath(text.path).name for text in texts] == list(LICENCE_TEXTS)
        assert {text.path.split("/")[0] for text in texts} == {weights.path.split("/")[0]}


def test_a_licence_is_found_by_how_a_notice_begins() -> None:
    assert find_licence("Apache-2.0; the meshes are yours") == APACHE
    assert find_licence("nobody knows") == UNKNOWN_LICENCE


def test_the_command_offers_each_published_model() -> None:
    parser = argparse.ArgumentParser()
    add_choices(parser)
    for name in (*SHAPE_MODELS, *FOLDERS):
        assert parser.parse_args(["--variant", name]).variant == name
    for name in MATTING_MODELS:
        assert parser.parse_args(["--matting", name]).matting == name


def test_a_card_names_the_licence_of_the_remover_that_makes_its_cut_outs() -> None:
    card = ModelFacts("made-up", "Made up", (PartLicence("weights", "MIT", "", ""),))

    assert with_remover(card, "none") == card
    assert with_remover(card, "tiny").licences[1].name == PROJECT.name
    (_, remover) = with_remover(card, "birefnet-general").licences
    assert remover == PartLicence("background remover birefnet-general", MIT.name, MIT.url, "2026-11-23")
