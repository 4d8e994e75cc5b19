"""Cards: where a licence grants nothing, and that every family states one."""

from __future__ import annotations

import pytest

from hy3dgen.families import hunyuan3d_21, step1x_3d, triposg
from hy3dgen.families.card import EU, Card

CARDS = [hunyuan3d_21.CARD, triposg.CARD, step1x_3d.CARD]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.model_id)
def test_a_card_names_licences_of_weights_and_encoder_with_their_texts(card: Card) -> None:
    assert [one.part for one in card.licences] == ["weights", "picture encoder"]
    assert all(one.url.startswith("https://") and one.seen_on for one in card.licences)
    assert card.attribution


def test_tencents_weights_are_for_nobody_in_the_eu_the_uk_and_korea() -> None:
    card = hunyuan3d_21.CARD
    assert [country for country in (*EU, "GB", "KR", "EU") if not card.excludes(country)] == []
    assert not any(card.excludes(country) for country in ("US", "JP", "CH", "NO"))
    assert "not for the EU" in card.licence_notice


@pytest.mark.parametrize("card", [triposg.CARD, step1x_3d.CARD], ids=lambda card: card.model_id)
def test_open_licences_leave_no_country_out(card: Card) -> None:
    assert not any(card.excludes(country) for country in ("DE", "EU", "GB", "KR"))
    assert card.licence_notice in ("MIT", "Apache-2.0")
    assert not card.outputs_restricted


@pytest.mark.parametrize(("card", "gigabytes"), list(zip(CARDS, (8.1, 4.9, 4.5), strict=True)))
def test_a_card_says_how_much_memory_a_job_takes(card: Card, gigabytes: float) -> None:
    assert card.memory_bytes == pytest.approx(gigabytes * 1e9, rel=0.03)


def test_the_union_has_27_countries() -> None:
    assert len(set(EU)) == 27
